"""Follows a resource by list and watch, with nothing in between: for the many objects that belong to a few targets.

ReplicaSets, pods and EndpointSlices make most of the events of a containment, and nothing is ever decided from one
of them alone. Kopf spends about a millisecond of CPU time on an event and some kilobytes on an object; this spends
a tenth. Unlike a Kopf watcher it survives any error of the stream: it lists again, and forgets what the list no
longer has.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterable

import structlog

from riskladder.cluster.client import ApiError, Client, NotFound, Object, drained
from riskladder.cluster.failure_log import FailureLog
from riskladder.cluster.resources import Resource

log = structlog.get_logger(__name__)

FIRST_RETRY, LAST_RETRY = 0.1, 5.0
"""Seconds to wait after the first failure in a row, and at most."""

NOT_SERVED = 3
"""After so many answers in a row that there is no such kind, it is believed: an API server that starts may say so."""


class Informer:
    """Keeps one resource of one namespace, or of all, in a cache."""

    def __init__(
        self,
        client: Client,
        resource: Resource,
        namespace: str | None,
        *,
        put: Callable[[Resource, Object], None],
        drop: Callable[[Resource, Object], None],
        drop_unless: Callable[[Resource, Collection[str], str, str], None],
        optional: bool = False,
    ) -> None:
        """Prepare.

        Args:
            client: Where to read.
            resource: What to follow.
            namespace: Where, or everywhere.
            put: Called with every object as it is now.
            drop: Called with every object that was deleted.
            drop_unless: Called with the uids that a fresh list found, the namespace (empty for all), and the list's
                resourceVersion: what is newer than that is no part of it (empty where there is no list).
            optional: Its CustomResourceDefinition may be missing: then there is nothing of it, until it is installed.
        """
        self._client = client
        self.resource = resource
        """What is followed."""
        self._namespace = namespace
        self._put = put
        self._drop = drop
        self._drop_unless = drop_unless
        self._optional = optional
        self._missing = False
        self._failures = FailureLog("watch failed")
        self.synced = asyncio.Event()
        """Set when the resource has been listed once, or is not served and need not be."""
        self.heard = time.monotonic()
        """When anything was last heard of it (monotonic)."""

    async def run(self) -> None:
        """List and watch until cancelled."""
        failures = 0
        while True:
            try:
                version = await self._list()
                failures = 0
                while True:
                    version = await self._follow(version)
                    self.heard = time.monotonic()  # of a quiet kind it is the end of the stream that is heard
                    self._failures.succeeded(resource=self.resource.title)
            except ApiError as error:
                failures += 1
                if self._optional and isinstance(error, NotFound):
                    if failures >= NOT_SERVED:
                        self._not_served()
                elif error.status != 410:  # Gone is no failure: the version was too old, and is listed again
                    self._failures.failed(str(error), resource=self.resource.title)
                ceiling = min(LAST_RETRY, FIRST_RETRY * 2.0 ** min(failures, 10))
                await asyncio.sleep(ceiling * (0.5 + random.random() / 2))  # noqa: S311 - jitter, not a secret

    def _not_served(self) -> None:
        """Drop all objects of a kind that is not served; it is asked for again every few seconds."""
        if not self._missing:
            self._missing = True
            why = f"{self.resource.api_version} {self.resource.kind} is not installed: it is taken up once it is"
            log.warning("kind missing", resource=self.resource.title, error=why)
            self._drop_unless(self.resource, (), self._namespace or "", "")
        self.heard = time.monotonic()
        self.synced.set()

    async def _list(self) -> str:
        version, present = "", set[str]()
        async for items, at in self._client.pages(self.resource, self._namespace):
            version = at
            self.heard = time.monotonic()
            for item in drained(items):
                present.add(item["metadata"]["uid"])
                self._guarded(self._put, item)
        if self._missing:
            self._missing = False
            log.info("kind installed", resource=self.resource.title)
        self._drop_unless(self.resource, present, self._namespace or "", version)
        self.heard = time.monotonic()
        self.synced.set()
        return version

    async def _follow(self, version: str) -> str:
        """Take in changes until the server ends the stream; the version to go on from."""
        async for kind, obj in self._client.watch(self.resource, self._namespace, since=version):
            self.heard = time.monotonic()
            version = obj["metadata"]["resourceVersion"]
            if kind == "DELETED":
                self._guarded(self._drop, obj)
            elif kind != "BOOKMARK":
                self._guarded(self._put, obj)
        return version

    def _guarded(self, take: Callable[[Resource, Object], None], obj: Object) -> None:
        """Handle one object; one that cannot be read is skipped alone."""
        try:
            take(self.resource, obj)
        except Exception:
            metadata = obj.get("metadata") or {}
            log.exception(
                "object left out",
                resource=self.resource.title,
                namespace=metadata.get("namespace"),
                name=metadata.get("name"),
            )


def unlisted(informers: Iterable[Informer]) -> str:
    """Return which resources have not been listed yet, as a readiness probe says it; empty for none."""
    waiting = [informer.resource.title for informer in informers if not informer.synced.is_set()]
    return f"not listed yet: {', '.join(waiting)}" if waiting else ""
