"""A soak: five clients write on seven contained models, once against the lock and, for a minute, without it.

Nothing is sampled: every version of every Deployment and EndpointSlice is looked at, as the API server sent it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pytest

from demo.install import InstallError
from riskladder.api.labels import FIELD_MANAGER
from riskladder.cluster import resources
from riskladder.cluster.client import APPLY_PATCH, JSON, ApiError, Client, Conflict, NotFound, Object
from riskladder.cluster.resources import Resource
from tests.cluster import ControlPlane
from tests.cluster.install import kubectl
from tests.integration.people import impersonated
from tests.integration.world import TestNamespace, condition, deployment, ladder, signal

SECONDS = float(os.environ.get("RISKLADDER_SOAK_SECONDS", "55"))
"""For how long the clients write: no less than 50, since the waits before ten reverts are re-applied take 46 alone."""

LOCKED_SECONDS = SECONDS / 2
"""The same against the lock, where nothing is re-applied."""

TARGETS = tuple(f"scorer-{letter}" for letter in "abcdefg")
RECREATED = TARGETS[-2:]
"""Those that are deleted and created again while there is no lock: each new object is another escalation."""

HPAS = Resource("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
HPA = "kube-controller-manager"
"""The field manager of every HorizontalPodAutoscaler."""

MASTERS = "system:masters"
HELD = " is contained by Escalation scorer-"


# --- What is seen -----------------------------------------------------------------------------------------------------


class Film:
    """Every version of every object of one kind in a namespace, without a gap."""

    def __init__(self, world: TestNamespace, resource: Resource) -> None:
        self._world, self._resource = world, resource
        self.frames: list[tuple[str, Object]] = []
        """What happened (``ADDED``, ``MODIFIED``, ``DELETED``), and the object."""

    async def __aenter__(self) -> Self:
        found, since = await self._world.client.list_at(self._resource, self._world.namespace)
        self.frames += [("ADDED", obj) for obj in found]
        self._task = asyncio.create_task(self._roll(since))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _roll(self, since: str) -> None:
        """Each watch goes on behind what the one before has seen; one that cannot ends the film with an error."""
        while True:
            try:
                async for what, obj in self._world.client.watch(self._resource, self._world.namespace, since=since):
                    since = str(obj["metadata"]["resourceVersion"])
                    if what != "BOOKMARK":
                        self.frames.append((what, obj))
            except ApiError as error:
                if error.status:
                    raise

    async def caught_up(self) -> int:
        """Wait until all that is stored now has been seen; how many frames that takes."""
        stored = await self._world.client.list(self._resource, self._world.namespace)
        wanted = {o["metadata"]["uid"]: int(o["metadata"]["resourceVersion"]) for o in stored}

        async def check() -> bool:
            if self._task.done():
                self._task.result()
            seen = {o["metadata"]["uid"]: int(o["metadata"]["resourceVersion"]) for _, o in self.frames}
            return all(seen.get(uid, 0) >= version for uid, version in wanted.items())

        await self._world.until(check, f"all {self._resource.plural} to have been seen")
        return len(self.frames)


def ready(slice_: Object) -> set[str]:
    """The endpoints that are ready; what is not said counts as ready, as for kube-proxy."""
    return {
        str(address)
        for endpoint in slice_.get("endpoints") or ()
        if (endpoint.get("conditions") or {}).get("ready") is not False
        for address in endpoint["addresses"]
    }


def runs(obj: Object) -> bool:
    """Return whether a Deployment asks for replicas, or an EndpointSlice has a ready endpoint."""
    return bool(obj["spec"]["replicas"] if "spec" in obj else ready(obj))


def lacking(index: Object) -> set[str]:
    """The models that a ContainmentIndex does not name as stopped."""
    held = {key for key, target in index["spec"]["targets"].items() if target["action"] == "ScaleToZero"}
    return {name for name in TARGETS if f"deployments.apps/{name}" not in held}


def owners_of_replicas(obj: Object) -> set[str]:
    """The field managers of spec.replicas."""
    return {
        str(entry["manager"])
        for entry in obj["metadata"]["managedFields"]
        if "f:replicas" in (entry["fieldsV1"].get("f:spec") or {})
    }


@dataclass(slots=True)
class Spell:
    """For how long one Deployment had replicas: from a write that gave it some to the one that took them away."""

    raised_by: set[str]
    managers: set[str] = field(default_factory=set)
    """All who owned the replicas at some time of it."""
    ended_by: set[str] = field(default_factory=set)
    """Empty: it has not ended, or the Deployment was deleted."""


def spells(film: Film) -> dict[str, list[Spell]]:
    """By uid of the Deployment, in order."""
    found: dict[str, list[Spell]] = defaultdict(list)
    running: dict[str, Spell] = {}
    for what, obj in film.frames:
        uid, owners = obj["metadata"]["uid"], owners_of_replicas(obj)
        if what == "DELETED":
            running.pop(uid, None)
        elif obj["spec"]["replicas"]:
            if uid not in running:
                running[uid] = Spell(raised_by=owners)
                found[uid].append(running[uid])
            running[uid].managers |= owners
        elif uid in running:
            running.pop(uid).ended_by = owners
    return found


# --- Who pulls --------------------------------------------------------------------------------------------------------


async def outcome(attempt: Awaitable[object]) -> str:
    """Return what became of an attempt: taken, refused by the lock, or missed, since somebody else had come before."""
    try:
        await attempt
    except (ApiError, InstallError) as error:
        said = str(error)
        if HELD in said:
            return "refused"
        if isinstance(error, NotFound | Conflict) or "(NotFound)" in said or "(Conflict)" in said:
            return "missed"
        raise
    return "taken"


class Writer(ABC):
    """Somebody who wants the models to run, and has every right to but for the lock."""

    user: ClassVar[str]
    manager: ClassVar[str]
    """By which managedFields, and so the operator, name them."""
    at_once: ClassVar[int] = len(TARGETS)
    """How many models they try to raise in one turn."""

    def __init__(
        self,
        kubeconfig: Path,
        client: Client,
        world: TestNamespace,
        targets: Sequence[str] = TARGETS,
        every: float = 1.0,
    ) -> None:
        self._kubeconfig, self._client, self._world = kubeconfig, client, world
        self.targets, self.every = tuple(targets), every
        self.tally = Counter[str]()

    @abstractmethod
    async def pull(self, target: str) -> object:
        """One attempt."""

    async def turn(self) -> None:
        """Make one attempt at each of the models of this round."""
        now, later = self.targets[: self.at_once], self.targets[self.at_once :]
        for target in now:
            self.tally[await outcome(self.pull(target))] += 1
        self.targets = (*later, *now)

    async def go_on(self, stop: asyncio.Event) -> None:
        """Write over and over until stopped."""
        while not stop.is_set():
            await self.turn()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.every)

    async def write(
        self, method: str, target: str, body: Object, *, of: str | None = None, kind: str = JSON, **params: str
    ) -> Object:
        """A write on a Deployment under the writer's own field manager."""
        return await self._client.request(
            method,
            resources.DEPLOYMENTS.path(self._world.namespace, target if method != "POST" else None, of),
            verb=method.lower(),
            resource=resources.DEPLOYMENTS.title,
            body=body,
            content_type=kind,
            params={"fieldManager": self.manager, **params},
        )


