"""Kopf handlers: they feed the caches, which enqueue, and do nothing else.

Only ``kopf.on.event``: it writes nothing to the objects it sees. ``kopf.index`` would report when everything has been
listed, but lets every object wait for every other, which makes a start on a few thousand signals take minutes; the
caches are filled by a list of our own instead. No handler of this module can fail in a way that Kopf would have to
retry.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

import structlog

from riskladder.cluster.client import STALL_SECONDS, WATCH_SECONDS
from riskladder.cluster.resources import WATCHED, Resource
from riskladder.controller.caches.store import Store
from riskladder.controller.kopf_library import ResourceMemories, ResourceMemory, kopf

log = structlog.get_logger(__name__)

WATCHER_TASK = "watcher for "
"""How Kopf names the task of a watcher: it is gone when the watcher has died."""


KOPF_PAGE = 100
"""Objects in one page of Kopf's lists."""

IDLE_WORKER = 0.02
"""Seconds for which Kopf's worker of an object waits for its next event. Every object of a list has one: while they
waited for a second, all of a list were in memory at once, and 1,500 signals took 20 MiB more after a restart."""


class _NoDiffs(kopf.DiffBaseStorage):
    """No handler asks what changed, so no copy of any object is made to find out."""

    def build(self, **_: Any) -> Any:
        return {}

    def fetch(self, **_: Any) -> None:
        return None

    def store(self, **_: Any) -> None:
        return None


class Handlers:
    """The registry of handlers, and what they have noticed."""

    def __init__(self, store: Store) -> None:
        """Register a handler for every watched resource."""
        self._store = store
        self.heard: dict[str, float] = {resource.title: time.monotonic() for resource in WATCHED}
        """When anything was last heard of a resource (monotonic)."""
        self.registry = kopf.OperatorRegistry()
        for resource in WATCHED:
            self._register(resource)

    def _register(self, resource: Resource) -> None:
        where = (
            (resource.group, resource.version, resource.plural)
            if resource.group
            else (resource.version, resource.plural)
        )

        async def seen(body: Mapping[str, Any], type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name
            self.heard[resource.title] = time.monotonic()
            self._guarded(resource, body, deleted=type == "DELETED")

        kopf.on.event(*where, id=f"seen-{resource.plural}", registry=self.registry)(seen)

    def _guarded(self, resource: Resource, body: Mapping[str, Any], *, deleted: bool) -> None:
        """Handle one object; one that cannot be read is skipped alone."""
        try:
            (self._store.drop if deleted else self._store.put)(resource, dict(body))
        except Exception:
            metadata = body.get("metadata") or {}
            log.exception(
                "object left out",
                resource=resource.title,
                namespace=metadata.get("namespace"),
                name=metadata.get("name"),
            )


class NoMemories(ResourceMemories):
    """Kopf keeps some kilobytes for every object it has ever seen; these handlers have no use for any of it."""

    async def recall(self, *arguments: Any, **options: Any) -> ResourceMemory:
        """Return a blank memory, forgotten at once."""
        return await super().recall(*arguments, **{**options, "ephemeral": True})


def watchers_alive() -> int:
    """Return how many of Kopf's watchers are running: a dead one does not come back by itself."""
    return sum(task.get_name().startswith(WATCHER_TASK) for task in asyncio.all_tasks() if not task.done())


def kopf_settings() -> kopf.OperatorSettings:
    """Configure Kopf as this operator uses it: watching only, no patches, no events, no peering."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.connect_timeout = 5
    settings.networking.request_timeout = 30
    settings.watching.server_timeout = WATCH_SECONDS
    settings.watching.inactivity_timeout = WATCH_SECONDS + STALL_SECONDS
    settings.watching.chunk_size = KOPF_PAGE
    settings.queueing.idle_timeout = IDLE_WORKER
    settings.persistence.diffbase_storage = _NoDiffs()
    return settings
