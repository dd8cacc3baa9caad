"""Sees, on one clock, when a model is stopped: the same eyes for the operator and for the floor."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable

import aiohttp

from bench.api import Api, Object
from riskladder.cluster.resources import DEPLOYMENTS, SIGNALS

POLL = 0.01
"""Seconds between looks at what the watches have noted. No result depends on it: times are taken as events arrive."""


class Observer:
    """Watches the Deployments and signals of one namespace."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api = api
        self._namespace = namespace
        self._tasks: list[asyncio.Task[None]] = []
        self.ready: set[str] = set()
        """Deployments that have been seen with a ready replica."""
        self.stopped: dict[str, float] = {}
        """When each Deployment was first seen with `spec.replicas: 0` (monotonic)."""
        self.current: set[str] = set()
        """Signals whose status is about their spec as it is now."""
        self.last_current = 0.0
        """When the last of them became so."""

    async def start(self) -> None:
        for path, take in (
            (DEPLOYMENTS.path(self._namespace), self._deployment),
            (SIGNALS.path(self._namespace), self._signal),
        ):
            version = await self._api.version(path)
            self._tasks.append(asyncio.create_task(self._follow(path, version, take)))

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()

    async def until(self, accept: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait for a condition; raise RuntimeError if it does not come true in time, or a watch has ended."""
        if not await self.seen(accept, seconds):
            raise RuntimeError(f"waited {seconds:.0f} s in vain for {what}")

    async def seen(self, accept: Callable[[], bool], seconds: float) -> bool:
        """Return whether it came true in time."""
        deadline = time.monotonic() + seconds
        while not accept():
            for task in self._tasks:
                if task.done():
                    raise RuntimeError("a watch of the observer has ended") from task.exception()
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(POLL)
        return True

    async def _follow(self, path: str, version: str, take: Callable[[Object, float, bool], None]) -> None:
        """Watch; where a busy API server ends that, go on from the last event."""
        while True:
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for lines in self._api.watch(path, version):
                    now = time.monotonic()
                    for line in lines.split(b"\n"):
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch of {path}: {event['object']}")
                        take(event["object"], now, event["type"] == "DELETED")
                        version = event["object"]["metadata"]["resourceVersion"]

    def _deployment(self, obj: Object, now: float, deleted: bool) -> None:
        name = obj["metadata"]["name"]
        if obj["status"].get("readyReplicas"):
            self.ready.add(name)
        if obj["spec"]["replicas"] == 0 and not deleted:
            self.stopped.setdefault(name, now)

    def _signal(self, obj: Object, now: float, deleted: bool) -> None:
        metadata, name = obj["metadata"], obj["metadata"]["name"]
        if deleted or (obj.get("status") or {}).get("observedGeneration") != metadata["generation"]:
            self.current.discard(name)
        elif name not in self.current:
            self.current.add(name)
            self.last_current = now
