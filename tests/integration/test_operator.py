"""The operator as a process: probes, metrics, arguments, a clean end, and silence when nothing changes.

On a control plane where nothing else runs, because operators are started and stopped here, and it is paused once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal as signals
import socket
import subprocess
import sys
import warnings
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import kopf
import pytest
from prometheus_client.parser import text_string_to_metric_families

import tests.integration.test_faults as faults
from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import Client
from riskladder.cluster.resources import Resource
from riskladder.controller.operator import Operator, Settings
from tests.cluster import LocalControlPlane
from tests.cluster.chaos import Chaos, Write
from tests.cluster.components import API_SERVER
from tests.integration.operator_process import ROOT, OperatorProcess
from tests.integration.test_faults import Start, contained_once, deploy_all, holder, leading, standing_by, until_stopped
from tests.integration.world import INDICATOR, LADDER, TestNamespace, condition, deployment, ladder, signal
from tests.patience import PATIENCE

chief, world, start, chaos = faults.chief, faults.world, faults.start, faults.chaos

Sample = tuple[str, frozenset[tuple[str, str]]]
READING = ("get", "list", "watch")
QUESTIONS = (
    "selfsubjectaccessreviews.authorization.k8s.io",
    "selfsubjectreviews.authentication.k8s.io",
    "leases.coordination.k8s.io",
)
"""What is asked or written whether or not anything happens."""


def metrics(operator: OperatorProcess) -> dict[Sample, float]:
    status, text = operator.get("/metrics")
    assert status == 200
    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def value(found: dict[Sample, float], name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def writes(operator: OperatorProcess) -> dict[tuple[str, str, str], float]:
    """Every write the operator has tried, but for its Lease, by verb, resource and result."""
    found: dict[tuple[str, str, str], float] = {}
    for (name, labels), number in metrics(operator).items():
        by = dict(labels)
        if name == "riskladder_api_requests_total" and by["verb"] not in READING and by["resource"] not in QUESTIONS:
            found[by["verb"], by["resource"], by["result"]] = number
    return found


async def versions(
    world: TestNamespace, kinds: Iterable[Resource] = (*resources.OWN, *resources.CACHED)
) -> dict[str, str]:
    """resourceVersion of everything the operator might write, by uid."""
    found = {}
    for resource in {*kinds, resources.EVENTS}:
        for obj in await world.client.list(resource, world.namespace):
            found[obj["metadata"]["uid"]] = obj["metadata"]["resourceVersion"]
    return found


# --- 8. Probes, metrics, arguments, the end ---------------------------------------------------------------------------


async def test_not_ready_until_the_api_server_answers_and_the_caches_are_full(
    plane: LocalControlPlane, world: TestNamespace, start: Start
) -> None:
    await world.apply(ladder())
    plane.pause(API_SERVER)
    try:
        ended, waiting = start(), start()
        for operator in (ended, waiting):
            status, reason = operator.get("/readyz")
            assert status == 503
            assert "API server" in reason
            assert operator.get("/healthz") == (200, "ok\n")
        assert ended.stop() == 0, "SIGTERM while it waits"
    finally:
        plane.resume(API_SERVER)
    await leading(waiting)
    assert waiting.get("/readyz") == (200, "ok\n")
    assert waiting.get("/healthz") == (200, "ok\n")


async def test_metrics_after_a_breach(world: TestNamespace, start: Start) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=2)
    operator = await leading(start())
    await world.apply(signal("scorer", "scorer", 0.31))
    await contained_once(world, ["scorer"])
    await world.scale("scorer", 1)

    async def reverted() -> bool:
        return bool(condition((await world.escalations())[0], "ContainmentHolds")["reason"] == "ContainmentReapplied")

    await world.until(reverted, "the drift to be re-applied")
    await world.quiet()
    found = metrics(operator)
    assert value(found, "riskladder_leading") == 1
    here = {"namespace": world.namespace, "ladder": "credit", "tier": "high"}
    assert value(found, "riskladder_open_escalations", **here) == 1
    took = []
    for stage in ("intent", "applied", "endpoints_empty", "pods_gone"):
        labels = {"stage": stage, "action": "ScaleToZero"}
        assert value(found, "riskladder_containment_seconds_count", **labels) >= 1
        took.append(value(found, "riskladder_containment_seconds_sum", **labels))
    assert 0 < took[0] < 10
    requests = {"result": "ok", "verb": "create"}
    assert value(found, "riskladder_api_requests_total", resource="escalations.riskladder.dev", **requests) == 1
    written = len(await world.client.list(resources.RECORDS, world.namespace))
    assert (
        value(found, "riskladder_api_requests_total", resource="escalationrecords.riskladder.dev", **requests)
        == written
    )
    stops = {"verb": "patch", "resource": "deployments.apps", "result": "ok"}
    assert value(found, "riskladder_api_requests_total", **stops) == 2
    reverts = [n for (name, _), n in found.items() if name == "riskladder_containment_reverted_total"]
    assert reverts == [1]
    for state in ("urgent", "contain", "trail", "later", "running"):
        assert value(found, "riskladder_queue_depth", state=state) >= 0
    assert 0 <= value(found, "riskladder_queue_oldest_seconds") < 10
    for resource in resources.CACHED:
        assert 0 <= value(found, "riskladder_watch_age_seconds", resource=resource.title) < 60


async def test_journal_of_readings_is_in_the_log_and_in_the_gauges_of_the_leader(
    world: TestNamespace, start: Start
) -> None:
    await world.apply(ladder())
    await world.serve("scorer", replicas=1)
    leader = await leading(start())
    standby = await standing_by(start())
    stream = {"namespace": world.namespace, "ladder": "credit", "target": "Deployment/scorer"}
    stream |= {"source": "fairness-monitor", "indicator": INDICATOR}
    began = datetime.now(UTC) - timedelta(minutes=1)
    for number, reading in enumerate((0.05, 0.06)):
        at = format_time((began + timedelta(seconds=number)).replace(microsecond=0))
        await world.apply(signal("fairness", "scorer", reading, observedAt=at))
        await asyncio.to_thread(leader.wait_for, "reading", value=reading)
    unknown = [{"indicator": "nonsense", "value": 1}]
    await world.apply(signal("unknown", "scorer", None, readings=unknown))
    refused = await asyncio.to_thread(leader.wait_for, "reading refused", signal="unknown")
    assert (refused["reason"], refused["target"]) == ("UnknownIndicator", "Deployment/scorer")
    mine = [e for e in leader.entries() if e["event"] == "reading" and e["namespace"] == world.namespace]
    assert [(e["value"], e["tier"], e["source"]) for e in mine] == [
        (0.05, "baseline", "fairness-monitor"),
        (0.06, "baseline", "fairness-monitor"),
    ]

    def gauge(of: OperatorProcess) -> float | None:
        return metrics(of).get(("riskladder_reading", frozenset(stream.items())))

    async def shown() -> bool:
        return gauge(leader) == 0.06

    await world.until(shown, "the gauge of the stream")
    when = value(metrics(leader), "riskladder_reading_observed_timestamp_seconds", **stream)
    assert when == datetime.fromisoformat(mine[1]["observedAt"]).timestamp()
    assert gauge(standby) is None
    assert not [e for e in standby.entries() if e["event"].startswith("reading")]
    await world.client.delete(resources.SIGNALS, world.namespace, "fairness")

    async def gone() -> bool:
        return gauge(leader) is None

    await world.until(gone, "the gauge of a stream that is gone to go")


async def test_what_is_known_of_people_outlives_the_leader_and_is_shown_by_one(
    world: TestNamespace, start: Start
) -> None:
    await deploy_all(world, ["scorer"])
    leader = await leading(start())
    standby = await standing_by(start())
    await world.apply(signal("scorer", "scorer", 0.31))
    await contained_once(world, ["scorer"])
    names = ("state", "deadline_timestamp_seconds", "response_seconds")

    def known(of: OperatorProcess) -> dict[Sample, float]:
        mine = ("namespace", world.namespace)
        escalations = {f"riskladder_escalation_{name}" for name in names} | {"riskladder_open_escalations"}
        return {sample: v for sample, v in metrics(of).items() if sample[0] in escalations and mine in sample[1]}

    async def shown(of: OperatorProcess) -> dict[Sample, float]:
        async def complete() -> bool:
            return {dict(labels).get("stage") for _, labels in known(of)} >= {"notify", "contain", "decide"}

        await world.until(complete, "the gauges of the escalation")
        await world.quiet()
        return known(of)

    before = await shown(leader)
    assert known(standby) == {}
    leader.kill()
    assert await shown(await leading(standby)) == before


async def test_sigterm_finishes_the_pass_under_way_and_releases_the_lease(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    await deploy_all(world, ["scorer"])
    operator = await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))
    assert await holder(world) != ""

    def stops_the_model(write: Write) -> bool:
        return write.method == "PATCH" and write.path.endswith("/deployments/scorer")

    chaos.hold = stops_the_model
    await world.apply(signal("scorer", "scorer", 0.31))

    async def held() -> bool:
        return bool(chaos.holding)

    await world.until(held, "the write that stops the model")
    os.kill(operator.pid, signals.SIGTERM)
    await asyncio.to_thread(operator.wait_for, "stopping", reason="signal")
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 1
    chaos.release()
    assert await asyncio.to_thread(operator.process.wait, 15) == 0
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    assert chaos.late == [200]
    assert operator.entries()[-1]["event"] == "stopped"
    assert await holder(world) == ""


async def test_observe_only_says_what_it_would_do_and_writes_nothing(world: TestNamespace, start: Start) -> None:
    await world.apply(ladder())
    await world.serve("scorer")
    await world.apply(signal("scorer", "scorer", 0.31))
    await world.apply(signal("elsewhere", "nothing", 0.31))
    leases = await world.client.list(resources.LEASES, "riskladder-system")
    before = await versions(world)
    operator = start("--observe-only")
    entry = await asyncio.to_thread(operator.wait_for, "would stop")
    assert entry["target"] == [world.namespace, "Deployment", "scorer"]
    assert (entry["action"], entry["effect"]) == ("ScaleToZero", "stop: patch Deployment scorer")
    await asyncio.to_thread(operator.wait_for, "would write", target=[world.namespace, "Deployment", "nothing"])
    assert operator.get("/readyz") == (200, "ok\n")
    assert operator.stop() == 0
    assert await versions(world) == before
    assert await world.client.list(resources.LEASES, "riskladder-system") == leases


async def test_operator_with_the_credentials_of_an_administrator_says_so_once(
    plane: LocalControlPlane, world: TestNamespace, start: Start
) -> None:
    operator = start(kubeconfig=plane.kubeconfig)
    entry = await asyncio.to_thread(operator.wait_for, "wrong user")
    assert entry["level"] == "warning"
    assert "the admission policies let only system:serviceaccount:riskladder-system:riskladder write" in entry["reason"]
    await asyncio.to_thread(operator.wait_for, "caches full")
    assert [each["event"] for each in operator.entries()].count("wrong user") == 1
    assert operator.stop() == 0
    assert "wrong user" not in [each["event"] for each in (await leading(start())).entries()]


async def test_observe_only_tries_no_write(world: TestNamespace, start: Start) -> None:
    await deploy_all(world, ["scorer"])
    operator = start("--observe-only")
    await asyncio.to_thread(operator.wait_for, "caches full")
    await world.apply(signal("scorer", "scorer", 0.31))
    await asyncio.to_thread(operator.wait_for, "would stop")
    assert writes(operator) == {}


async def test_namespaces_given_are_the_only_ones(chief: Client, world: TestNamespace, start: Start) -> None:
    async with (
        TestNamespace(chief, f"{world.namespace}-second") as second,
        TestNamespace(chief, f"{world.namespace}-out") as outside,
    ):
        for place in (world, second, outside):
            await deploy_all(place, ["scorer"])
            await place.apply(signal("early", "scorer", 0.05))
        given = ["--namespace", world.namespace, "-n", second.namespace, "-n", second.namespace]
        operator = await leading(start(*given))
        for place in (outside, world, second):
            await place.apply(signal("scorer", "scorer", 0.31))
        for place in (world, second):
            await until_stopped(place, "scorer", 0)
            await place.signal_says("early", "Ready", "True")
        assert operator.get("/healthz") == (200, "ok\n")
        assert operator.get("/readyz") == (200, "ok\n")
        assert await outside.escalations() == []
        assert (await outside.deployment("scorer"))["spec"]["replicas"] == 1
        assert not [s for name in ("early", "scorer") if (s := await outside.signal(name)).get("status")]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "riskladder", "operator", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
    )


def one_clear_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert done.returncode == 2, done.stderr
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert "Traceback" not in done.stderr
    assert len(said) == 1, done.stderr
    assert re.match(r"error: \S", said[0])
    for part in parts:
        assert part in said[0], said[0]


def test_port_that_is_taken(account: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("--kubeconfig", str(account), "--listen", address)
    one_clear_sentence(done, "--listen", address, "in use")


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:99999", "no.such.host.invalid:0"]
)
def test_address_that_is_none(account: Path, address: str) -> None:
    one_clear_sentence(run("--kubeconfig", str(account), "--listen", address), "--listen", address)


def test_kubeconfig_that_is_not_there_or_none(tmp_path: Path) -> None:
    missing, empty, garbage, other = (tmp_path / name for name in ("missing", "empty", "garbage", "other"))
    empty.write_text("")
    garbage.write_text("{not yaml: [")
    other.write_text("just: text\n")
    for file in (missing, empty, garbage, other):
        one_clear_sentence(run("--kubeconfig", str(file)), str(file))


def test_logging_that_is_none(account: Path) -> None:
    one_clear_sentence(run("--kubeconfig", str(account), "--log-level", "chatty"), "CHATTY")
    one_clear_sentence(run("--kubeconfig", str(account), "--log-format", "xml"), "--log-format", "xml")


# --- 9. Idle ----------------------------------------------------------------------------------------------------------


async def test_no_session_is_left_open_where_the_start_fails(account: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever it is that fails, and however late: the error is seen, and nothing of ours complains after it."""

    async def fail(**_: object) -> None:
        raise RuntimeError("no watchers today")

    monkeypatch.setattr(kopf, "spawn_tasks", fail)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ResourceWarning)
        with pytest.raises(RuntimeError, match="no watchers today"):
            await Operator(Settings(kubeconfig=str(account), listen="127.0.0.1:0")).run()
        gc.collect()
    assert [str(warning.message) for warning in said if "Unclosed" in str(warning.message)] == []