class Admin(Writer):
    """``kubectl scale`` by a cluster admin, one model at a time."""

    user = "rita"
    manager = "kubectl"
    at_once = 1

    async def pull(self, target: str) -> object:
        return await asyncio.to_thread(
            kubectl,
            self._kubeconfig,
            *(f"--as={self.user}", f"--as-group={MASTERS}", "-n", self._world.namespace),
            *("scale", f"deployment/{target}", "--replicas=1"),
        )


class GitOps(Writer):
    """A controller that applies its manifest again and again, server-side and with force."""

    user = "system:serviceaccount:gitops:applier"
    manager = "gitops"

    async def pull(self, target: str) -> object:
        manifest = deployment(target, replicas=1)
        return await self.write("PATCH", target, manifest, kind=APPLY_PATCH, force="true")


class Updater(Writer):
    """A client that reads, changes and replaces: in one turn Deployments, in the next their /scale."""

    user = "uma"
    manager = "updater"

    async def pull(self, target: str) -> object:
        part = "scale" if self.tally.total() // len(TARGETS) % 2 else None
        path = resources.DEPLOYMENTS.path(self._world.namespace, target, part)
        found = await self._client.request("GET", path, verb="get", resource=resources.DEPLOYMENTS.title)
        found["spec"]["replicas"] = 1
        return await self.write("PUT", target, found, of=part)


