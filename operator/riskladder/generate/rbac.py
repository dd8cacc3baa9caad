"""The operator's RBAC objects, generated from its table of grants.

Written manually, a role grows apart from what the code asks for: too little and it fails at night, too much and nobody
can say why. The reason of each grant goes into the file as a comment, where a reviewer of the manifests sees it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from riskladder.cluster import resources
from riskladder.cluster.grants import (
    CLUSTER,
    CONSOLE_ACTING,
    INGEST,
    NAMESPACED,
    NODE_LEASES,
    OWN_NAMESPACE,
    POLL,
    POLL_OWN_NAMESPACE,
    Grant,
)
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


def ingest() -> str:
    """The RBAC objects of `riskladder ingest`."""
    name = f"{NAME}-ingest"
    subject = {**SUBJECT, "name": name}
    binding = {**_binding("ClusterRoleBinding", name, None, "ClusterRole", "ingest"), "subjects": [subject]}
    role = _role("ClusterRole", name, None, INGEST, "ingest")
    return HEADER.format(source="cluster/grants.py") + "---\n".join((role, dump(binding)))


def poll() -> str:
    """The RBAC objects of `riskladder poll`."""
    name = f"{NAME}-poll"
    subjects = [{**SUBJECT, "name": name}]
    everywhere = {**_binding("ClusterRoleBinding", name, None, "ClusterRole", "poll"), "subjects": subjects}
    own = {**_binding("RoleBinding", name, NAMESPACE, "Role", "poll"), "subjects": subjects}
    parts = (
        _role("ClusterRole", name, None, POLL, "poll"),
        dump(everywhere),
        _role("Role", name, NAMESPACE, POLL_OWN_NAMESPACE, "poll"),
        dump(own),
    )
    return HEADER.format(source="cluster/grants.py") + "---\n".join(parts)


def console_acting() -> str:
    """The RBAC objects of `riskladder console --impersonate`."""
    name = f"{NAME}-console-acting"
    subject = {**SUBJECT, "name": f"{NAME}-console"}
    binding = {**_binding("ClusterRoleBinding", name, None, "ClusterRole", "console"), "subjects": [subject]}
    role = _role("ClusterRole", name, None, CONSOLE_ACTING, "console")
    return HEADER.format(source="cluster/grants.py") + "---\n".join((role, dump(binding)))


def _role(kind: str, name: str, namespace: str | None, grants: Sequence[Grant], component: str = "operator") -> str:
    head = {"apiVersion": f"{RBAC}/v1", "kind": kind, "metadata": _metadata(name, namespace, component)}
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


def _binding(
    kind: str, name: str, namespace: str | None, role_kind: str, component: str = "operator"
) -> dict[str, Any]:
    return {
        "apiVersion": f"{RBAC}/v1",
        "kind": kind,
        "metadata": _metadata(name, namespace, component),
        "roleRef": {"apiGroup": RBAC, "kind": role_kind, "name": name},
        "subjects": [SUBJECT],
    }


def _metadata(name: str, namespace: str | None, component: str) -> dict[str, Any]:
    labels = {**LABELS, "app.kubernetes.io/component": component}
    return {"name": name} | ({"namespace": namespace} if namespace else {}) | {"labels": labels}
