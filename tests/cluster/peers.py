"""Serving runtimes, as their projects publish them: their resources, and some of their controllers.

Definitions come from Go modules, one archive at a time and verified by go.sum, or from Python models, verified by their
hash, into the cache outside of the work tree. Controllers are built there from Go modules, as the control plane is.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Protocol, Self

import yaml

from tests.cluster.base import ClusterError, Progress
from tests.cluster.build import cache_directory, ensure_programs, locked, print_progress
from tests.cluster.certs import CertificateAuthority
from tests.cluster.gotool import environment, find_go
from tests.cluster.install import FIELD_MANAGER, InstallError, kubectl
from tests.cluster.ports import HOST, Ports
from tests.cluster.process import Component, Spawner
from tests.cluster.rest import Rest
from tests.cluster.versions import KEDA, MODULES, ROLLOUTS
from tests.patience import PATIENCE

RECIPE = "1"
"""Raise it when the way of reading or building changes: the cache is keyed by it."""

PINS = MODULES / "peers"

POLL_SECONDS = 0.05
GRACE_SECONDS = 5.0

Definition = dict[str, Any]
Schema = dict[str, Any]


class Source(Protocol):
    """Where the definitions of a project come from."""

    @property
    def usual(self) -> tuple[str, ...]:
        """The kinds that are meant when none is named."""
        ...

    @property
    def version(self) -> str: ...

    @property
    def pinned(self) -> str:
        """Everything that decides what is read."""
        ...

    def read(self, progress: Progress) -> Iterator[tuple[str, Definition]]:
        """Every kind that can be had, with its definition."""
        ...


# Definitions


@dataclass(frozen=True, slots=True)
class Published:
    """CustomResourceDefinitions in a Go module."""

    module: str
    files: str
    """Where they are in the module, with `{}` for what differs."""

    kinds: dict[str, str]
    """The kinds that can be had, each with what differs."""

    usual: tuple[str, ...]

    @property
    def version(self) -> str:
        return self._pin[0]

    @property
    def pinned(self) -> str:
        return self._pin[1]

    @property
    def _pin(self) -> tuple[str, str]:
        """Version and hash, as in go.sum, which has exactly one of each module."""
        for line in (PINS / "go.sum").read_text().splitlines():
            name, version, checksum = line.split()
            if name == self.module and not version.endswith("/go.mod"):
                return version, checksum
        raise ClusterError(f"{PINS / 'go.sum'} has no line for {self.module}")

    def read(self, progress: Progress) -> Iterator[tuple[str, Definition]]:
        with zipfile.ZipFile(self._download(progress)) as archive:
            for kind, part in self.kinds.items():
                text = archive.read(f"{self.module}@{self.version}/{self.files.format(part)}")
                documents = yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
                [definition] = (d for d in documents if d and d["spec"].get("names", {}).get("kind") == kind)
                yield kind, _without_webhook(definition)

    def _download(self, progress: Progress) -> Path:
        """The archive of this module alone, whatever it requires. Go holds it against go.sum, and so do we."""
        progress(f"{self.module} {self.version}: downloading")
        done = subprocess.run(
            [find_go(cache_directory(), progress), "mod", "download", "-json", f"{self.module}@{self.version}"],
            cwd=PINS,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        said: dict[str, str] = json.loads(done.stdout or "{}")
        if done.returncode != 0 or said.get("Sum") != self.pinned:
            reason = said.get("Error") or done.stderr.strip() or f"its hash is {said.get('Sum')}, not {self.pinned}"
            raise ClusterError(f"{self.module} {self.version} could not be downloaded: {reason}")
        return Path(said["Zip"])


def _without_webhook(definition: Definition) -> Definition:
    if definition["spec"].get("conversion", {}).get("strategy") == "Webhook":
        del definition["spec"]["conversion"]
    return definition


@dataclass(frozen=True, slots=True)
class Shape:
    """What models leave unsaid about a resource."""

    plural: str
    versions: dict[str, str]
    """Each version with the class of its spec. One that there is no class for takes everything."""

    known: Schema = field(default_factory=dict)
    """Properties of a spec that has no class."""

    scale: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Modelled:
    """Python models that a project generates from its types, where its Go module is not to be had.

    A definition made of them has the names and types of the fields, so that a field that does not exist is dropped
    here too. Pod specs below, and the status, take everything; nothing is required, and there is no CEL.
    """

    lock: str
    """The file with the package, its version and its hashes."""

    models: str
    """Where they are in the package."""

    group: str
    kinds: dict[str, Shape]
    usual: tuple[str, ...]

    @property
    def version(self) -> str:
        match = re.search(r"==(\S+)", self.pinned)
        assert match is not None, self.lock
        return match.group(1)

    @property
    def pinned(self) -> str:
        return (PINS / self.lock).read_text()

    def read(self, progress: Progress) -> Iterator[tuple[str, Definition]]:
        with TemporaryDirectory() as directory:
            classes = _classes(self._download(Path(directory), progress), self.models)
        for kind, shape in self.kinds.items():
            yield kind, self._definition(kind, shape, classes)

    def _download(self, directory: Path, progress: Progress) -> Path:
        progress(f"{self.lock.removesuffix('.lock')} {self.version}: downloading its models")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        done = subprocess.run(
            [*pip, "--only-binary=:all:", "--require-hashes", "-r", str(PINS / self.lock), "-d", str(directory)],
            capture_output=True,
            text=True,
            check=False,
        )
        found = list(directory.glob("*.whl"))
        if done.returncode != 0 or len(found) != 1:
            raise ClusterError(f"{PINS / self.lock} could not be downloaded: {done.stderr.strip()}")
        return found[0]

    def _definition(self, kind: str, shape: Shape, classes: dict[str, dict[str, str]]) -> Definition:
        subresources: dict[str, Any] = {"status": {}}
        if shape.scale:
            subresources["scale"] = shape.scale
        versions = [
            {
                "name": version,
                "served": True,
                "storage": version == list(shape.versions)[-1],
                "subresources": subresources,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": _schema(name, classes) if name in classes else _anything(shape.known),
                            "status": _anything(),
                        },
                    }
                },
            }
            for version, name in shape.versions.items()
        ]
        return {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{shape.plural}.{self.group}"},
            "spec": {
                "group": self.group,
                "names": {
                    "kind": kind,
                    "listKind": f"{kind}List",
                    "plural": shape.plural,
                    "singular": kind.lower(),
                },
                "scope": "Namespaced",
                "versions": versions,
            },
        }


def _classes(wheel: Path, models: str) -> dict[str, dict[str, str]]:
    """The fields of each class, by their names in JSON, with their types."""
    found = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.startswith(f"{models}/") and name.endswith(".py"):
                for node in ast.parse(archive.read(name)).body:
                    if isinstance(node, ast.ClassDef):
                        tables = _tables(node)
                        types = tables.get("openapi_types") or tables.get("swagger_types") or {}
                        if types:  # A class without is an enumeration, or a type written in a way of its own.
                            found[node.name] = {tables["attribute_map"][key]: kind for key, kind in types.items()}
    return found


def _tables(node: ast.ClassDef) -> dict[str, dict[str, str]]:
    """The dictionaries that a class begins with."""
    return {
        target.id: ast.literal_eval(statement.value)
        for statement in node.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict)
        for target in statement.targets
        if isinstance(target, ast.Name)
    }


PLAIN = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


def _schema(kind: str, classes: dict[str, dict[str, str]], within: tuple[str, ...] = ()) -> Schema:
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if match := re.fullmatch(r"list\[(.+)\]", kind):
        return {"type": "array", "items": _schema(match.group(1), classes, within)}
    if match := re.fullmatch(r"dict\(str, (.+)\)", kind):
        return {"type": "object", "additionalProperties": _schema(match.group(1), classes, within)}
    if kind not in classes or kind in within:
        return {"x-kubernetes-preserve-unknown-fields": True}
    fields = {name: _schema(type_, classes, (*within, kind)) for name, type_ in classes[kind].items()}
    return {"type": "object", "properties": fields}


def _anything(known: Schema | None = None) -> Schema:
    return {"type": "object", "x-kubernetes-preserve-unknown-fields": True} | ({"properties": known} if known else {})


REPLICAS: Schema = {name: {"type": "integer"} for name in ("replicas", "minReplicas", "maxReplicas")}
SELDON_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}

OLM_KINDS = {
    "CatalogSource": "catalogsources",
    "ClusterServiceVersion": "clusterserviceversions",
    "InstallPlan": "installplans",
    "OLMConfig": "olmconfigs",
    "Operator": "operators",
    "OperatorCondition": "operatorconditions",
    "OperatorGroup": "operatorgroups",
    "Subscription": "subscriptions",
}

SOURCES: dict[str, Source] = {
    "argo-rollouts": Published(
        "github.com/argoproj/argo-rollouts",
        "manifests/crds/{}-crd.yaml",
        {
            "Rollout": "rollout",
            "AnalysisRun": "analysis-run",
            "AnalysisTemplate": "analysis-template",
            "ClusterAnalysisTemplate": "cluster-analysis-template",
            "Experiment": "experiment",
        },
        ("Rollout",),
    ),
    "argo-workflows": Published(
        "github.com/argoproj/argo-workflows/v4",
        "manifests/base/crds/full/argoproj.io_{}.yaml",
        {"CronWorkflow": "cronworkflows", "Workflow": "workflows"},
        ("CronWorkflow",),
    ),
    "gateway-api": Published(
        "sigs.k8s.io/gateway-api",
        "config/crd/standard/gateway.networking.k8s.io_{}.yaml",
        {"GatewayClass": "gatewayclasses", "Gateway": "gateways", "HTTPRoute": "httproutes"},
        ("GatewayClass", "Gateway", "HTTPRoute"),
    ),
    "keda": Published(
        "github.com/kedacore/keda/v2",
        "config/crd/bases/{}.yaml",
        {
            "ScaledObject": "keda.sh_scaledobjects",
            "ScaledJob": "keda.sh_scaledjobs",
            "TriggerAuthentication": "keda.sh_triggerauthentications",
            "ClusterTriggerAuthentication": "keda.sh_clustertriggerauthentications",
            "CloudEventSource": "eventing.keda.sh_cloudeventsources",
            "ClusterCloudEventSource": "eventing.keda.sh_clustercloudeventsources",
        },
        ("ScaledObject",),
    ),
    "kserve": Modelled(
        "kserve.lock",
        "kserve/models",
        "serving.kserve.io",
        {
            "InferenceService": Shape("inferenceservices", {"v1beta1": "V1beta1InferenceServiceSpec"}),
            "LLMInferenceService": Shape(
                "llminferenceservices",
                {"v1alpha1": "V1alpha1LLMInferenceServiceSpec", "v1alpha2": "V1alpha2LLMInferenceServiceSpec"},
                known={"replicas": {"type": "integer"}},
            ),
        },
        ("InferenceService", "LLMInferenceService"),
    ),
    "kuberay": Published(
        "github.com/ray-project/kuberay/ray-operator",
        "config/crd/bases/ray.io_{}.yaml",
        {"RayCluster": "rayclusters", "RayService": "rayservices", "RayJob": "rayjobs"},
        ("RayCluster", "RayService"),
    ),
    "olm": Published(
        "github.com/operator-framework/operator-lifecycle-manager",
        "deploy/chart/crds/0000_50_olm_00-{}.crd.yaml",
        OLM_KINDS,
        tuple(OLM_KINDS),
    ),
    "prometheus-operator": Published(
        "github.com/prometheus-operator/prometheus-operator",
        "example/prometheus-operator-crd/monitoring.coreos.com_{}.yaml",
        {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"},
        ("ServiceMonitor", "PrometheusRule"),
    ),
    "seldon-core": Modelled(
        "seldon-core.lock",
        "seldon_deploy_sdk/models",
        "mlops.seldon.io",
        {
            "Model": Shape("models", {"v1alpha1": "ModelSpec"}, scale=SELDON_SCALE),
            "Server": Shape("servers", {"v1alpha1": "ServerSpec"}, known=REPLICAS, scale=SELDON_SCALE),
        },
        ("Model", "Server"),
    ),
}
"""By project."""


def crds(project: str, *kinds: str, progress: Progress = print_progress) -> list[Definition]:
    """The CustomResourceDefinitions of a project: of those kinds, or of its usual ones.

    As published, but for a conversion webhook, behind which nothing would run here; see Modelled for those that are
    not published as such. Create them or apply them on the server's side: some are too large for an annotation. The
    first call downloads one archive; safe to call from several processes at once. Raises ClusterError if it cannot be
    had or is not what is pinned.
    """
    home = _unpacked(project, progress)
    return [json.loads((home / f"{kind}.json").read_text()) for kind in kinds or SOURCES[project].usual]


def version(project: str) -> str:
    """The version of the module or package that is pinned, such as `v1.10.1`."""
    return SOURCES[project].version


def install_crds(kubeconfig: Path, project: str, *kinds: str, progress: Progress = print_progress) -> None:
    """Apply the definitions of a project, and return when their kinds are served. Idempotent."""
    install_definitions(kubeconfig, crds(project, *kinds, progress=progress))


def install_definitions(kubeconfig: Path, definitions: Sequence[Definition]) -> None:
    """Apply definitions, and return when their kinds are served. Idempotent."""
    if not definitions:
        return
    apply = ("apply", "--server-side", "--force-conflicts", f"--field-manager={FIELD_MANAGER}", "-f", "-")
    kubectl(kubeconfig, *apply, given="\n---\n".join(map(json.dumps, definitions)))
    for definition in definitions:
        _await_served(kubeconfig, definition)


def _await_served(kubeconfig: Path, definition: Definition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not _is_served(kubeconfig, definition):
        if time.monotonic() > deadline:
            raise ClusterError(f"waited {PATIENCE:.0f} s in vain for {definition['metadata']['name']}")
        time.sleep(POLL_SECONDS)


def _is_served(kubeconfig: Path, definition: Definition) -> bool:
    """Established, and answered for: neither comes always first."""
    name, spec = definition["metadata"]["name"], definition["spec"]
    stored = json.loads(kubectl(kubeconfig, "get", "-o", "json", f"customresourcedefinition/{name}"))
    conditions = stored.get("status", {}).get("conditions") or ()  # Null at first, over which `kubectl wait` fails.
    if not any(c["type"] == "Established" and c["status"] == "True" for c in conditions):
        return False
    served = next(version["name"] for version in spec["versions"] if version["served"])
    try:
        kubectl(kubeconfig, "get", "--raw", f"/apis/{spec['group']}/{served}/{spec['names']['plural']}?limit=1")
    except InstallError:
        return False
    return True


def _unpacked(project: str, progress: Progress) -> Path:
    source = SOURCES[project]
    key = hashlib.sha256(repr((RECIPE, source.pinned, source)).encode()).hexdigest()[:12]
    root = cache_directory() / "peers"
    home = root / f"{project}-{source.version}-{key}"
    if not home.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / "lock", progress):
            if not home.is_dir():
                _write(home, source.read(progress))
    return home


def _write(home: Path, definitions: Iterable[tuple[str, Definition]]) -> None:
    """All or nothing. JSON, since it is read many times as fast as YAML."""
    partial = home.with_name(home.name + ".partial")
    partial.mkdir(exist_ok=True)
    for kind, definition in definitions:
        (partial / f"{kind}.json").write_text(json.dumps(definition))
    partial.rename(home)


# Controllers


class Controller:
    """A controller as a child process on free ports of the loopback address; a context manager.

    It runs as whoever the kubeconfig says, alone, so without leader election. Install its definitions before.
    """

    def __init__(self, name: str, directory: Path) -> None:
        """`directory`: where its log and its files go. Nothing is started before `start`."""
        self.name = name
        self.directory = directory
        self.ports = Ports()
        self._health = ""
        self._spawner: Spawner | None = None
        self._component: Component | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def log(self) -> Path:
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._component.pid if self._component else None

    def command(self) -> tuple[list[str], str]:
        """The command line, and the address that answers 200 when it is ready."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start it, and return once it is ready. Raises ClusterError with the end of its log."""
        command, self._health = self.command()
        self._spawner = Spawner()
        self._component = Component(self.name, command, log=self.log, directory=self.directory, spawner=self._spawner)
        self._component.start()
        try:
            self._wait(self._component)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End it, and give its ports back. Idempotent."""
        if self._component is not None:
            self._component.stop(GRACE_SECONDS)
        if self._spawner is not None:
            self._spawner.close()
        self._component = self._spawner = None
        self.ports.release()

    def _wait(self, component: Component) -> None:
        base, path = self._health.rsplit("/", 1)
        deadline = time.monotonic() + PATIENCE
        while not Rest(base).ok(f"/{path}"):
            component.check()
            if time.monotonic() > deadline:
                raise ClusterError(f"waited {PATIENCE:.0f} s in vain for {self.name}; see {self.log}")
            time.sleep(POLL_SECONDS)


class RolloutsController(Controller):
    """Argo Rollouts. Its two ports, for metrics and health, are open on every address: it has no option for that."""

    KINDS = ("Rollout", "AnalysisRun", "AnalysisTemplate", "ClusterAnalysisTemplate", "Experiment")
    """What has to be installed."""

    def __init__(self, kubeconfig: Path, directory: Path, progress: Progress = print_progress) -> None:
        super().__init__("rollouts-controller", directory)
        self._program = ensure_programs(ROLLOUTS, progress) / "rollouts-controller"
        self._kubeconfig = kubeconfig

    def command(self) -> tuple[list[str], str]:
        health = self.ports.claim()
        command = [
            str(self._program),
            f"--kubeconfig={self._kubeconfig}",
            "--leader-elect=false",
            f"--metricsPort={self.ports.claim()}",
            f"--healthzPort={health}",
            "--qps=1000",
            "--burst=2000",
        ]
        return command, f"http://{HOST}:{health}/healthz"


class KedaOperator(Controller):
    """KEDA's operator, without its metrics server: it scales from and to zero, and makes the HPA in between."""

    KINDS = (
        "ScaledObject",
        "ScaledJob",
        "TriggerAuthentication",
        "ClusterTriggerAuthentication",
        "CloudEventSource",
        "ClusterCloudEventSource",
    )
    """What has to be installed."""

    def __init__(self, kubeconfig: Path, directory: Path, progress: Progress = print_progress) -> None:
        super().__init__("keda-operator", directory)
        self._program = ensure_programs(KEDA, progress) / "keda-operator"
        self._kubeconfig = kubeconfig

    def command(self) -> tuple[list[str], str]:
        health = self.ports.claim()
        env = shutil.which("env")
        assert env is not None
        command = [
            env,
            "WATCH_NAMESPACE=",  # All of them.
            "KEDA_CLUSTER_OBJECT_NAMESPACE=keda",
            str(self._program),
            f"--kubeconfig={self._kubeconfig}",
            "--leader-elect=false",
            "--enable-cert-rotation=false",
            f"--cert-dir={self._certificates()}",
            "--metrics-bind-address=0",
            f"--metrics-service-bind-address={HOST}:{self.ports.claim()}",
            f"--health-probe-bind-address={HOST}:{health}",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
        ]
        return command, f"http://{HOST}:{health}/readyz"

    def _certificates(self) -> Path:
        """For the service that its metrics server would ask: it does not start without."""
        directory = self.directory / "certificates"
        directory.mkdir(mode=0o700, exist_ok=True)
        authority = CertificateAuthority("keda")
        pair = authority.server("keda-operator", [HOST, "localhost"])
        for name, content in (("ca.crt", authority.certificate), ("tls.crt", pair.certificate), ("tls.key", pair.key)):
            (directory / name).write_bytes(content)
        return directory