async def test_nothing_but_the_lease_is_written_while_nothing_changes(world: TestNamespace, start: Start) -> None:
    await world.apply(ladder())
    await world.serve("good")
    await world.serve("bad")
    operator = await leading(start())
    healthy = signal("good", "good", 0.05)
    await world.apply(healthy)
    await world.tier("good", "baseline")
    await world.apply(signal("bad", "bad", 0.31))
    await world.apply(signal("lost", "nothing", 0.31))
    await world.escalation_says("bad", "Contained", "True", "ScaledToZero")
    await world.signal_says("lost", "Ready", "False", "TargetNotFound")
    await world.until(partial(_is_notified, world), "the owner to be notified of a breach that cannot be used")
    await world.alone()
    await world.quiet()

    before, tried, renewed = await versions(world), writes(operator), await renewal(world)
    ends = asyncio.get_running_loop().time() + 10
    for _ in range(100):
        await world.apply(healthy)
    await asyncio.sleep(ends - asyncio.get_running_loop().time())
    assert await versions(world) == before
    assert writes(operator) == tried
    assert await renewal(world) != renewed


async def _is_notified(world: TestNamespace) -> bool:
    found = (await world.get(resources.LADDERS, LADDER))["status"]["unusable"]
    return all("notifiedAt" in one for one in found) and bool(found)


