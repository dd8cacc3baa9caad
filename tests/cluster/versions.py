"""The versions the control plane is built from, read from the go.mod files: their only home."""

from __future__ import annotations

import hashlib
import platform
import re
from dataclasses import dataclass
from pathlib import Path

MODULES = Path(__file__).parent / "go"


@dataclass(frozen=True, slots=True)
class Module:
    """One Go module of ours that pins upstream programs, and the programs to build from it."""

    directory: str
    upstream: str
    programs: tuple[tuple[str, str], ...]
    """Pairs of binary name and Go package."""

    tags: str = ""
    """Build tags, with commas."""

    @property
    def path(self) -> Path:
        return MODULES / self.directory

    @property
    def version(self) -> str:
        """The upstream version that go.mod requires, such as `v1.36.3`."""
        return _required(self.path / "go.mod", self.upstream)

    @property
    def names(self) -> str:
        return ", ".join(name for name, _ in self.programs)


ETCD = Module("etcd", "go.etcd.io/etcd/server/v3", (("etcd", "go.etcd.io/etcd/server/v3"),))
KWOK = Module("kwok", "sigs.k8s.io/kwok", (("kwok", "sigs.k8s.io/kwok/cmd/kwok"),))
KUBERNETES = Module(
    "kubernetes",
    "k8s.io/kubernetes",
    tuple(
        (name, f"k8s.io/kubernetes/cmd/{name}")
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
    ),
)
ALL = (ETCD, KWOK, KUBERNETES)
"""The control plane."""

ALERTMANAGER = Module(
    "alertmanager",
    "github.com/prometheus/alertmanager",
    (("alertmanager", "github.com/prometheus/alertmanager/cmd/alertmanager"),),
)
"""v0.31 is the last whose module holds its web pages ready-made: later ones have
to be built with npm first."""

ROLLOUTS = Module(
    "rollouts",
    "github.com/argoproj/argo-rollouts",
    (("rollouts-controller", "github.com/argoproj/argo-rollouts/cmd/rollouts-controller"),),
)
NODE = Module(
    "node",
    "k8s.io/kubernetes",
    tuple((name, f"k8s.io/kubernetes/cmd/{name}") for name in ("kubelet", "kube-proxy")),
)
"""What a real node runs, in a module of its own, so that the control plane is not built again for it."""

KUBE_ROUTER = Module(
    "kube-router",
    "github.com/cloudnativelabs/kube-router/v2",
    (("kube-router", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"),),
)
"""Enforces NetworkPolicies on a real node. kube-network-policies would be smaller, but takes nftables with `queue`,
which not every kernel has."""

KEDA = Module("keda", "github.com/kedacore/keda/v2", (("keda-operator", "github.com/kedacore/keda/v2/cmd/operator"),))
HELM = {
    major: Module("helm", f"helm.sh/helm/v{major}", ((f"helm{major}", f"helm.sh/helm/v{major}/cmd/helm"),))
    for major in (3, 4)
}
"""Both versions that people use, in one module, so that what they share is compiled once."""

OPERATOR_VERIFY = Module(
    "validators",
    "github.com/operator-framework/api",
    (("operator-verify", "github.com/operator-framework/api/cmd/operator-verify"),),
)
KUBECONFORM = Module(
    "validators",
    "github.com/yannh/kubeconform",
    (("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"),),
)
"""What reads manifests: as OLM does, and by the schemas of Kubernetes."""

OLM = Module(
    "olm",
    "github.com/operator-framework/operator-lifecycle-manager",
    (
        *(
            (name, f"github.com/operator-framework/operator-lifecycle-manager/cmd/{name}")
            for name in ("olm", "catalog")
        ),
        ("opm", "github.com/operator-framework/operator-registry/cmd/opm"),
    ),
    tags="containers_image_openpgp",
)
"""Both operators of the Operator Lifecycle Manager, and what makes and serves a catalog. The tag spares `opm` a C
compiler."""

ACTIONLINT = Module(
    "actionlint", "github.com/rhysd/actionlint", (("actionlint", "github.com/rhysd/actionlint/cmd/actionlint"),)
)
KREW = Module(
    "krew",
    "sigs.k8s.io/krew",
    tuple((name, f"sigs.k8s.io/krew/cmd/{name}") for name in ("krew", "validate-krew-manifest")),
)
PEERS = (
    *(ALERTMANAGER, ROLLOUTS, KEDA, NODE, KUBE_ROUTER),
    *(*HELM.values(), OPERATOR_VERIFY, KUBECONFORM, OLM, ACTIONLINT, KREW),
)
"""Built only for the tests that need them."""


def go_required() -> tuple[int, int, int]:
    """The lowest Go version that builds every module: the highest `go` line."""
    return max(parse_go_version(_match(module.path / "go.mod", r"^go (\S+)$")) for module in (*ALL, *PEERS))


def parse_go_version(text: str) -> tuple[int, int, int]:
    """The numbers of `1.26.0`, `go1.26.8` or `go1.27-custom`; a missing patch level counts as 0.

    Raises ValueError where there is no version, such as for a development build of Go.
    """
    match = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"no Go version in {text!r}")
    major, minor, patch = match.groups(default="0")
    return int(major), int(minor), int(patch)


def digest(*extra: str, modules: tuple[Module, ...] = ALL) -> str:
    """A short digest of everything that decides what is built: pins, target platform and `extra` (the recipe)."""
    state = hashlib.sha256()
    for module in modules:
        for name in ("go.mod", "go.sum"):
            state.update((module.path / name).read_bytes())
    for part in (platform.system(), platform.machine(), *extra):
        state.update(part.encode() + b"\0")
    return state.hexdigest()[:12]


def _required(go_mod: Path, upstream: str) -> str:
    return _match(go_mod, rf"^(?:require)?\s*{re.escape(upstream)} (v\S+)")


def _match(file: Path, pattern: str) -> str:
    match = re.search(pattern, file.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{file}: nothing matches {pattern!r}")
    return match.group(1)
