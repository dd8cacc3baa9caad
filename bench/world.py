"""What the benchmark puts into a cluster: a namespace with a ladder, Deployments, and signals about them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from bench.api import Api, Object, each
from bench.observer import Observer
from riskladder.cluster.resources import DEPLOYMENTS, LADDERS, SIGNALS

LADDER = Path(__file__).with_name("ladder.yaml")
BASELINE, BREACH = 0.05, 0.25
"""Readings below every threshold of the ladder, and above that of its high tier."""

DEADLINE = 300.0
"""Seconds for anything that takes no part in a measurement."""


class BenchNamespace:
    """One namespace, of which nothing is left afterwards."""

    def __init__(self, api: Api, name: str, targets: Sequence[str]) -> None:
        self.api = api
        self.name = name
        self.observer = Observer(api, name)
        self._targets = targets

    async def __aenter__(self) -> Self:
        try:
            await self._create()
        except BaseException:
            await self._delete()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._delete()

    async def _create(self) -> None:
        """Create the namespace, the ladder, and a running Deployment for each target."""
        targets = self._targets
        await self.api.request("POST", "/api/v1/namespaces", {"metadata": {"name": self.name}})
        ladder = yaml.safe_load(LADDER.read_text())
        await self.api.request("POST", LADDERS.path(self.name), ladder)
        await self.observer.start()
        path = DEPLOYMENTS.path(self.name)
        await each(targets, lambda target: self.api.request("POST", path, deployment(target)))
        await self.observer.until(lambda: self.observer.ready.issuperset(targets), DEADLINE, "the Deployments to run")

    async def _delete(self) -> None:
        """Remove everything, and wait until it is gone, so that the next round finds the cluster as this one did."""
        await self.observer.stop()
        path = f"/api/v1/namespaces/{self.name}"
        await self.api.request("DELETE", path)
        deadline = time.monotonic() + DEADLINE
        while await self.api.exists(path):
            if time.monotonic() > deadline:
                raise RuntimeError(f"namespace {self.name} is still there {DEADLINE:.0f} s after its deletion")
            await asyncio.sleep(0.5)

    async def report(self, target: str, value: float) -> None:
        """Create the signal of a target, with a first reading."""
        await self.api.request("POST", SIGNALS.path(self.name), signal(target, value))

    async def update(self, target: str, value: float) -> None:
        """Update the signal of a target with a further reading."""
        spec = {key: val for key, val in signal(target, value)["spec"].items() if key in ("observedAt", "readings")}
        await self.api.request("PATCH", SIGNALS.path(self.name, target), {"spec": spec}, "application/merge-patch+json")


def deployment(name: str) -> Object:
    """Return a Deployment of one replica that opted in to the ladder."""
    labels = {"app": name}
    container = {
        "name": "model",
        "image": "registry.example/model:2026.11.2",
        "ports": [{"name": "http", "containerPort": 8080}],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {**labels, "riskladder.dev/ladder": "bench"}},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def signal(target: str, value: float) -> dict[str, Any]:
    """Return two readings, as a fairness monitor writes them; the signal is named as its target."""
    return {
        "apiVersion": SIGNALS.api_version,
        "kind": SIGNALS.kind,
        "metadata": {"name": target},
        "spec": {
            "ladder": "bench",
            "target": {"kind": "Deployment", "name": target},
            "model": {"name": target},
            "source": "fairness-monitor",
            "observedAt": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "readings": [
                {"indicator": "demographic_parity_difference", "value": value, "sampleSize": 791, "window": "365d"},
                {"indicator": "population_stability_index", "value": 0.015918, "sampleSize": 791, "window": "365d"},
            ],
        },
    }
