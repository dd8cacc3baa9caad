"""Who holds the roles of a ladder, as far as the RBAC objects of its namespace say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from riskladder.api.base import GROUP
from riskladder.cluster.authority import STAKEHOLDERS
from riskladder.cluster.client import Object


def granted(rules: Iterable[Mapping[str, Any]], roles: Iterable[str]) -> tuple[str, ...]:
    """Return the roles in which some rule of a Role lets somebody decide something."""
    about = [
        rule
        for rule in rules
        if not {"*", GROUP}.isdisjoint(rule.get("apiGroups") or ())
        and not {"*", STAKEHOLDERS}.isdisjoint(rule.get("resources") or ())
        and rule.get("verbs")
    ]
    return tuple(r for r in roles if any(not rule.get("resourceNames") or r in rule["resourceNames"] for rule in about))


def holders(
    bindings: Iterable[Object], rules: Mapping[tuple[str, str], Iterable[Mapping[str, Any]]], roles: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return, by role, the users, groups and accounts that are bound to it.

    Args:
        bindings: RoleBindings of the namespace.
        rules: The rules of Roles and ClusterRoles, by kind and name, of those that could be read.
        roles: The roles of the ladder.
    """
    names = list(roles)
    found: dict[str, dict[str, None]] = {role: {} for role in names}
    for binding in bindings:
        ref = binding.get("roleRef") or {}
        for role in granted(rules.get((ref.get("kind", ""), ref.get("name", "")), ()), names):
            found[role] |= dict.fromkeys(map(subject, binding.get("subjects") or ()))
    return {role: tuple(people) for role, people in found.items()}


def subject(one: Mapping[str, Any]) -> str:
    """Return whom a binding names: ``group legal``, ``ann``, ``service account models/monitor``."""
    kind, name = str(one.get("kind") or ""), str(one.get("name") or "")
    if kind == "Group":
        return f"group {name}"
    if kind == "ServiceAccount":
        return f"service account {one.get('namespace') or ''}/{name}"
    return name