class Recreator(Writer):
    """Deletes a model and creates it again, one at a time. What is refused is tried in another way."""

    user = "rex"
    manager = "recreator"
    at_once = 1

    async def pull(self, target: str) -> object:
        await self._client.delete(resources.DEPLOYMENTS, self._world.namespace, target)
        self.tally["deleted"] += 1
        created = await outcome(self.write("POST", target, deployment(target, replicas=1)))
        if created != "refused":
            return created
        self.tally[created] += 1
        await self.write("POST", target, deployment(target, replicas=0))
        edit = {"spec": {"replicas": 1}}
        return await self.write("PATCH", target, edit, kind="application/strategic-merge-patch+json")


async def autoscale(world: TestNamespace) -> None:
    """The fifth writer is a controller of Kubernetes: one HorizontalPodAutoscaler for each model."""
    for name in TARGETS:
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
        spec = {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 4}
        await world.client.create(HPAS, world.namespace, {"metadata": {"name": name}, "spec": spec})


@asynccontextmanager
async def writers(
    plane: ControlPlane, world: TestNamespace, *, recreated: Sequence[str], seconds: float
) -> AsyncIterator[list[Writer]]:
    """All of them but the autoscaler, each with a connection and a user of their own, to write for so long."""
    async with AsyncExitStack() as stack:

        async def one(writer: type[Writer], **options: Any) -> Writer:
            client = await stack.enter_async_context(impersonated(plane.kubeconfig, writer.user, MASTERS))
            return writer(plane.kubeconfig, client, world, **options)

        yield [
            await one(Admin, every=0.3),
            await one(GitOps),
            await one(Updater),
            await one(Recreator, targets=recreated, every=seconds / (2 * len(recreated))),
        ]


