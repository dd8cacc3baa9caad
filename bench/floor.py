"""The floor: the least that any program has to do to stop a model after a breach, and nothing else.

One watch on the signals and two writes for each breach: the same Escalation that the operator creates, and the same
JSON Patch of the Deployment. Without a template, the JSON Patch alone: less than that stops nothing. No cache, no
decision, no ladder, no status, no records, no Events, no leader election, no restart. What the operator takes longer
than this is the price of being an operator.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp

from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.cluster.connection import Connection, connect
from riskladder.cluster.resources import DEPLOYMENTS, ESCALATIONS, SIGNALS

WRITERS = 16
"""Breaches served at once, as many as the operator serves."""

THRESHOLD = 0.20


class Floor:
    def __init__(self, connection: Connection, namespace: str, template: dict[str, Any] | None) -> None:
        """Take the `template`: the Escalation to write before each stop; None stops with one write and no trace."""
        self._connection = connection
        self._namespace = namespace
        self._template = template
        self._uids: dict[str, str] = {}
        self._taken: set[str] = set()
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def run(self) -> None:
        deployments = await self._get(DEPLOYMENTS.path(self._namespace))
        self._uids = {item["metadata"]["name"]: item["metadata"]["uid"] for item in deployments["items"]}
        version = (await self._get(SIGNALS.path(self._namespace) + "?limit=1"))["metadata"]["resourceVersion"]
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._serve())
            group.create_task(self._watch(version))

    async def _watch(self, version: str) -> None:
        """Watch for ever: a busy API server ends watches now and then."""
        url = f"{self._connection.server}{SIGNALS.path(self._namespace)}?watch=true&resourceVersion="
        while True:
            async with self._connection.session.get(
                url + version, timeout=aiohttp.ClientTimeout(total=None)
            ) as response:
                response.raise_for_status()
                print("ready", flush=True)
                rest = b""
                async for chunk in response.content.iter_any():
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        signal = json.loads(line)["object"]
                        version = signal["metadata"]["resourceVersion"]
                        self._look_at(signal)

    def _look_at(self, signal: dict[str, Any]) -> None:
        target = signal["spec"]["target"]["name"]
        if target not in self._taken and any(reading["value"] > THRESHOLD for reading in signal["spec"]["readings"]):
            self._taken.add(target)
            self._queue.put_nowait(signal)

    async def _serve(self) -> None:
        while True:
            signal = await self._queue.get()
            name = signal["spec"]["target"]["name"]
            if self._template is not None:
                body = self._escalation(signal, self._template)
                await self._write("POST", ESCALATIONS.path(self._namespace), body, "json")
            patch = [
                {"op": "test", "path": "/metadata/uid", "value": self._uids[name]},
                {"op": "test", "path": "/spec/replicas", "value": 1},
                {"op": "replace", "path": "/spec/replicas", "value": 0},
            ]
            await self._write("PATCH", DEPLOYMENTS.path(self._namespace, name), patch, "json-patch+json")

    def _escalation(self, signal: dict[str, Any], template: dict[str, Any]) -> dict[str, Any]:
        spec = signal["spec"]
        name = spec["target"]["name"]
        reference = {
            **template["spec"]["signal"],
            "name": signal["metadata"]["name"],
            "uid": signal["metadata"]["uid"],
            "observedAt": spec["observedAt"],
            "readings": spec["readings"],
        }
        target = {**template["spec"]["target"], "name": name, "uid": self._uids[name]}
        return {
            **template,
            "metadata": {
                "namespace": self._namespace,
                "name": f"{name}-floor",
                # Without the lock: the API server would hold each of the bare writes against all of them.
                "labels": {k: v for k, v in template["metadata"]["labels"].items() if k != LABEL_CONTAINMENT},
            },
            "spec": {**template["spec"], "signal": reference, "target": target},
        }

    async def _write(self, method: str, path: str, body: Any, kind: str) -> None:
        async with self._connection.session.request(
            method,
            self._connection.server + path,
            params={"fieldManager": "riskladder"},
            data=json.dumps(body, separators=(",", ":")).encode(),
            headers={"Content-Type": f"application/{kind}"},
        ) as response:
            raw = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {raw[:500].decode(errors='replace')}")

    async def _get(self, path: str) -> Any:
        async with self._connection.session.get(self._connection.server + path) as response:
            response.raise_for_status()
            return await response.json()


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.floor", description="The least that stops a model.")
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument(
        "--template", type=Path, help="an Escalation as the operator writes it; without, one write only"
    )
    options = parser.parse_args()
    template = json.loads(options.template.read_text()) if options.template else None
    connection = await connect(options.kubeconfig, agent="floor")
    try:
        await Floor(connection, options.namespace, template).run()
    finally:
        await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
