"""Faults to survive, on a control plane where nothing else runs: kills, restarts, lost answers, missing rights, old
objects.

Whatever happens, in the end the breached target is contained, once, and the trail says so, once.
"""

from __future__ import annotations

import asyncio
import os
import signal as signals
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml

from riskladder.api.chain import noted_heads, verify_chains
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, Object, Refused
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests.cluster import LocalControlPlane
from tests.cluster.chaos import Chaos, Fault, Write
from tests.cluster.components import API_SERVER, ETCD, KWOK
from tests.cluster.install import install, kubectl
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, condition, deployment, ladder, signal
from tests.patience import PATIENCE
from tests.trails import said

T = TypeVar("T")
CONTAINED = ("EscalationOpened", "ContainmentApplied", "ScaledToZero")
"""Every record of a breach that was stopped, whatever got in the way."""


class Patient(Client):
    """Asks again while the API server is unavailable: these tests stop it."""

    async def request(self, method: str, path: str, **arguments: Any) -> Object:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await super().request(method, path, **arguments)
            except ApiError as error:
                if error.status not in (0, 403, 429, 500, 503) or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def chief(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """An administrator."""
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Patient(connection)
    await connection.close()


@pytest.fixture
async def world(chief: Client) -> AsyncIterator[TestNamespace]:
    """A fresh namespace; the test starts its operators itself."""
    async with TestNamespace(chief, f"faults-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh


@pytest.fixture
def chaos(plane: LocalControlPlane) -> Iterator[Chaos]:
    with Chaos(plane.server, plane.ca_file) as proxy:
        yield proxy


Start = Callable[..., OperatorProcess]


@pytest.fixture
def start(account: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts operators; those that still run in the end are stopped, and resumed for it if they are paused."""
    started: list[OperatorProcess] = []
    with ExitStack() as stack:

        def one(*arguments: str, kubeconfig: Path = account) -> OperatorProcess:
            process = stack.enter_context(OperatorProcess(kubeconfig, tmp_path, *arguments))
            started.append(process)
            return process

        yield one
        for process in started:
            if process.process.poll() is None:
                os.kill(process.pid, signals.SIGCONT)


async def leading(process: OperatorProcess) -> OperatorProcess:
    await asyncio.to_thread(process.wait_until_leading)
    return process


async def standing_by(process: OperatorProcess) -> OperatorProcess:
    await asyncio.to_thread(process.wait_for, "caches full")
    return process


async def all_of(work: Sequence[Awaitable[T]], at_once: int = 16) -> list[T]:
    gate = asyncio.Semaphore(at_once)

    async def one(item: Awaitable[T]) -> T:
        async with gate:
            return await item

    return list(await asyncio.gather(*(one(item) for item in work)))


async def deploy_all(world: TestNamespace, names: Sequence[str]) -> None:
    await world.apply(ladder())
    await all_of([world.apply(deployment(name)) for name in names])


async def breach_all(world: TestNamespace, names: Sequence[str]) -> None:
    await all_of([world.apply(signal(name, name, 0.31)) for name in names])


async def stopped(world: TestNamespace) -> set[str]:
    found = await world.client.list(resources.DEPLOYMENTS, world.namespace)
    return {d["metadata"]["name"] for d in found if d["spec"]["replicas"] == 0}


async def count_records(world: TestNamespace) -> int:
    return len(await world.client.list(resources.RECORDS, world.namespace))


async def until_at_least(world: TestNamespace, count: Callable[[TestNamespace], Awaitable[int]], number: int) -> int:
    async def check() -> int | None:
        found = await count(world)
        return found if found >= number else None

    return await world.until(check, f"{number} by {count.__name__}")


async def count_stopped(world: TestNamespace) -> int:
    return len(await stopped(world))


async def contained_once(world: TestNamespace, names: Sequence[str]) -> dict[str, Object]:
    """Wait until the trail of every target is complete, then prove that each was stopped exactly once."""

    async def complete() -> list[Object] | None:
        found = await world.escalations()
        proved = {e["spec"]["target"]["name"] for e in found if condition(e, "Contained")["status"] == "True"}
        return found if proved >= set(names) else None

    await world.until(complete, f"{len(names)} proofs of containment")
    await world.quiet()
    found = await world.escalations()
    assert await stopped(world) >= set(names)
    assert Counter(e["spec"]["target"]["name"] for e in found) == Counter(names), "one escalation each"
    assert all([c["intent"]["id"] for c in e["status"]["containments"]] == [1] for e in found), "one intent each"
    records = await world.client.list(resources.RECORDS, world.namespace)
    results = verify_chains(records, noted_heads(found))
    assert len(results) == len(names)
    assert [r.error for r in results if not r.intact] == []
    acts = said(records)
    written = Counter((r["spec"]["escalation"], r["spec"]["event"]) for r in acts)
    optional = {key: number for key, number in written.items() if key[1] in ("Notified", "ContainmentImpossible")}
    names_of = [e["metadata"]["name"] for e in found]
    assert written == Counter((name, event) for name in names_of for event in CONTAINED) + Counter(optional)
    keys = Counter((r["spec"]["escalation"], r["spec"]["detail"]["key"]) for r in acts)
    assert set(keys.values()) == {1}, "every record once"
    made = await world.events()
    events = Counter((e["regarding"]["kind"], e["regarding"]["name"], e["reason"]) for e in made)
    expected = {("ModelRiskSignal", name, "EscalationOpened") for name in names}
    expected |= {("Deployment", name, "ContainmentApplied") for name in names}
    expected |= {("Escalation", name, "EscalationOpened") for name in names_of}
    assert {e for e in events if e in expected} == expected, "every Event"
    proved = {e["regarding"]["name"] for e in made if "scaled to zero: proved" in e["note"]}
    assert proved >= set(names_of), "that it is proved, in an Event of its own or with what was said in the same pass"
    # A ladder says each time that what it records is refused.
    again = [e for e, times in events.items() if times > 1 and e[0] not in ("Escalation", "EscalationLadder")]
    assert again == [], "no Event twice, but for a pass that had more to say after a crash"
    for name in names:
        await world.signal_says(name, "Contained", "True")
    return {e["spec"]["target"]["name"]: e for e in found}


# --- 1. SIGKILL in mid-burst ------------------------------------------------------------------------------------------


async def test_killed_three_times_in_a_burst_it_stops_every_target_once(world: TestNamespace, start: Start) -> None:
    names = [f"m-{number:02}" for number in range(36)]
    await deploy_all(world, names)
    operator = await leading(start())
    for part, (count, more) in enumerate(((count_stopped, 3), (count_stopped, 5), (count_records, 10))):
        burst = asyncio.create_task(breach_all(world, names[part::3]))
        await until_at_least(world, count, await count(world) + more)
        operator.kill()
        await burst
        print(f"killed at {await count_stopped(world)} stopped and {await count_records(world)} records")
        operator = start()
    await contained_once(world, names)


# --- 2. Two operators -------------------------------------------------------------------------------------------------


async def holder(world: TestNamespace) -> str:
    lease = await world.client.get(resources.LEASES, "riskladder-system", "riskladder")
    return str(lease["spec"].get("holderIdentity") or "")


async def until_stopped(world: TestNamespace, name: str, since: float) -> float:
    """Seconds since then until the target was stopped."""

    async def check() -> bool:
        return name in await stopped(world)

    await world.until(check, f"{name} to be stopped")
    return time.monotonic() - since


async def test_standby_takes_over_from_a_killed_leader_within_seconds(world: TestNamespace, start: Start) -> None:
    await deploy_all(world, ["before", "after"])
    leader = await leading(start())
    standby = await standing_by(start())
    await world.apply(signal("before", "before", 0.31))
    await world.escalation_says("before", "Contained", "True")
    assert not [e for e in standby.entries() if e.get("event") == "leading"]

    leader.kill()
    killed = time.monotonic()
    await world.apply(signal("after", "after", 0.31))
    took = await until_stopped(world, "after", killed)
    print(f"the standby stopped a new breach {took:.2f} s after the leader was killed")
    await contained_once(world, ["before", "after"])


async def test_sigterm_hands_over_at_once(world: TestNamespace, start: Start) -> None:
    await deploy_all(world, ["scorer"])
    leader = await leading(start())
    standby = await standing_by(start())
    before = await holder(world)
    asked = time.monotonic()
    assert await asyncio.to_thread(leader.stop) == 0
    assert await holder(world) != before, "the Lease was not released"
    await asyncio.to_thread(standby.wait_for, "leading")
    led = time.monotonic() - asked
    await world.apply(signal("scorer", "scorer", 0.31))
    took = await until_stopped(world, "scorer", asked)
    print(f"the standby led {led:.2f} s and had stopped a new breach {took:.2f} s after SIGTERM")
    await contained_once(world, ["scorer"])


async def test_leader_paused_and_resumed_after_the_standby_took_over_doubles_nothing(
    world: TestNamespace, start: Start
) -> None:
    names = [f"m-{number:02}" for number in range(20)]
    await deploy_all(world, names)
    leader = await leading(start())
    standby = await standing_by(start())
    burst = asyncio.create_task(breach_all(world, names[::2]))
    await until_at_least(world, count_stopped, 3)
    os.kill(leader.pid, signals.SIGSTOP)
    first = await count_stopped(world)
    await burst
    await breach_all(world, names[1::2])
    await asyncio.to_thread(standby.wait_for, "leading")
    await until_at_least(world, count_stopped, len(names))
    os.kill(leader.pid, signals.SIGCONT)
    await asyncio.to_thread(leader.wait_for, "standing by")
    print(f"paused at {first} of {len(names)} stopped")
    await contained_once(world, names)


async def test_write_of_a_dead_leader_that_arrives_late_reverts_nothing(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    """What was on its way when the leader died reaches the API server after the standby has gone on."""
    twice = ladder()
    twice["spec"]["tiers"][1]["triggers"][0]["readings"] = 2
    await world.apply(twice)
    await world.apply(deployment("scorer"))
    await world.apply(deployment("counted"))
    leader = await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))
    await standing_by(start())
    await world.apply(signal("scorer", "scorer", 0.31))
    await world.signal_says("scorer", "Breached", "False", "BreachUnconfirmed")

    def is_a_status(write: Write) -> bool:
        return write.method == "PATCH" and write.path.endswith("/status") and "ladders" not in write.path

    chaos.hold = is_a_status
    await world.apply(signal("scorer", "scorer", 0.32))
    await world.apply(signal("counted", "counted", 0.05))

    async def held() -> bool:
        kinds = {write.path.split("/")[-3] for write in chaos.holding}
        return kinds == {"escalations", "modelrisksignals"}

    await world.until(held, "a status of an escalation and one of a signal on their way")
    leader.kill()
    await world.escalation_says("scorer", "Contained", "True")
    await world.scale("scorer", 3)

    async def reverted() -> Object | None:
        [escalation] = await world.escalations("scorer")
        return escalation if escalation["status"]["containments"][0].get("drift") else None

    await world.until(reverted, "the drift to be re-applied")
    await world.apply(signal("counted", "counted", 0.31))
    await world.signal_says("counted", "Breached", "False", "BreachUnconfirmed")
    await world.quiet()
    [before], counted = await world.escalations("scorer"), await world.signal("counted")
    number = len(chaos.holding)
    chaos.release()

    async def arrived() -> bool:
        return len(chaos.late) == number

    await world.until(arrived, "the writes of the dead leader")
    assert set(chaos.late) == {422}, "a stale status was stored"
    await world.quiet()
    [after] = await world.escalations("scorer")
    assert after["status"] == before["status"]
    assert (await world.signal("counted"))["status"] == counted["status"]
    assert await stopped(world) == {"scorer"}
    await world.verified(after)


# --- 3. The control plane restarts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("component", [API_SERVER, ETCD])
async def test_breach_right_after_a_restart_is_stopped(
    plane: LocalControlPlane, world: TestNamespace, start: Start, component: str
) -> None:
    await deploy_all(world, ["before", "after"])
    operator = await leading(start())
    await world.apply(signal("before", "before", 0.31))
    await until_stopped(world, "before", 0)
    plane.kill(component)
    plane.restart(component)
    restarted = time.monotonic()
    await world.apply(signal("after", "after", 0.31))
    took = await until_stopped(world, "after", restarted)
    print(f"stopped {took:.2f} s after {component} was back")
    plane.restart(KWOK)  # else it might never hear of a pod that was deleted while the API server was away
    await contained_once(world, ["before", "after"])
    assert operator.get("/healthz")[0] == 200
    assert operator.process.poll() is None


# --- 5. The CustomResourceDefinitions are not there yet ---------------------------------------------------------------

ROOT = Path(__file__).parents[2]
KINDS = ("escalationladders", "escalationrecords", "escalations", "modelrisksignals")


def crd_files() -> list[Path]:
    return [ROOT / "crds" / f"riskladder.dev_{kind}.yaml" for kind in KINDS]


def remove_crds(plane: LocalControlPlane) -> None:
    names = [f"{kind}.riskladder.dev" for kind in KINDS]
    for name in names:
        kubectl(plane.kubeconfig, "annotate", "crd", name, f"riskladder.dev/confirm-delete={name}")
    kubectl(plane.kubeconfig, "delete", "--wait", *(f"crd/{name}" for name in names))


async def test_it_waits_for_its_crds_and_says_which(
    plane: LocalControlPlane, chief: Client, world: TestNamespace, start: Start
) -> None:
    remove_crds(plane)
    try:
        operator = start()
        entry = await asyncio.to_thread(operator.wait_for, "waiting")
        assert "riskladder.dev" in entry["reason"]
        assert "CustomResourceDefinition" in entry["reason"]
        status, text = operator.get("/readyz")
        assert status == 503
        assert "CustomResourceDefinition" in text
        assert operator.get("/healthz")[0] == 200

        for file in crd_files()[:2]:
            kubectl(plane.kubeconfig, "apply", "--server-side", "-f", str(file))
        names = "escalations.riskladder.dev", "modelrisksignals.riskladder.dev"

        async def names_the_rest() -> bool:
            status, text = await asyncio.to_thread(operator.get, "/readyz")
            named = [name in text for name in names]
            return status == 503 and all(named) and "escalationladders" not in text

        # Of the two kinds that are served by now it no longer speaks.
        await world.until(names_the_rest, f"/readyz to name {names}")
    finally:
        install(plane.kubeconfig)
    await leading(operator)
    assert operator.get("/readyz") == (200, "ok\n")
    await deploy_all(world, ["scorer"])
    await world.apply(signal("scorer", "scorer", 0.31))
    await contained_once(world, ["scorer"])


# --- 6. Objects stored under an older, laxer schema -------------------------------------------------------------------


def lax(file: Path) -> Object:
    """The CustomResourceDefinition as an early version might have been: anything goes."""
    document: Object = yaml.safe_load(file.read_text())
    [version] = document["spec"]["versions"]
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version["schema"]["openAPIV3Schema"] = {
        "type": "object",
        "properties": {"spec": {"x-kubernetes-preserve-unknown-fields": True}, "status": anything},
    }
    version.pop("additionalPrinterColumns", None)
    return document


def wrong_ladders() -> dict[str, Object]:
    order, typed, doubled = ladder("wrong-order"), ladder("wrong-type"), ladder("doubled")
    order["spec"]["tiers"][1]["triggers"][0]["above"] = 0.05
    typed["spec"]["tiers"][1]["triggers"][0]["above"] = "NaN"
    typed["spec"]["stakeholders"] = "legal"
    doubled["spec"]["tiers"][1]["name"] = "moderate"
    empty = ladder("empty")
    empty["spec"] = {}
    return {body["metadata"]["name"]: body for body in (order, typed, doubled, empty)}


def wrong_signals() -> dict[str, Object]:
    silent = signal("neither", "scorer", None)
    nan = signal("nan", "scorer", 0.5)
    nan["spec"]["readings"][0]["value"] = "NaN"
    nowhere = signal("no-target", "scorer", 0.5)
    del nowhere["spec"]["target"]
    garbage = signal("garbage", "scorer", 0.5)
    garbage["spec"] = "garbage"
    listed = signal("list", "scorer", 0.5)
    listed["spec"]["target"] = ["Deployment", "scorer"]
    return {body["metadata"]["name"]: body for body in (silent, nan, nowhere, garbage, listed)}


async def store(world: TestNamespace, body: Object) -> None:
    """Apply an object as soon as the laxer schema is in force."""
    refusal = ""

    async def stored() -> bool:
        nonlocal refusal
        try:
            await world.apply(body)
        except Refused as error:
            refusal = str(error)
            return False
        return True

    try:
        await world.until(stored, "the laxer schema")
    except AssertionError as error:
        raise AssertionError(refusal) from error


async def test_objects_stored_under_a_laxer_schema_are_invalid_alone(
    plane: LocalControlPlane, world: TestNamespace, start: Start
) -> None:
    ladders, readings = wrong_ladders(), wrong_signals()
    laxer = [lax(file) for file in crd_files() if "ladder" in file.stem or "signal" in file.stem]
    kubectl(plane.kubeconfig, "apply", "--server-side", "--force-conflicts", "-f", "-", given=yaml.safe_dump_all(laxer))
    kubectl(plane.kubeconfig, "delete", "validatingadmissionpolicybinding", "riskladder-sources")
    try:
        for body in (*ladders.values(), *readings.values()):
            await store(world, body)
    finally:
        install(plane.kubeconfig)
    await deploy_all(world, ["scorer"])
    operator = await leading(start())

    async def described(resource: Resource, name: str) -> str:
        """Return how an object is said to be invalid: in its status; where that is refused, in an Event and the log."""

        async def check() -> str | None:
            found = condition(await world.get(resource, name), "Ready")
            if found["reason"] == "Invalid":
                assert found["status"] == "False"
                assert found["message"]
                return f"status: {found['message']}"
            events = [e for e in await world.events(name) if e["type"] == "Warning" and e["reason"] == "Invalid"]
            logged = [e for e in operator.entries() if e.get("name") == name and e.get("event") == "invalid"]
            return f"Event: {events[0]['note']}" if events and logged else None

        return await world.until(check, f"{resource.kind} {name} to be said invalid")

    for resource, names in ((resources.LADDERS, ladders), (resources.SIGNALS, readings)):
        for name in names:
            print(f"{resource.kind} {name}: {await described(resource, name)}")
    await world.ladder_ready()
    await world.apply(signal("scorer", "scorer", 0.31))
    await contained_once(world, ["scorer"])


# --- 7. A write that fails, in every manner and at every place --------------------------------------------------------


class EachWriteOnce:
    """Fails the Nth write about the target named ``<fault>-<N>``, once."""

    def __init__(self, names: Sequence[str]) -> None:
        self.seen: Counter[str] = Counter()
        self.failed: dict[str, str] = {}
        self._names = names

    def __call__(self, write: Write) -> Fault | None:
        name = next((n for n in self._names if n in write.path or n in write.body), None)
        if name is None:
            return None
        self.seen[name] += 1
        fault, number = name.split("-")
        if name in self.failed or self.seen[name] != int(number):
            return None
        self.failed[name] = f"{write.method} {write.path}"
        return Fault(fault)


WRITES_OF_A_BREACH = 8
"""Deployment, Escalation, one record, three Events, and the status of the Escalation and the signal."""


async def test_any_write_may_fail_in_any_manner_and_all_is_done_once(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    quick = [fault for fault in Fault if fault is not Fault.SILENT]
    names = [f"{fault}-{number:02}" for fault in quick for number in range(1, WRITES_OF_A_BREACH + 1)]
    names += [f"{Fault.SILENT}-{number:02}" for number in (1, 2, 3)]
    rule = chaos.choose = EachWriteOnce(names)
    await deploy_all(world, names)
    await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))
    await breach_all(world, names)
    await contained_once(world, names)
    print("\n".join(f"{name}: {what}" for name, what in sorted(rule.failed.items())))
    assert set(rule.failed) == set(names), "not every fault has happened"
    assert chaos.done == Counter(dict.fromkeys(quick, WRITES_OF_A_BREACH) | {Fault.SILENT: 3})


async def test_reading_replaced_while_its_status_is_on_its_way_has_counted(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    """The status is of what was replaced meanwhile, so it is refused; what it had accepted must not be forgotten."""
    await deploy_all(world, ["scorer"])
    await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))
    chaos.hold = lambda write: write.method == "PATCH" and "/modelrisksignals/" in write.path
    now = datetime.now(UTC)
    await world.apply(signal("scorer", "scorer", 0.31, at=now))

    async def held() -> bool:
        return bool(chaos.holding)

    await world.until(held, "the status of the signal on its way")
    chaos.hold = lambda write: False
    await world.apply(signal("scorer", "scorer", 0.01, at=now - timedelta(hours=1)))
    chaos.release()
    refused = await world.signal_says("scorer", "Ready", "False", "OutOfOrder")
    assert refused["status"]["tier"] == "high"
    assert chaos.late == [422]


async def test_stalled_watch_is_noticed_and_the_breach_behind_it_stopped(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    await deploy_all(world, ["scorer"])
    operator = await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))

    async def watching() -> bool:
        return chaos.watching("modelrisksignals") == 1  # once it has listed them, and so is leading

    await world.until(watching, "the watch that is to be stalled")
    chaos.stall("modelrisksignals")
    stalled = time.monotonic()
    await world.apply(signal("scorer", "scorer", 0.31))
    took = await until_stopped(world, "scorer", stalled)
    print(f"stopped {took:.1f} s after the watch had stalled")
    await contained_once(world, ["scorer"])
    assert operator.get("/healthz")[0] == 200


async def test_dead_watcher_fails_the_liveness_probe_and_hands_over(
    world: TestNamespace, start: Start, chaos: Chaos, account: Path, tmp_path: Path
) -> None:
    await deploy_all(world, ["scorer"])
    deaf = await leading(start(kubeconfig=chaos.kubeconfig(account, tmp_path / "chaos.kubeconfig")))
    await standing_by(start())
    assert deaf.get("/healthz")[0] == 200
    chaos.fail_watch("modelrisksignals", code=500)
    failed = time.monotonic()
    await world.apply(signal("scorer", "scorer", 0.31))

    async def given_up() -> bool:
        with suppress(OSError):
            return (await asyncio.to_thread(deaf.get, "/healthz"))[0] == 503
        return deaf.process.poll() == 1

    await world.until(given_up, "the liveness probe to fail, or the process to end")
    took = await until_stopped(world, "scorer", failed)
    print(f"the standby stopped the breach {took:.1f} s after a watcher of the leader had died")
    await contained_once(world, ["scorer"])
    assert await asyncio.to_thread(deaf.process.wait, 15) == 1


# --- 4. A permission is taken away ------------------------------------------------------------------------------------

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview")
CLUSTER_ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/riskladder"


async def set_rules(client: Client, rules: list[Object]) -> None:
    await client.request(
        "PATCH",
        CLUSTER_ROLE,
        verb="patch",
        resource="clusterroles",
        body=[{"op": "replace", "path": "/rules", "value": rules}],
        content_type="application/json-patch+json",
    )


async def may_stop(client: Client, namespace: str) -> bool:
    """Whether the API server lets the operator stop a model there: it hears of a change of roles after a moment."""
    attributes = {"group": "apps", "resource": "deployments", "verb": "patch", "namespace": namespace}
    spec = {"user": "system:serviceaccount:riskladder-system:riskladder", "resourceAttributes": attributes}
    body = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "spec": spec}
    return bool((await client.create(REVIEWS, None, body))["status"]["allowed"])


async def grant_patching_deployments(world: TestNamespace) -> None:
    rule = {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets"], "verbs": ["patch"]}
    await world.client.create(ROLES, world.namespace, {"metadata": {"name": "patch"}, "rules": [rule]})
    account = {"kind": "ServiceAccount", "name": "riskladder", "namespace": "riskladder-system"}
    reference = {"apiGroup": ROLES.group, "kind": "Role", "name": "patch"}
    binding = {"metadata": {"name": "patch"}, "roleRef": reference, "subjects": [account]}
    await world.client.create(ROLE_BINDINGS, world.namespace, binding)


async def test_missing_permission_is_named_stops_nobody_else_and_heals(
    chief: Client, world: TestNamespace, start: Start
) -> None:
    before = (await chief.request("GET", CLUSTER_ROLE, verb="get", resource="clusterroles"))["rules"]
    without = [r for r in before if not ("deployments" in r["resources"] and r["verbs"] == ["patch"])]
    assert len(without) == len(before) - 1
    async with TestNamespace(chief, f"{world.namespace}-granted") as granted:
        await grant_patching_deployments(granted)
        for place in (world, granted):
            await deploy_all(place, ["scorer"])
        operator = await leading(start())
        for place in (world, granted):
            await place.ladder_ready()
        await set_rules(chief, without)

        async def is_taken() -> bool:
            return not await may_stop(chief, world.namespace) and await may_stop(chief, granted.namespace)

        try:
            await world.until(is_taken, "the permission to be gone, but where it was granted")
            await world.apply(signal("scorer", "scorer", 0.31))
            # Each attempt waits longer than the one before, and the trail goes on meanwhile.
            await asyncio.to_thread(operator.wait_for, "will try again", urgent=True, failures=4)
            await granted.apply(signal("scorer", "scorer", 0.31))
            await until_stopped(granted, "scorer", 0)

            async def named() -> Object | None:
                found = condition(await world.get(resources.LADDERS, "credit"), "Ready")
                return found if found["reason"] == "PermissionMissing" else None

            found = await world.until(named, "the ladder to say which permission is missing")
            assert found["status"] == "False"
            assert f"patch deployments.apps in namespace {world.namespace}" in found["message"]
            escalation = await world.escalation_says("scorer", "Contained", "False", "ContainmentImpossible")
            assert 'cannot patch resource "deployments"' in condition(escalation, "Contained")["message"]
            events = [r["spec"]["event"] for r in await world.verified(escalation)]
            assert set(events) == {"ContainmentImpossible", "EscalationOpened", "Notified"}
            assert (await world.deployment("scorer"))["spec"]["replicas"] == 1
            await granted.ladder_ready()
        finally:
            await set_rules(chief, before)
        await contained_once(world, ["scorer"])
        await contained_once(granted, ["scorer"])
        await world.ladder_ready()
