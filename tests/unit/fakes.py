"""Stand-ins for the queue and the caches: work that notes what is run, a cache that notes what it asks for."""

from __future__ import annotations

import asyncio
from typing import Any

from riskladder.cluster.resources import Resource
from riskladder.controller.caches.entries import Key
from riskladder.controller.caches.store import Store
from riskladder.controller.scheduler import Urgent
from riskladder.policy.snapshot import Snapshot
from riskladder.workloads.model import Workload
from tests.unit.builders import KEY, NAMESPACE, Document

CREATED = "2026-11-24T06:00:00Z"


class Failure(Exception):  # noqa: N818
    """What an API server answers."""

    def __init__(self, retry_after: float = 0.0) -> None:
        super().__init__("no")
        self.retry_after = retry_after


class Work:
    """Notes what is run; what a key wants contained, what fails and what blocks is set by the test."""

    def __init__(self) -> None:
        self.wants: dict[str, int] = {}
        """Severity by key."""
        self.fails: dict[str, Exception] = {}
        """By ``contain a``, ``trail a`` or ``decide a``."""
        self.blocks: dict[str, asyncio.Event] = {}
        self.log: list[str] = []
        self.running: list[str] = []
        self.most_at_once: dict[str, int] = {}

    def decide(self, key: str) -> Urgent[int] | None:
        if (error := self.fails.get(f"decide {key}")) is not None:
            raise error
        return Urgent(self.wants[key], self.wants[key]) if key in self.wants else None

    async def contain(self, key: str, work: int) -> None:
        self.wants.pop(key, None) if f"contain {key}" not in self.fails else None
        await self._run("contain", key)

    async def trail(self, key: str) -> None:
        await self._run("trail", key)

    async def _run(self, what: str, key: str) -> None:
        self.log.append(f"{what} {key}")
        self.running.append(key)
        self.most_at_once[key] = max(self.running.count(key), self.most_at_once.get(key, 0))
        try:
            if (event := self.blocks.get(f"{what} {key}")) is not None:
                await event.wait()
            await asyncio.sleep(0)
            if (error := self.fails.get(f"{what} {key}")) is not None:
                raise error
        finally:
            self.running.remove(key)

    def block(self, what: str) -> asyncio.Event:
        return self.blocks.setdefault(what, asyncio.Event())


class Cache:
    """A store, what it asked for, and objects in the form of the API server."""

    def __init__(self) -> None:
        self.asked: list[tuple[Key, bool]] = []
        self.store = Store(lambda key, urgent: self.asked.append((key, urgent)))

    def put(self, resource: Resource, obj: Document, version: int = 1, **metadata: Any) -> Document:
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version), **metadata}}
        self.store.put(resource, obj)
        return obj

    def new(self, resource: Resource, name: str, spec: Document, version: int = 1, **metadata: Any) -> Document:
        about = {
            "namespace": NAMESPACE,
            "name": name,
            "uid": f"{name}-uid",
            "generation": 1,
            "creationTimestamp": CREATED,
        }
        return self.put(resource, {"metadata": about, "spec": spec}, version, **metadata)

    def took(self) -> set[tuple[Key, bool]]:
        """Return what has been asked for since the last time."""
        asked, self.asked[:] = set(self.asked), []
        return asked

    def snapshot(self) -> Snapshot:
        return self.store.snapshot(KEY)

    @property
    def target(self) -> Workload | None:
        return self.snapshot().target

    @property
    def found(self) -> Workload:
        assert self.target is not None
        return self.target
