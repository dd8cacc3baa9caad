"""RBAC rules, each with its reason: what the operator needs for itself, for a runtime, or for another component."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Grant:
    """One RBAC rule and its reason."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    why: str
    names: tuple[str, ...] = ()
    checked: bool = True
    """Whether a ladder reports it as missing."""

    def to_rule(self) -> dict[str, Any]:
        """Return ``rbac/v1.PolicyRule``."""
        rule: dict[str, Any] = {"apiGroups": [self.group], "resources": list(self.resources)}
        if self.names:
            rule["resourceNames"] = list(self.names)
        return rule | {"verbs": list(self.verbs)}


@dataclass(frozen=True, slots=True)
class Component:
    """An optional part of an installation besides the runtimes: what it turns on, and what it needs for that."""

    component: str
    """Its name, and that of ``--enable``."""
    permissions: tuple[Grant, ...]
    about: str
    """What it lets the operator do, for people."""
