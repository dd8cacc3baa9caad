"""One pass over one target: load, decide, execute. All state lives in API objects; what is in memory is only when."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from riskladder.api.base import API_VERSION
from riskladder.api.escalation import Intent, PinnedPolicy
from riskladder.api.hold import Hold
from riskladder.api.reasons import Reason
from riskladder.api.tiers import ContainmentAction
from riskladder.cluster import authority, resources
from riskladder.cluster.client import ApiError, Client, Conflict, Forbidden, NotFound, Refused
from riskladder.cluster.permissions import LOOK_EVERY, Permissions
from riskladder.cluster.server_clock import ServerClock
from riskladder.controller.caches.entries import IndexKey, Key, LadderKey, LateDecisionKey
from riskladder.controller.caches.store import Store
from riskladder.controller.clock_watch import ClockWatch
from riskladder.controller.fair import decided, in_slices
from riskladder.controller.index_writer import IndexWriter
from riskladder.controller.metrics import Metrics
from riskladder.controller.outbox import Outbox
from riskladder.controller.people import People, asks_to_contain
from riskladder.controller.scheduler import Scheduler, Urgent
from riskladder.controller.trail_writer import TrailWriter
from riskladder.controller.workload_writer import NotContainable, Stale, WorkloadWriter
from riskladder.notify.courier import Courier
from riskladder.policy.containment import state
from riskladder.policy.containment.drift import record_undone
from riskladder.policy.containment.holds import orphaned, with_holds
from riskladder.policy.decide import decide
from riskladder.policy.ladders import update_ladder
from riskladder.policy.plan import Act, Entry, EscalationUpdate, On, Opening, Plan, Restoring, Rising, Settlement
from riskladder.policy.snapshot import Escalation, PolicyInForce, Snapshot, Stamps, TargetKey
from riskladder.workloads.companions.suspend import Beside
from riskladder.workloads.registry import Runtimes
from riskladder.workloads.safe_states.network_path import Outside

log = structlog.get_logger(__name__)

LONGEST_SLEEP = 300.0
"""Seconds after which a key with a deadline is looked at again in any case: the wall clock may have jumped."""

PERMISSION_RECHECK = LOOK_EVERY
"""Seconds between looks at whether a missing permission has been granted."""

PROOF_RECHECK = 60.0
"""Seconds between looks at whether the admission policy that proves who decided is still in force."""

FIGHT_FREE, FIGHT_LONGEST, FIGHT_MEMORY = 3, 15.0, 60.0
"""How often within FIGHT_MEMORY seconds a containment is put right at once; then each wait is twice the one before, up
to FIGHT_LONGEST seconds."""

SAVE_AGAIN = 0.2
"""Seconds after which an Escalation is looked for again that somebody else has saved."""

INDEX_DELAY = 0.1
"""Seconds for which changes of what is contained in a namespace are gathered."""

INDEX_RETRY = 2.0
"""Seconds after which the index of a namespace is written again that was refused."""

LADDER_DELAY = 0.5
"""Seconds for which changes of a ladder's status are gathered."""


