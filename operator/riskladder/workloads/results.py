"""What is asked of a stored object, and what comes back: a write, a reason why not, a proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from riskladder.api.resource import Resource

JsonPatch = list[dict[str, Any]]
"""RFC 6902 operations."""

Object = Mapping[str, Any]
"""An object as the API server stores it."""


@dataclass(frozen=True, slots=True)
class Write:
    """One PATCH: of the object, or of one of its subresources."""

    patch: JsonPatch
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class ObjectWrite:
    """One write on an object that is named."""

    resource: Resource
    name: str
    verb: Literal["create", "patch", "delete"]
    body: Any
    """The object, the JSON Patch, or the options of a deletion."""
    subresource: str | None = None


@dataclass(frozen=True, slots=True)
class Impossible:
    """Why something cannot be done."""

    why: str


@dataclass(frozen=True, slots=True)
class Verification:
    """How far a containment has got; each step needs the one before it."""

    applied: bool
    """The write that contains has been accepted by the API server."""
    endpoints_empty: bool
    """No EndpointSlice lists a pod of what was contained that serves, though it may be ending."""
    pods_gone: bool
    """No pod of what was contained may still answer, and the controller has seen the write."""
    clear: bool
    """Nothing of what was contained is to be seen, whatever the controller has seen: a proof once given holds on."""
    left: str
    """What is still there, for people."""
    shown: str = "none of its pods is left, and no Service lists one of them as serving"
    """What shows that nothing is left, for people."""
    is_unconfirmed: bool = False
    """Whether nothing stands in its way but pods of which their node has not said that they have ended."""
