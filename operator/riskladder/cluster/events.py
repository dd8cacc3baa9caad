"""Kubernetes Events (events.k8s.io/v1), written once each.

The name of an Event is derived from what it says about what, so that writing it again after a crash is a conflict
and not a second Event. What one pass has to say about one object is one Event with a series, written once as well: to
count on in a later pass would take another permission, a read, and a count that a lost answer makes wrong. Events live
for an hour on most clusters: the records are the memory, Events are the bell.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.cluster.client import Client, Conflict, Object
from riskladder.cluster.resources import EVENTS

CONTROLLER = "riskladder.dev/operator"
NOTE_LIMIT = 1024
"""Bytes; the API server refuses more."""

NAME_PREFIX_LIMIT = 200
"""Characters of the object's name that the name of its Event begins with."""


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """The object that an Event is about."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str

    def to_api(self) -> dict[str, str]:
        """Return ``core/v1.ObjectReference``."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "namespace": self.namespace,
            "name": self.name,
            "uid": self.uid,
        }


@dataclass(frozen=True, slots=True)
class Series:
    """Several acts of one pass that one Event stands for."""

    count: int
    """How many; at least two."""
    last_at: datetime


def event_object(
    regarding: ObjectReference,
    *,
    reason: str,
    key: str,
    note: str,
    at: datetime,
    warning: bool,
    instance: str,
    related: ObjectReference | None = None,
    labels: Mapping[str, str] | None = None,
    series: Series | None = None,
) -> Object:
    """Return the Event; equal arguments give an equal name."""
    digest = hashlib.sha256(f"{regarding.uid}/{reason}/{key}".encode()).hexdigest()[:16]
    prefix = regarding.name[:NAME_PREFIX_LIMIT].rstrip("-.")  # neither may stand before the dot that follows
    text = note.encode()
    if len(text) > NOTE_LIMIT:
        note = text[: NOTE_LIMIT - 3].decode(errors="ignore") + "…"
    body: Object = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": regarding.namespace, "name": f"{prefix}.{digest}"},
        "eventTime": _micro_time(at),
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "action": reason,
        "note": note,
        "regarding": regarding.to_api(),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
    }
    if related is not None:
        body["related"] = related.to_api()
    if labels:
        body["metadata"]["labels"] = dict(labels)
    if series is not None:
        body["series"] = {"count": series.count, "lastObservedTime": _micro_time(series.last_at)}
    return body


def _micro_time(at: datetime) -> str:
    """Return a MicroTime: six digits, also when they are zero."""
    return format_time(at) if at.microsecond else format_time(at)[:-1] + ".000000Z"


async def write(client: Client, event: Object) -> None:
    """Create the Event; one that stands already is what was wanted.

    Raises:
        ApiError: The API server refused it or was not there.
    """
    with contextlib.suppress(Conflict):
        await client.create(EVENTS, event["metadata"]["namespace"], event)
