"""Manifests that follow from the code: `python -m riskladder.cluster.manifests DIR [--check]`.

The operator's RBAC objects come from its table of grants, the containment lock and the components of the optional
runtimes from their adapters.

Written by hand, a role grows apart from what the code asks for: too little and it fails at night, too much and nobody
can say why. The reason of each grant goes into the file as a comment, where a reviewer of the manifests sees it.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from riskladder.api.crd import run
from riskladder.cluster import lock
from riskladder.cluster.rbac import CLUSTER, NAMESPACED, OWN_NAMESPACE, Grant
from riskladder.workloads.registry import COMPANIONS, MEANS, OPTIONAL

HEADER = "# Generated from operator/riskladder/{source} by `make generate`. Do not edit.\n"

NAME = "riskladder"
POLICIES = "riskladder-policies"
NAMESPACE = "riskladder-system"
LABELS = {"app.kubernetes.io/name": "riskladder", "app.kubernetes.io/component": "operator"}
RBAC = "rbac.authorization.k8s.io"
WIDTH = 118
SUBJECT = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}


def cluster_role() -> str:
    """What the operator needs where models run; nothing until bound, everywhere or in some."""
    return _role("ClusterRole", NAME, None, NAMESPACED)


def policies_role() -> str:
    """What it needs of the cluster itself: of its own, so that an overlay can bind the other one in some namespaces."""
    return _role("ClusterRole", POLICIES, None, CLUSTER)


def role() -> str:
    """What it needs in its own namespace."""
    return _role("Role", NAME, NAMESPACE, OWN_NAMESPACE)


def bindings() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The ClusterRole in every namespace (an overlay may narrow it down), that of policies, and the Role."""
    return (
        _binding("ClusterRoleBinding", NAME, None, "ClusterRole"),
        _binding("ClusterRoleBinding", POLICIES, None, "ClusterRole"),
        _binding("RoleBinding", NAME, NAMESPACE, "Role"),
    )


def rbac() -> str:
    """The RBAC objects of every installation."""
    everywhere, policies, own = (_dump(binding) for binding in bindings())
    return HEADER.format(source="cluster/rbac.py") + "---\n".join(
        (cluster_role(), everywhere, policies_role(), policies, role(), own)
    )


def component(name: str, options: Sequence[str], grants: Sequence[Grant], about: str) -> str:
    """What turns an option of the operator on, and grants what it needs, on top of any overlay."""
    role = "".join(f"    - op: add\n      path: /rules/-\n      value: {json.dumps(g.to_rule())}\n" for g in grants)
    args = "".join(
        f"    - op: add\n      path: /spec/template/spec/containers/0/args/-\n      value: {json.dumps(option)}\n"
        for option in options
    )
    reasons = "".join(f"# - {', '.join(g.verbs)} {', '.join(g.resources)}: {g.why}\n" for g in grants)
    head = textwrap.fill(about, width=WIDTH, initial_indent="# ", subsequent_indent="# ")
    return (
        f"{HEADER.format(source='workloads')}#\n{head}\n#\n{reasons}"
        "apiVersion: kustomize.config.k8s.io/v1alpha1\n"
        "kind: Component\n"
        "patches:\n"
        f"- target: {{kind: ClusterRole, name: {NAME}}}\n"
        f"  patch: |-\n{role}"
        f"- target: {{kind: Deployment, name: {NAME}}}\n"
        f"  patch: |-\n{args}"
    )


def components() -> dict[str, str]:
    """The kustomize components of what is optional, by name: one may serve several kinds."""
    found = {}
    for name in sorted({runtime.component for runtime in OPTIONAL}):
        served = [runtime for runtime in OPTIONAL if runtime.component == name]
        grants = tuple(dict.fromkeys(grant for runtime in served for grant in runtime.permissions))
        kinds = " and ".join(f"{runtime.resource.kind} ({runtime.resource.api_version})" for runtime in served)
        found[name] = component(name, [f"--enable={name}"], grants, f"Targets of kind {kinds}: see docs/runtimes.md.")
    for beside in (*COMPANIONS, *MEANS):
        about, name = f"{beside.about}: see docs/runtimes.md.", beside.component
        found[name] = component(name, [f"--enable={name}"], beside.permissions, about)
    return found


def files(directory: Path) -> dict[Path, str]:
    """Every generated file, by where it goes under the directory of the manifests."""
    return {
        directory / "base" / "rbac.yaml": rbac(),
        directory / "policies" / "lock.yaml": HEADER.format(source="cluster/lock.py") + lock.policy(),
    } | {directory / "components" / name / "kustomization.yaml": text for name, text in components().items()}


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m riskladder.cluster.manifests", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the manifests are")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the file is out of date")
    options = parser.parse_args(arguments)
    return run(files(options.directory), check=options.check)


def _role(kind: str, name: str, namespace: str | None, grants: Sequence[Grant]) -> str:
    head = {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": _metadata(name, namespace)}
    return _dump(head) + "rules:\n" + "".join(_rule(grant) for grant in grants)


def _rule(grant: Grant) -> str:
    reason = textwrap.fill(
        grant.why,
        width=WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{reason}\n{_dump([grant.to_rule()])}"


def _binding(kind: str, name: str, namespace: str | None, role_kind: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace),
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": name},
        "subjects": [SUBJECT],
    }


def _metadata(name: str, namespace: str | None) -> dict[str, Any]:
    return {"name": name} | ({"namespace": namespace} if namespace else {}) | {"labels": LABELS}


class _Dumper(yaml.SafeDumper):
    """Lists of words on one line and no anchors, as people write RBAC rules."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_words(self, data: Iterable[Any]) -> yaml.Node:
        words = list(data)
        flow = all(isinstance(word, str) for word in words)
        return self.represent_sequence("tag:yaml.org,2002:seq", words, flow_style=flow)


_Dumper.add_representer(list, _Dumper.represent_words)


def _dump(document: Any) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=WIDTH, default_flow_style=False)


if __name__ == "__main__":
    sys.exit(main())
