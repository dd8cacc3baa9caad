"""From a real exporter through real Prometheus and Alertmanager to the stop of a model, and back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from demo.monitoring import METRIC, Stack, monitoring, prometheus
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from tests.cluster import ControlPlane
from tests.cluster.build import ensure_programs
from tests.cluster.install import NAMESPACE, install, service_account_kubeconfig
from tests.cluster.versions import ALERTMANAGER
from tests.conftest import progress
from tests.integration.ingest_process import ROLE_BINDINGS, SOURCE, Ingest, binding, ingesting, monitored
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import INDICATOR, TestNamespace, condition, ladder

TARGETS = {"label": "deployment", "allowed": ["scorer", "pricer"]}


def program() -> Path:
    """Prometheus; without it a test is skipped by name."""
    found = prometheus()
    if found is None:
        pytest.skip("needs Prometheus: apt-get install --no-install-recommends prometheus")
    return found


class PollProcess(OperatorProcess):
    command = "poll"


@pytest.fixture(scope="module")
async def ingest(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with ingesting(installed.kubeconfig, tmp_path_factory.mktemp("ingest")) as running:
        yield running


async def usable(world: TestNamespace, body: Object) -> None:
    await world.apply(body)

    async def check() -> bool:
        found = await world.get(resources.BINDINGS, body["metadata"]["name"])
        return bool(condition(found, "Ready")["status"] == "True")

    await world.until(check, "the binding to be usable")


async def test_alert_of_alertmanager_stops_the_model_and_its_end_is_heard(
    world: TestNamespace, ingest: Ingest, admin: Client, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    prometheus_, alertmanager = program(), ensure_programs(ALERTMANAGER, progress(request.config)) / "alertmanager"
    await monitored(world)
    await world.apply(ladder())
    await asyncio.gather(world.serve("scorer"), world.serve("pricer"))
    await usable(world, binding(target=None, targetFrom=TARGETS))
    token = tmp_path / "token"
    token.write_text(ingest.token(world.namespace, SOURCE))
    url = f"{ingest.url}/v1/namespaces/{world.namespace}/bindings/fairness"
    values = {"scorer": 0.05, "pricer": 0.05}
    async with monitoring(
        tmp_path, prometheus_, alertmanager=alertmanager, url=url, token=token, values=values, replicas=2
    ) as stack:
        await stack.sees(f'{METRIC}{{deployment="scorer"}}', "0.05")
        flipped = time.monotonic()
        stack.exporter.values["scorer"] = 0.31

        async def stopped() -> bool:
            return bool((await world.deployment("scorer"))["spec"]["replicas"] == 0)

        await world.until(stopped, "the model to be stopped")
        print(f"from the metric to no replicas: {time.monotonic() - flipped:.2f} s")
        escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
        assert (await world.deployment("pricer"))["spec"]["replicas"] == 1
        stack.exporter.values["scorer"] = 0.05

        async def recovered() -> bool:
            found = await admin.list(resources.SIGNALS, world.namespace)
            return [(s.get("status") or {}).get("tier") for s in found] == ["baseline"]

        await world.until(recovered, "the end of the alert to be heard")
        records = await world.records(escalation["metadata"]["name"])
        assert sum(r["spec"]["event"] == "EscalationOpened" for r in records) == 1, "the other replica changes nothing"


@pytest.fixture
async def stack(tmp_path: Path) -> AsyncIterator[Stack]:
    async with monitoring(tmp_path, program(), values={"scorer": 0.05, "pricer": 0.05}) as running:
        await running.sees(f'{METRIC}{{deployment="scorer"}}', "0.05")
        yield running


async def test_query_stops_the_model(
    world: TestNamespace, installed: ControlPlane, stack: Stack, tmp_path: Path, admin: Client
) -> None:
    """One query serves many models. What is none of one sample, finite and alone, is no reading, and says so."""
    await monitored(world)
    acting = await admin.get(ROLE_BINDINGS, world.namespace, f"{SOURCE}-ingest")
    poll_subject = {"kind": "ServiceAccount", "name": "riskladder-poll", "namespace": NAMESPACE}
    acting["subjects"].append(poll_subject)
    await admin.replace(ROLE_BINDINGS, world.namespace, f"{SOURCE}-ingest", acting)
    install(installed.kubeconfig, components=["poll"])
    endpoints = tmp_path / "endpoints.yaml"
    endpoints.write_text(f"endpoints:\n- {{name: main, url: '{stack.prometheus}', timeout: 2s}}\n")
    account = service_account_kubeconfig(
        installed.kubeconfig, tmp_path / "poll.kubeconfig", "riskladder-poll", NAMESPACE
    )
    await world.apply(ladder())
    await asyncio.gather(world.serve("scorer"), world.serve("pricer"))
    poll = {"endpoint": "main", "query": METRIC, "every": "5s"}
    body = binding(
        "polled",
        format="Generic",
        sender=None,
        target=None,
        targetFrom=TARGETS,
        poll=poll,
        readings=[{"indicator": INDICATOR}],
    )

    async def query_is(status: str, reason: str, said: str) -> None:
        async def check() -> bool:
            found = condition(await world.get(resources.BINDINGS, "polled"), "QueryOk")
            return (found["status"], found["reason"]) == (status, reason) and said in found["message"]

        await world.until(check, f"QueryOk to be {status}, {reason}: {said}")

    with PollProcess(account, tmp_path, "--endpoints", str(endpoints)) as process:
        process.wait_for("leading")
        await usable(world, body)
        await query_is("True", "Answered", "2 readings")
        signals = await admin.list(resources.SIGNALS, world.namespace)
        assert sorted(s["spec"]["target"]["name"] for s in signals) == ["pricer", "scorer"]
        stack.exporter.values["scorer"] = 0.31
        await world.until(lambda: _at_zero(world, "scorer"), "the model to be stopped")
        del stack.exporter.values["pricer"]
        await query_is("False", "NoReading", "no sample with deployment=pricer")
        stack.exporter.values["pricer"] = float("nan")
        await query_is("False", "NoReading", "expected a finite number")
        assert (await world.deployment("pricer"))["spec"]["replicas"] == 1


async def _at_zero(world: TestNamespace, name: str) -> bool:
    return bool((await world.deployment(name))["spec"]["replicas"] == 0)