def utcnow() -> datetime:
    """The current time, UTC."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Undone:
    """A containment that was undone and put right, still to be recorded."""

    escalation: str
    intent: Intent
    by: str
    at: datetime


@dataclass(slots=True)
class Pending:
    """A containment write that the API server has acknowledged, until an Escalation says so."""

    hold: Hold
    policy: PinnedPolicy | None
    stamps: Stamps


class Reconciler:
    """Executes plans against one API server."""

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        *,
        instance: str,
        courier: Courier | None = None,
        observe_only: bool = False,
        runtimes: Runtimes | None = None,
        clock: ServerClock | None = None,
    ) -> None:
        """Prepare.

        Args:
            client: Where to write.
            metrics: What to count.
            instance: This process, for Events.
            courier: Sends notifications; without one they stay pending.
            observe_only: Decide and log, write nothing.
            runtimes: The kinds of workloads that may be targets; by default those that are always dealt with.
            clock: The API server's time; without one the operator's own is believed.
        """
        self._client = client
        self._metrics = metrics
        self._observe_only = observe_only
        self.store = Store(self._enqueue, runtimes)
        self.clock = ClockWatch(clock or ServerClock(), metrics, now=lambda: utcnow(), changed=self._look_at_all)
        self._trail = TrailWriter(client, instance=instance, stored=self.store.put)
        self.scheduler: Scheduler[Key, tuple[Snapshot, Plan]] = Scheduler(
            decide=self._decide, contain=self._contain, trail=self._write
        )
        self._stamps: dict[tuple[str, int], Stamps] = {}
        self._pending: dict[TargetKey, Pending] = {}
        self._seen: dict[TargetKey, datetime] = {}
        """When the change that led to a containment was seen."""
        self._undone: dict[TargetKey, list[Undone]] = defaultdict(list)
        self._workloads = WorkloadWriter(client, self.store)
        self.index = IndexWriter(client, self.store)
        self._obstacles: dict[TargetKey, str] = {}
        """Why a target could not be contained the last time, where trying again at once is of no use."""
        self._permissions = Permissions(
            client, (*self.store.runtimes, *self.store.runtimes.companions, *self.store.runtimes.means)
        )
        self._people = People(client, self.store, self._trail, observe=metrics.observe_trail, now=self.clock.now)
        self.outbox = Outbox(client, courier, self.store, changed=self._told, now=self.clock.now) if courier else None
        self._lock: str | None = None
        self.lock_matters = asyncio.Event()
        """Set when something has been contained: from then on the lock has to be looked at often."""
        self._fights: dict[TargetKey, list[float]] = {}
        """When containments were put right of late (monotonic)."""
        self._rehearsals: dict[tuple[str, int], tuple[datetime, str]] = {}
        """What became of the containments of drills as dry runs, until that is written."""

    def _told(self, key: TargetKey | LadderKey) -> None:
        """A notification was delivered, or was not: the trail says so."""
        self.scheduler.add(key, after=LADDER_DELAY if isinstance(key, LadderKey) else 0.0)

    def _enqueue(self, key: Key, urgent: bool) -> None:
        if not isinstance(key, TargetKey):
            delay = {LadderKey: LADDER_DELAY, IndexKey: INDEX_DELAY}.get(type(key), 0.0)
            self.scheduler.add(key, after=delay)
            return
        if urgent:
            self._seen.setdefault(key, self.clock.now())
        self.scheduler.add(key, urgent=urgent)

    def resync(self, indexed: set[str] | frozenset[str] = frozenset()) -> None:
        """Look at everything again: what an event should have said and did not.

        Args:
            indexed: The namespaces that have an index of what is contained there.
        """
        open_uids = {escalation.uid for escalation in self.store.open_escalations()}
        self._stamps = {key: stamps for key, stamps in self._stamps.items() if key[0] in open_uids}
        self._rehearsals = {key: found for key, found in self._rehearsals.items() if key[0] in open_uids}
        if self.outbox is not None:
            self.outbox.forget(open_uids | {e.uid for key in self.store.targets() for e in self.store.mailing(key)})
        self._look_at_all()
        for namespace in indexed | {e.namespace for e in self.store.open_escalations()}:
            self.scheduler.add(IndexKey(namespace))

    def _look_at_all(self) -> None:
        for key in self.store.targets():
            self.scheduler.add(key)
        for namespace, name in self.store.ladders:
            self.scheduler.add(LadderKey(namespace, name))

    def stand_by(self) -> None:
        """Forget what has no Escalation yet: what is contained carries why, and whoever leads now goes by that."""
        self._pending.clear()

    async def look_at_lock(self) -> bool:
        """See whether admission holds what is contained; whether anything is.

        Raises:
            ApiError: The API server could not be asked.
        """
        before, self._lock = self._lock, await authority.lock_missing(self._client)
        contained = [e for e in self.store.open_escalations() if state.is_contained(e)]
        if before != self._lock:
            for escalation in contained:
                target = escalation.spec.target
                self.scheduler.add(TargetKey(escalation.namespace, target.kind, target.name))
        return bool(contained)

    # --- Deciding -------------------------------------------------------------------------------------------------

    def _snapshot(
        self,
        key: TargetKey,
        *,
        thorough: bool = True,
        proof: PolicyInForce | None = None,
        beside: Mapping[tuple[str, str], Beside] | None = None,
    ) -> Snapshot:
        snapshot = replace(
            self.store.snapshot(key, self._stamps, thorough=thorough),
            proof=proof,
            deliveries=self.outbox.deliveries if self.outbox else {},
            rehearsals=self._rehearsals,
            lock=self._lock,
            obstacle=self._obstacles.get(key, ""),
            beside=beside or {},
            seeks=self._workloads.seeks,
            clock_error=self.clock.error(),
        )
        snapshot = with_holds(self._with_pending(snapshot))
        stamps = dict(snapshot.stamps)
        for escalation in snapshot.open if snapshot.target is not None else ():
            for intent in state.in_force(escalation).values():
                self._stamp(snapshot, escalation, intent)
                if known := self._stamps.get((escalation.uid, intent.id)):
                    stamps[escalation.uid, intent.id] = known
        return replace(snapshot, stamps=stamps)

    def _with_pending(self, snapshot: Snapshot) -> Snapshot:
        """Add what has been contained and has no Escalation yet; what is known of it passes to the Escalation."""
        pending = self._pending.get(snapshot.key)
        if pending is None:
            return snapshot
        intent = pending.hold.intent
        escalation = next((e for e in snapshot.escalations if e.name == pending.hold.escalation), None)
        if escalation is not None and any(i.id == intent.id for i in escalation.intents):
            self._stamps.setdefault((escalation.uid, intent.id), pending.stamps)
            del self._pending[snapshot.key]
            return snapshot
        if escalation is None and self.store.has_escalation(snapshot.key.namespace, pending.hold.escalation):
            del self._pending[snapshot.key]  # it is over already: another operator has seen to it
            return snapshot
        if snapshot.target is not None and snapshot.target.uid == pending.hold.target.uid:
            quarantined = pending.hold.evidence.pod_template_hash or ""
            pending.stamps = self._stamped(snapshot, intent, quarantined, pending.stamps)
        return replace(snapshot, pending=pending.hold, pending_policy=pending.policy)

    def _stamp(self, snapshot: Snapshot, escalation: Escalation, intent: Intent) -> None:
        """Note the time at which a stage of the containment is first seen complete."""
        key = (escalation.uid, intent.id)
        before = self._stamps.get(key)
        recorded = escalation.status.containment(intent.action.axis)
        if before is None or (recorded is not None and recorded.intent.id == intent.id and recorded.pods_gone_at):
            return
        self._stamps[key] = self._stamped(snapshot, intent, state.quarantined_hash(escalation, intent), before)

    def _stamped(self, snapshot: Snapshot, intent: Intent, quarantined: str, before: Stamps) -> Stamps:
        """Return what is known of the stages of a containment, with those that are seen complete now."""
        assert snapshot.target is not None  # noqa: S101
        proof, now = state.verify(snapshot.target, intent, quarantined), self.clock.now()
        after = Stamps(
            applied_at=before.applied_at,
            endpoints_empty_at=before.endpoints_empty_at or (now if proof.endpoints_empty else None),
            pods_gone_at=before.pods_gone_at or (now if proof.pods_gone else None),
        )
        seen = self._seen.get(snapshot.key, intent.intended_at)
        for stage in ("endpoints_empty", "pods_gone"):
            at = getattr(after, f"{stage}_at")
            if at is not None and getattr(before, f"{stage}_at") is None:
                self._observe(stage, intent.action, seen, at)
        return after

    def _observe(self, stage: str, action: ContainmentAction, seen: datetime, at: datetime) -> None:
        self._metrics.containment.labels(stage, str(action)).observe(max((at - seen).total_seconds(), 0.0))

    def _decide(self, key: Key) -> Urgent[tuple[Snapshot, Plan]] | None:
        if not isinstance(key, TargetKey):
            self.scheduler.add(key)
            return None
        snapshot = self._snapshot(key, thorough=False)
        plan = decide(snapshot, self.clock.now())
        if not plan.urgent:
            if not self._is_under_way(snapshot):
                self._seen.pop(key, None)
            if not plan.opens and not _is_restoring(snapshot):
                self._obstacles.pop(key, None)
            for update in plan.signals:
                self.store.remember(key, update.signal.name, update.signal.uid, update.status)
            self._deliver(key)
            if plan.has_trail or self._undone.get(key) or snapshot.decisions:
                self.scheduler.add(key, prompt=asks_to_contain(snapshot.decisions))
            else:
                self._sleep(key, plan)
            return None
        if plan.act is not None and plan.act.again and (wait := self._patience(key)) > 0:
            self.scheduler.add(key, urgent=True, after=wait)
            self.scheduler.add(key)
            return None
        severity = plan.act.tier_rank if plan.act else 0
        return Urgent((snapshot, plan), severity)

    def _patience(self, key: TargetKey) -> float:
        """Seconds to wait before a containment that is undone over and over is put right again: it never gives up."""
        now = time.monotonic()
        fight = self._fights[key] = [at for at in self._fights.get(key, ()) if now - at < FIGHT_MEMORY]
        if len(fight) < FIGHT_FREE:
            return 0.0
        return fight[-1] + min(0.5 * 2.0 ** (len(fight) - FIGHT_FREE), FIGHT_LONGEST) - now

    def _is_under_way(self, snapshot: Snapshot) -> bool:
        """Whether a containment has been applied and is not proved yet."""
        if snapshot.pending is not None:
            return True
        active = [(e.uid, intent.id) for e in snapshot.open for intent in state.in_force(e).values()]
        known = [self._stamps.get(key) for key in active]
        return any(stamps is not None and stamps.pods_gone_at is None for stamps in known)

    def _sleep(self, key: TargetKey, plan: Plan) -> None:
        if plan.wake_at is not None:
            seconds = (plan.wake_at - self.clock.now()).total_seconds()
            self.scheduler.add(key, after=min(max(seconds, 0.01), LONGEST_SLEEP))

    # --- Containing -----------------------------------------------------------------------------------------------

    async def _contain(self, key: Key, work: tuple[Snapshot, Plan]) -> None:
        """Contain, in one write that says why; where it cannot, the Escalation is first. It waits for nothing else."""
        assert isinstance(key, TargetKey)  # noqa: S101
        snapshot, plan = work
        if self._observe_only:
            log.info(
                "would act", target=tuple(key), opening=plan.opening is not None, act=str(plan.act and plan.act.action)
            )
            return
        with self._watching_permissions(key.namespace):
            name = plan.act.escalation if plan.act is not None else ""
            known = next((e for e in snapshot.open if e.name == name), None)
            escalation = await self._save(key, plan) if plan.opens else known
            if plan.opens and escalation is None:
                self.scheduler.add(key, urgent=True)
                return
            if plan.act is not None:
                await self._act(key, snapshot, escalation, plan.act)
        self.scheduler.add(key)

    async def _save(self, key: TargetKey, plan: Plan) -> Escalation | None:
        """Save an Escalation, or a further intent of one; ``None`` where somebody else has saved it meanwhile."""
        if plan.opening is not None:
            return await self._open(key, plan.opening)
        return await self._raise(plan.rising) if plan.rising is not None else None

    async def _open(self, key: TargetKey, opening: Opening) -> Escalation | None:
        body = {
            "apiVersion": API_VERSION,
            "kind": resources.ESCALATIONS.kind,
            "metadata": {"namespace": opening.namespace, "name": opening.name, "labels": dict(opening.labels)},
            "spec": opening.spec.to_api(),
        }
        try:
            stored = await self._client.create(resources.ESCALATIONS, opening.namespace, body)
        except Conflict:
            # Somebody opened it before us, or we did and never heard: it is theirs or ours, but it is this one.
            stored = await self._client.get(resources.ESCALATIONS, opening.namespace, opening.name)
            self.store.put(resources.ESCALATIONS, stored)
            if not self.store.has_escalation(opening.namespace, opening.name):
                raise  # written by an operator of another version: not to be asked for over and over at full speed
            return None
        self.store.put(resources.ESCALATIONS, stored)
        if (intent := opening.spec.intent) is not None:
            self._observe("intent", intent.action, self._seen.get(key, intent.intended_at), self.clock.now())
        return self.store.escalation(key, opening.name)

    async def _raise(self, rising: Rising) -> Escalation | None:
        """Note a further intent in the status of its Escalation; ``None`` where somebody else has written it."""
        escalation = rising.escalation
        try:
            await self._trail.status(escalation, rising.status)
        except Refused:
            await self._workloads.refresh(resources.ESCALATIONS, escalation.namespace, escalation.name)
            return None
        target = escalation.spec.target
        return self.store.escalation(TargetKey(escalation.namespace, target.kind, target.name), escalation.name)

    async def _act(self, key: TargetKey, snapshot: Snapshot, escalation: Escalation | None, act: Act) -> None:
        """Write what contains: a compare-and-swap on the object as it was seen, with the hold that says why."""
        assert snapshot.target is not None  # noqa: S101
        try:
            if act.intent.through is not None:
                await self._workloads.contain_around(key, snapshot.target, act)
            else:
                await self._workloads.contain(key, snapshot.target, act)
        except (Conflict, Stale, NotFound):
            raise  # it is looked at again as it is now
        except ApiError as error:
            if error.status:
                self._obstacles[key] = error.message[:1000]
            raise
        except NotContainable as error:
            self._obstacles[key] = str(error)[:1000]
            raise
        self._obstacles.pop(key, None)
        self.lock_matters.set()
        at = self.clock.now()
        is_saved = escalation is not None and any(i.id == act.intent.id for i in escalation.intents)
        if escalation is not None and is_saved:
            stamp = (escalation.uid, act.intent.id)
            before = self._stamps.get(stamp, Stamps())
            self._stamps[stamp] = replace(before, applied_at=before.applied_at or at)
        elif act.hold is not None and (act.hold.escalation, act.hold.intent.id) == (act.escalation, act.intent.id):
            known = self._pending.get(key)
            if known is None or (known.hold.escalation, known.hold.intent.id) != (act.hold.escalation, act.intent.id):
                self._pending[key] = Pending(act.hold, act.policy, Stamps(applied_at=at))
        name = act.escalation
        self._observe("applied", act.action, self._seen.get(key, act.intent.intended_at), at)
        log.info(
            "contained",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=name,
            action=str(act.action),
            again=act.again,
            undone_by=act.undone_by or None,
        )
        if act.again:
            self._metrics.undone.labels(act.undone_by).inc()
            self._undone[key].append(Undone(name, act.intent, act.undone_by, at))
            self._fights.setdefault(key, []).append(time.monotonic())

    # --- The trail ------------------------------------------------------------------------------------------------

    async def _write(self, key: Key) -> None:
        """The second phase: records, Events, status; only what is missing, in an order that a crash may interrupt."""
        with self._watching_permissions(key.namespace):
            if isinstance(key, LadderKey):
                await self._write_ladder(key)
                return
            if isinstance(key, IndexKey):
                if not self._observe_only:
                    await self._write_index(key.namespace)
                return
            if isinstance(key, LateDecisionKey):
                again = None if self._observe_only else await self._people.paper(key)
                if again is not None:
                    self.scheduler.add(key, after=again)
                return
            if not self._observe_only:
                await self._write_deleted(key)
            await in_slices(self.store.unchecked(key))
            snapshot = self._snapshot(key)
            proof, beside = None, {}
            if not self._observe_only:
                proof = await self._people.ask(d for ds in snapshot.decisions.values() for d in ds)
                beside = await self._workloads.look_beside(key, snapshot.open)
            if proof is not None and proof.missing:
                self._tell_ladders(key.namespace)
            if proof is not None or beside:  # what was asked may have taken a while
                snapshot = self._snapshot(key, proof=proof, beside=beside)
            plan = await decided(snapshot, self.clock.now())
            if not plan.urgent and not self._is_under_way(snapshot):
                self._seen.pop(key, None)  # what is undone later is timed from then
            if plan.urgent:
                if not self.scheduler.backs_off(key):
                    self.scheduler.add(key, urgent=True)
                    return
                plan = decide(snapshot, self.clock.now(), urgent=False)
            if self._observe_only:
                if plan.opens:
                    log.info("would open", target=tuple(key), escalation=plan.opening and plan.opening.name)
                log.info("would write", target=tuple(key), escalations=len(plan.escalations), signals=len(plan.signals))
                return
            if plan.opens:
                saved = await self._save(key, plan)
                self.scheduler.add(key, after=0.0 if saved else SAVE_AGAIN)
                return
            if (orphan := orphaned(snapshot)) is not None:
                await self._tell_orphan(key, orphan)
            changes = [change for change in plan.signals if self._trail.takes_status(change.signal)]
            for change in changes:  # its status may be refused because a newer reading is there: this one has counted
                self.store.remember(key, change.signal.name, change.signal.uid, change.status)
            settled_again = await self._settle(key, snapshot, plan.settlement) if plan.settlement else None
            if plan.escalations:  # it says that it is locked
                await self._write_index(key.namespace)
            for update in plan.escalations:
                await self._write_escalation(update)
            if not plan.escalations:  # what a crash left half written comes first: this would go on record behind it
                await self._write_undone(key)
            for change in changes:
                await self._trail.signal(change)
                self.store.remember(key, change.signal.name, change.signal.uid, None)
            for decision in plan.decisions:
                await self._trail.decision(decision)
            if plan.restoring is not None:
                await self._restore(key, snapshot, plan.restoring)
            for lifting in plan.liftings:
                await self._workloads.lift(key, lifting)
            for switch in plan.switches:
                await self._workloads.switch(key, switch)
            if plan.rehearsal is not None:
                error = await self._workloads.rehearse(key, snapshot, plan.rehearsal)
                self._rehearsals[(plan.rehearsal.escalation.uid, plan.rehearsal.intent.id)] = (self.clock.now(), error)
            upkeep = [write for write in plan.upkeep if not self._workloads.is_in_vain(key, write)]
            if upkeep:
                await self._keep_up(key, upkeep)
            self._deliver(key)
            further = plan.restoring or plan.liftings or upkeep or plan.switches or plan.rehearsal
            if plan.escalations or changes or further:
                self.scheduler.add(key, urgent=asks_to_contain(snapshot.decisions))
            elif settled_again is not None:
                self.scheduler.add(key, after=settled_again)
            else:
                self._sleep(key, plan)

    async def _settle(self, key: TargetKey, snapshot: Snapshot, settlement: Settlement) -> float:
        """The second write of a containment; seconds after which to look again. The trail does not wait for a right."""
        try:
            return await self._workloads.settle(key, snapshot, settlement)
        except (Forbidden, NotContainable) as error:
            if isinstance(error, Forbidden):
                self._forbidden(key.namespace)
            log.warning("not settled", namespace=key.namespace, target=f"{key.kind}/{key.name}", error=str(error))
            return PERMISSION_RECHECK

    async def _restore(self, key: TargetKey, snapshot: Snapshot, restoring: Restoring) -> None:
        """Bring back what a containment took away; what refuses that is said in the condition."""
        with self._saying_obstacle(key):
            await self._workloads.restore(key, snapshot, restoring)
        self._obstacles.pop(key, None)

    async def _write_index(self, namespace: str) -> None:
        """Bring the index of a namespace up to date; what refuses that keeps no trail from being written."""
        try:
            await self.index.write(namespace)
        except ApiError as error:
            log.warning("index not written", namespace=namespace, error=str(error))
            self.scheduler.add(IndexKey(namespace), after=INDEX_RETRY)

    async def _tell_orphan(self, key: TargetKey, hold: Hold) -> None:
        """Say on the target that nobody can decide about it: it stays contained, and is found again by its ladder."""
        message = (
            f"contained under EscalationLadder {hold.ladder.name}, which is gone, so that nobody can decide: create "
            f"a ladder of that name, and Escalation {hold.escalation} is opened"
        )
        log.warning("no ladder", namespace=key.namespace, target=f"{key.kind}/{key.name}", ladder=hold.ladder.name)
        at = hold.intent.intended_at
        entry = Entry(Reason.LADDER_NOT_FOUND, hold.escalation, at, message, on=(On.TARGET,), warning=True)
        await self._trail.target(key.namespace, hold.target, entry)

    async def _keep_up(self, key: TargetKey, writes: Sequence[Outside]) -> None:
        """Make what objects carry what it should be; what refuses that is said where something is to be restored."""
        with self._saying_obstacle(key):
            for write in writes:
                await self._workloads.keep_up(key, write)

    def _deliver(self, key: TargetKey) -> None:
        """Have delivered what is pending."""
        if self.outbox is not None:
            for escalation in self.store.mailing(key):
                self.outbox.consider(escalation)

    async def _write_deleted(self, key: TargetKey) -> None:
        """Say in the chain of a deleted escalation that it was deleted; who did it is in the API server's audit log."""
        for escalation in self.store.take_deleted(key):
            message = "the Escalation was deleted while it was open; its records stay"
            entry = Entry(
                Reason.ESCALATION_DELETED, "deleted", self.clock.now(), message, on=(On.TARGET,), warning=True
            )
            try:
                await self._trail.entries(escalation, (entry,))
            except (Forbidden, NotFound) as error:  # its namespace is going, too
                log.warning("deletion not recorded", escalation=escalation.name, error=str(error))

    async def _write_undone(self, key: TargetKey) -> None:
        pending = self._undone.get(key)
        while pending:
            undone = pending[0]
            snapshot = self._snapshot(key)
            escalation = next((e for e in snapshot.escalations if e.name == undone.escalation), None)
            update = record_undone(escalation, undone.intent, undone.by, undone.at) if escalation else None
            if update is None and escalation is not None:
                return  # the first trail comes before this one
            if update is not None:
                await self._write_escalation(update)
            pending.pop(0)
        self._undone.pop(key, None)

    async def _write_escalation(self, update: EscalationUpdate) -> None:
        try:
            await self._trail.escalation(update)
            self._metrics.observe_trail(update)
        except (Refused, Conflict):
            await self._workloads.refresh(resources.ESCALATIONS, update.escalation.namespace, update.escalation.name)
            raise

    async def _write_ladder(self, key: LadderKey) -> None:
        entry = self.store.ladders.get((key.namespace, key.name))
        if entry is None:
            return
        missing = await self._permissions.missing(key.namespace)
        if missing:
            self.scheduler.add(key, after=PERMISSION_RECHECK)
        proof = await self._people.proof_or_why()
        self.scheduler.add(key, after=PERMISSION_RECHECK if proof.missing else PROOF_RECHECK)
        now = self.clock.now()
        update, wake = update_ladder(
            entry.ladder,
            entry.status,
            created=entry.created,
            open_escalations=len(self.store.open_escalations((key.namespace, key.name))),
            missing=missing,
            unproved=proof.missing,
            unavailable=self.outbox.unavailable.get((key.namespace, key.name)) if self.outbox else None,
            clock_error=self.clock.error(),
            now=now,
        )
        if wake is not None:
            self.scheduler.add(key, after=min(max((wake - now).total_seconds(), 1.0), 86400.0))
        if update.status == entry.status or self._observe_only:
            return
        await self._trail.ladder(entry.ladder, update)

    def _forbidden(self, namespace: str) -> None:
        """A request was refused by RBAC: ask what else is, and let the ladders of the namespace say so."""
        self._permissions.forget(namespace)
        self._tell_ladders(namespace)

    def _tell_ladders(self, namespace: str) -> None:
        """Let the ladders of a namespace say what has come to light."""
        for ladder_namespace, name in self.store.ladders:
            if ladder_namespace == namespace:
                self.scheduler.add(LadderKey(namespace, name), after=LADDER_DELAY)

    @contextmanager
    def _saying_obstacle(self, key: TargetKey) -> Iterator[None]:
        """Keep what refuses a write to a target, so that the next look at it says so in the condition."""
        try:
            yield
        except (Forbidden, NotContainable) as error:
            why = (error.message if isinstance(error, Forbidden) else str(error))[:1000]
            if self._obstacles.get(key) != why:
                self._obstacles[key] = why
                self.scheduler.add(key)
            raise

    @contextmanager
    def _watching_permissions(self, namespace: str) -> Iterator[None]:
        try:
            yield
        except Forbidden:
            self._forbidden(namespace)
            raise


def _is_restoring(snapshot: Snapshot) -> bool:
    """Whether something is still to be brought back."""
    resumed = [escalation.status.resume for escalation in snapshot.open]
    return any(resume is not None and resume.applied_at is None for resume in resumed)