@asynccontextmanager
async def writing(group: Iterable[Writer], seconds: float) -> AsyncIterator[None]:
    """Have all write at once, for so long and until the block has ended."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for writer in group:
            tasks.create_task(writer.go_on(stop))
        await asyncio.sleep(seconds)
        yield
        stop.set()


# --- The models -------------------------------------------------------------------------------------------------------


def three_tiers(*, lock: bool) -> Object:
    """A ladder with a tier above the one that contains, for contention to enter."""
    body = ladder(lock=lock)
    critical = {
        "name": "critical",
        "triggers": [{"indicator": "demographic_parity_difference", "above": 0.5}],
        "notify": [{"role": "legal"}],
        "decide": {"within": "1h", "quorum": [{"role": "legal"}]},
        "containment": {"action": "ScaleToZero", "lock": lock},
    }
    body["spec"]["tiers"].append(critical)
    return body


async def contain_all(world: TestNamespace, *, lock: bool) -> None:
    """Models that serve, then breach, are contained, and proved to be."""
    await world.apply(three_tiers(lock=lock))
    await asyncio.gather(*(world.serve(name) for name in TARGETS))
    await autoscale(world)
    await asyncio.gather(*(world.apply(signal(name, name, 0.31)) for name in TARGETS))
    for name in TARGETS:
        await world.escalation_says(name, "Contained", "True", "ScaledToZero")
        await world.escalation_says(name, "Locked", str(lock), "Locked" if lock else "LockNotWanted")
    for name in TARGETS if lock else ():
        body = deployment(name, replicas=1)
        await world.held_by_name(lambda dry, body=body: dry.create(resources.DEPLOYMENTS, world.namespace, body))


async def all_contained(world: TestNamespace) -> dict[str, Object]:
    """Wait until every model is contained, at one look; the open escalation of each."""

    async def check() -> dict[str, Object] | None:
        workloads = await world.client.list(resources.DEPLOYMENTS, world.namespace)
        slices = await world.client.list(resources.ENDPOINTSLICES, world.namespace)
        still = [w for w in workloads if w["spec"]["replicas"]] + [s for s in slices if ready(s)]
        if still or {w["metadata"]["name"] for w in workloads} != set(TARGETS):
            return None
        current = {w["metadata"]["uid"]: w["metadata"]["name"] for w in workloads}
        held = {
            current[e["spec"]["target"]["uid"]]: e
            for e in await world.escalations()
            if e["spec"]["target"]["uid"] in current
            and condition(e, "Closed")["status"] == "False"
            and condition(e, "Contained")["status"] == "True"
            and condition(e, "ContainmentHolds")["status"] == "True"
        }
        return held if set(held) == set(TARGETS) else None

    found = await world.until(check, "every model to be contained")
    await world.quiet()
    return {name: await world.get(resources.ESCALATIONS, e["metadata"]["name"]) for name, e in found.items()}


async def trails(world: TestNamespace) -> Mapping[str, list[Object]]:
    """The records of all escalations, each chain verified, by the uid of the Deployment that they are about."""
    found = await world.escalations()
    return {e["spec"]["target"]["uid"]: await world.verified(e) for e in found}


def events(records: Iterable[Object], *wanted: str) -> Iterator[dict[str, Any]]:
    """The particulars of those records."""
    return (r["spec"]["detail"] for r in records if r["spec"]["event"] in wanted)


def _told(obj: Object) -> str:
    """An object that runs: which one, since when, and who wrote it."""
    metadata = obj["metadata"]
    by = [f"{m['manager']} {m['operation']} {m.get('subresource', '')}" for m in metadata.get("managedFields", ())]
    stands = (
        (obj.get("spec") or {}).get("replicas"),
        metadata["uid"],
        metadata.get("labels"),
        metadata.get("annotations"),
    )
    return f"{obj['kind']} {metadata['name']} {metadata['creationTimestamp']} {stands} by {by}"


# --- The soak ---------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(900 + 2 * SECONDS)
async def test_no_writer_gets_anything_past_the_lock(world: TestNamespace, installed: ControlPlane) -> None:
    async with (
        Film(world, resources.DEPLOYMENTS) as workloads,
        Film(world, resources.ENDPOINTSLICES) as endpoints,
        Film(world, resources.INDEXES) as indexes,
        writers(installed, world, recreated=TARGETS, seconds=LOCKED_SECONDS) as group,
    ):
        await contain_all(world, lock=True)
        films = [(workloads, await workloads.caught_up()), (endpoints, await endpoints.caught_up())]
        named_since = await indexes.caught_up()
        async with writing(group, LOCKED_SECONDS):
            await world.until(
                lambda: _often_refused(group), "each writer to be refused more often than there are models"
            )
        held = await all_contained(world)
        for film in (workloads, endpoints, indexes):
            await film.caught_up()

    named = indexes.frames[named_since - 1 :]
    lapses = [(what, lacking(index)) for what, index in named if what == "DELETED" or lacking(index)]
    assert lapses == [], "a name is held from one escalation to the next, without a gap"
    for film, contained in films:
        assert any(runs(obj) for _, obj in film.frames[:contained])
        ran = [obj for _, obj in film.frames[contained:] if runs(obj)]
        assert not ran, [_told(obj) for obj in ran]
    for writer in group:
        assert writer.tally["taken"] == 0, (writer.manager, writer.tally)
    for name in TARGETS:
        await world.until(
            lambda name=name: _is_left_alone(world, name), f"the autoscaler to leave {name} at zero alone"
        )

    for escalation in held.values():
        assert condition(escalation, "Locked")["reason"] == "Locked"
        assert condition(escalation, "ContainmentHolds")["reason"] == "Holds"
        assert not escalation["status"]["containments"][0].get("drift")
    written = await trails(world)
    assert list(events(itertools.chain(*written.values()), "ContainmentReapplied", "Contention")) == []
    again = sum(len(list(events(records, "TargetRecreated"))) for records in written.values())
    assert len(written) == len(TARGETS) + again


async def _is_left_alone(world: TestNamespace, name: str) -> bool:
    """Whether the autoscaler says so: it looks at each model now and then."""
    scaling = condition(await world.get(HPAS, name), "ScalingActive")
    return (scaling["status"], scaling["reason"]) == ("False", "ScalingDisabled")


async def _often_refused(group: Sequence[Writer]) -> bool:
    often = all(writer.tally["refused"] > len(TARGETS) for writer in group)
    return often and group[-1].tally["deleted"] >= len(TARGETS)


@pytest.mark.timeout(900 + 2 * SECONDS)
async def test_without_a_lock_whatever_is_reverted_is_contained_again(
    world: TestNamespace, installed: ControlPlane
) -> None:
    async with Film(world, resources.DEPLOYMENTS) as workloads:
        await contain_all(world, lock=False)
        async with writers(installed, world, recreated=RECREATED, seconds=SECONDS) as group:
            await _each_alone(world, group)
            async with writing(group, SECONDS):
                await _contention_is_for_people(world)
        held = await all_contained(world)
        await workloads.caught_up()

    written, shown = await trails(world), spells(workloads)
    named: set[str] = set()
    for uid, records in written.items():
        # Each spell was ended by the operator, but for that in which its Deployment was deleted; the first one by the
        # containment itself, each other by one that names a field manager who had a hand in it.
        ended = [spell for spell in shown[uid] if spell.ended_by]
        assert all(spell.ended_by == {FIELD_MANAGER} for spell in ended)
        acts = list(events(records, "ContainmentReapplied"))
        again = [detail["fieldManager"] for detail in acts if "fieldManager" in detail]
        times = sum(int(detail.get("times", "1")) for detail in acts) + unrecorded(held, uid)
        assert times == max(len(ended) - 1, 0), (uid, again, ended)
        assert set(again) <= set().union(*(spell.managers for spell in ended[1:])), (again, ended)
        named.update(again)
    raised = {name for uid in written for spell in shown[uid][1:] for name in spell.raised_by}
    assert raised <= named, "whoever gets through is named"
    assert {writer.manager for writer in group[:-1]} | {HPA} <= named
    again = sum(len(list(events(records, "TargetRecreated"))) for records in written.values())
    assert len(written) == len(TARGETS) + again

    for name, escalation in held.items():
        records = written[escalation["spec"]["target"]["uid"]]
        reverted = {u["fieldManager"]: u["count"] for u in escalation["status"]["containments"][0].get("drift") or ()}
        acts = list(events(records, "ContainmentReapplied"))
        assert set(reverted) == {detail["fieldManager"] for detail in acts if "fieldManager" in detail}
        uid = escalation["spec"]["target"]["uid"]
        assert sum(reverted.values()) == sum(int(d.get("times", "1")) for d in acts) + unrecorded(held, uid)
        if name in RECREATED:
            continue
        assert len(shown[escalation["spec"]["target"]["uid"]][-1].ended_by) == 1, "the last one has been ended, too"
        contention, *_ = events(records, "Contention")
        [raising] = events(records, "TierRaised")
        assert int(contention["count"]) >= 10
        assert (raising["from"], raising["tier"], raising["why"]) == ("high", "critical", "Contention")
        assert escalation["status"]["rung"]["tier"] == "critical"


def unrecorded(held: Mapping[str, Object], uid: str) -> int:
    """Return how often a target was contained again that no record says yet."""
    found = [e for e in held.values() if e["spec"]["target"]["uid"] == uid]
    repeats = [r for e in found for r in e["status"].get("repeats") or () if r["fact"] == "ContainmentReapplied"]
    return sum(r["count"] - r["recorded"] for r in repeats)


async def _contention_is_for_people(world: TestNamespace) -> None:
    """Wait until the contention over every model that stays the same object has entered the next rung."""

    async def raised(name: str) -> bool:
        [escalation] = await world.escalations(name)
        return bool(escalation["status"]["rung"]["reason"] == "Contention")

    for name in TARGETS:
        if name not in RECREATED:
            await world.until(lambda name=name: raised(name), f"people to be asked about {name}")


async def _each_alone(world: TestNamespace, group: Sequence[Writer]) -> None:
    """Every writer reverts the containment of a model of their own, and is named for it before all write at once."""

    async def alone(writer: Writer, target: str) -> None:
        await writer.pull(target)

        async def is_named() -> bool:
            [escalation] = await world.escalations(target)
            reverted = escalation["status"]["containments"][0].get("drift") or ()
            return [(u["fieldManager"], u["count"]) for u in reverted] == [(writer.manager, 1)]

        await world.until(is_named, f"{writer.user} to be named as {writer.manager}")

    *others, recreator = group
    async with asyncio.TaskGroup() as tasks:
        for writer, target in zip(others, TARGETS, strict=False):
            tasks.create_task(alone(writer, target))
        tasks.create_task(recreator.turn())
    await world.escalation_says(RECREATED[0], "Closed", "True", "TargetRecreated")
