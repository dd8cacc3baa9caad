"""The operator's RBAC objects, generated from its table of grants.

Written manually, a role grows apart from what the code asks for: too little and it fails at night, too much and nobody
can say why. The reason of each grant goes into the file as a comment, where a reviewer of the manifests sees it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from riskladder.cluster import resources
from riskladder.cluster.grants import CLUSTER, NAMESPACED, NODE_LEASES, OWN_NAMESPACE, Grant
from riskladder.generate.text import HEADER, WIDTH, dump

NAME = "riskladder"
POLICIES = "riskladder-policies"
NODES = "riskladder-nodes"
NAMESPACE = "riskladder-system"
LABELS = {"app.kubernetes.io/name": "riskladder", "app.kubernetes.io/component": "operator"}
RBAC = "rbac.authorization.k8s.io"
SUBJECT = {"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}


def cluster_role() -> str:
    """Return what the operator needs where models run; nothing until bound, everywhere or in some."""
    return _role("ClusterRole", NAME, None, NAMESPACED)


def policies_role() -> str:
    """Return what it needs cluster-wide: a role of its own, so that an overlay can bind the other one in namespaces."""
    return _role("ClusterRole", POLICIES, None, CLUSTER)


def role() -> str:
    """Return what it needs in its own namespace."""
    return _role("Role", NAME, NAMESPACE, OWN_NAMESPACE)


def nodes_role() -> str:
    """Return what it needs in the namespace of the Leases of nodes."""
    return _role("Role", NODES, resources.NODE_LEASES, NODE_LEASES)


def bindings() -> tuple[dict[str, Any], ...]:
    """Bind the ClusterRole in every namespace (an overlay may narrow it), that of policies, and the two Roles."""
    return (
        _binding("ClusterRoleBinding", NAME, None, "ClusterRole"),
        _binding("ClusterRoleBinding", POLICIES, None, "ClusterRole"),
        _binding("RoleBinding", NAME, NAMESPACE, "Role"),
        _binding("RoleBinding", NODES, resources.NODE_LEASES, "Role"),
    )


def rbac() -> str:
    """Return the RBAC objects of every installation."""
    everywhere, policies, own, nodes = (dump(binding) for binding in bindings())
    return HEADER.format(source="cluster/grants.py") + "---\n".join(
        (cluster_role(), everywhere, policies_role(), policies, role(), own, nodes_role(), nodes)
    )


def _role(kind: str, name: str, namespace: str | None, grants: Sequence[Grant]) -> str:
    head = {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": _metadata(name, namespace)}
    return dump(head) + "rules:\n" + "".join(_rule(grant) for grant in grants)


def _rule(grant: Grant) -> str:
    reason = textwrap.fill(
        grant.why,
        width=WIDTH,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return f"{reason}\n{dump([grant.to_rule()])}"


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