async def renewal(world: TestNamespace) -> str:
    lease = await world.client.get(resources.LEASES, "riskladder-system", "riskladder")
    return str(lease["spec"]["renewTime"])


# --- 10. Others at work on the target ---------------------------------------------------------------------------------


async def test_churn_on_the_targets_by_others_causes_no_write_of_ours(world: TestNamespace, start: Start) -> None:
    await world.apply(ladder())
    await world.serve("good")
    await world.serve("bad")
    operator = await leading(start())
    await world.apply(signal("good", "good", 0.05))
    await world.tier("good", "baseline")
    await world.apply(signal("bad", "bad", 0.31))
    await world.escalation_says("bad", "Contained", "True", "ScaledToZero")
    await world.alone()
    await world.quiet()

    ours = (*resources.OWN,)
    before, tried = await versions(world, ours), writes(operator)
    for number in range(40):
        for name in ("good", "bad"):
            await churn(world, name, number)
    # Not before the last change has been seen is there anything to be said: a breach of another target comes behind it.
    await world.apply(deployment("last"))
    await world.apply(signal("last", "last", 0.05))
    await world.tier("last", "baseline")
    after = await versions(world, ours)
    assert {uid: after[uid] for uid in before} == before

    async def new() -> set[tuple[str, str, str]]:
        return {k for k, n in writes(operator).items() if n != tried.get(k, 0)}

    assert await world.until(new, "a write to be counted") == {
        ("patch", "modelrisksignals.riskladder.dev/status", "ok")
    }
    for name in ("good", "bad"):
        managers = {m["manager"] for m in (await world.deployment(name))["metadata"]["managedFields"]}
        assert "rival" in managers
        assert ("riskladder" in managers) == (name == "bad")


async def churn(world: TestNamespace, name: str, number: int) -> None:
    """Change a workload over and over, as a controller that never stops."""
    for subresource, body in (
        (None, {"metadata": {"annotations": {"rival.example/round": str(number)}}}),
        ("status", {"status": {"conditions": [{"type": "Rival", "status": ("True", "False")[number % 2]}]}}),
    ):
        await world.client.request(
            "PATCH",
            resources.DEPLOYMENTS.path(world.namespace, name, subresource),
            verb="patch",
            resource="deployments.apps",
            body=body,
            content_type="application/strategic-merge-patch+json",
            params={"fieldManager": "rival"},
        )
