"""A monitoring stack of real programs: an exporter of fairness metrics, Prometheus, and Alertmanager."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp import web

from tests.cluster.ports import HOST, Ports
from tests.cluster.process import Component, Spawner

METRIC = "model_demographic_parity_difference"
PATIENCE = 20.0

RULES = """
groups:
- name: fairness
  interval: {every}
  rules:
  - alert: Unfair
    expr: {metric} > 0.2
    labels: {{severity: critical}}
    annotations: {{value: "{{{{ $value }}}}"}}
"""

PROMETHEUS = """
global: {{scrape_interval: {every}, scrape_timeout: {every}, evaluation_interval: {every}}}
rule_files: {rules}
alerting:
  alertmanagers:
  - static_configs: [{{targets: ["{alertmanager}"]}}]
scrape_configs:
- job_name: models
  static_configs: [{{targets: ["{exporter}"]}}]
- job_name: others
  honor_labels: true
  static_configs: {others}
"""

ALERTMANAGER = """
route:
  receiver: riskladder
  group_by: [alertname, deployment]
  group_wait: 0s
  group_interval: {every}
  repeat_interval: 1h
receivers:
- name: riskladder
  webhook_configs:
  - url: {url}
    send_resolved: true
    http_config:
      authorization: {{credentials_file: {token}}}
"""


def prometheus() -> Path | None:
    """Return the program, if there is one."""
    found = os.environ.get("PROMETHEUS") or shutil.which("prometheus")
    return Path(found) if found else None


@dataclass
class Exporter:
    """What a serving stack exposes: one gauge for each model."""

    values: dict[str, float] = field(default_factory=dict)
    """By Deployment."""
    address: str = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/metrics", self._show)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, 0).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _show(self, _: web.Request) -> web.Response:
        lines = [f"# TYPE {METRIC} gauge"]
        lines += [f'{METRIC}{{deployment="{name}"}} {value}' for name, value in self.values.items()]
        return web.Response(text="\n".join(lines) + "\n")


@dataclass(frozen=True, slots=True)
class Stack:
    """The programs, running."""

    exporter: Exporter
    prometheus: str
    """Base URL."""
    alertmanagers: tuple[str, ...]
    session: aiohttp.ClientSession

    async def sees(self, query: str, expected: str) -> None:
        """Wait until Prometheus answers a query by one sample of that value."""
        deadline = time.monotonic() + PATIENCE
        while True:
            async with self.session.get(f"{self.prometheus}/api/v1/query", params={"query": query}) as answer:
                result = (await answer.json())["data"]["result"]
            if [sample["value"][1] for sample in result] == [expected]:
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited in vain for {query} to be {expected}, and it is {result}")
            await asyncio.sleep(0.05)


@asynccontextmanager
async def monitoring(
    directory: Path,
    program: Path,
    *,
    alertmanager: Path | None = None,
    url: str = "",
    token: Path | None = None,
    values: Mapping[str, float],
    replicas: int = 1,
    every: str = "250ms",
    others: Mapping[str, Mapping[str, str]] | None = None,
    further_rules: Sequence[Path] = (),
    listen: str = "",
) -> AsyncIterator[Stack]:
    """Run the stack.

    Args:
        directory: Where its files go.
        program: Prometheus.
        alertmanager: The program; without it there is only Prometheus.
        url: Where Alertmanager notifies.
        token: File of the bearer token that it sends.
        values: What the exporter says first, by Deployment.
        replicas: Of Alertmanager, which do not know one another: each sends everything.
        every: Between two scrapes, and between two evaluations of the rule.
        others: What else is scraped: by address, the labels that its series get where they have none of that name.
        further_rules: Files of rules to evaluate, too.
        listen: Address of Prometheus; by default on a port that is free.
    """
    ports, spawner = Ports(), Spawner()
    components: list[Component] = []

    def start(name: str, command: list[str]) -> None:
        component = Component(name, command, log=directory / f"{name}.log", directory=directory, spawner=spawner)
        component.start()
        components.append(component)

    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession())
        exporter = await stack.enter_async_context(Exporter(dict(values)))
        try:
            addresses = []
            for number in range(replicas if alertmanager else 0):
                address = f"{HOST}:{ports.claim()}"
                config = directory / f"alertmanager-{number}.yaml"
                config.write_text(ALERTMANAGER.format(url=url, token=token, every=every))
                start(
                    f"alertmanager-{number}",
                    [
                        str(alertmanager),
                        f"--config.file={config}",
                        f"--storage.path={directory / f'alertmanager-{number}'}",
                        f"--web.listen-address={address}",
                        "--cluster.listen-address=",
                    ],
                )
                addresses.append(address)
            rules, config = directory / "rules.yaml", directory / "prometheus.yaml"
            rules.write_text(RULES.format(metric=METRIC, every=every))
            targets = '", "'.join(addresses)
            config.write_text(
                PROMETHEUS.format(
                    every=every,
                    rules=json.dumps([str(rules), *map(str, further_rules)]),
                    alertmanager=targets,
                    exporter=exporter.address,
                    others=json.dumps(
                        [{"targets": [address], "labels": dict(labels)} for address, labels in (others or {}).items()]
                    ),
                )
            )
            listen = listen or f"{HOST}:{ports.claim()}"
            start(
                "prometheus",
                [
                    str(program),
                    f"--config.file={config}",
                    f"--storage.tsdb.path={directory / 'prometheus'}",
                    f"--web.listen-address={listen}",
                ],
            )
            for address in (*addresses, listen):
                await _ready(session, f"http://{address}", components)
            yield Stack(exporter, f"http://{listen}", tuple(f"http://{a}" for a in addresses), session)
        finally:
            for component in reversed(components):
                component.stop(5)
            spawner.close()
            ports.release()


async def _ready(session: aiohttp.ClientSession, base: str, components: list[Component]) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        for component in components:
            component.check()
        try:
            async with session.get(f"{base}/-/ready") as answer:
                if answer.status == 200:
                    return
        except aiohttp.ClientError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"{base} was not ready in time")
        await asyncio.sleep(0.05)
