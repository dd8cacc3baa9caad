"""One pass over one target: load, decide, hand over. All state lives in API objects; what is in memory is only when."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from functools import partial

import structlog

from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.server_clock import ServerClock
from riskladder.controller.caches.entries import IndexKey, Key, LadderKey
from riskladder.controller.caches.store import Store
from riskladder.controller.clock_watch import ClockWatch
from riskladder.controller.containment_pass import ContainmentPass
from riskladder.controller.definition_watch import DefinitionWatch
from riskladder.controller.enqueue import Enqueuer
from riskladder.controller.executor import Executor, NotContainable
from riskladder.controller.fair import decided, in_slices
from riskladder.controller.index_writer import IndexWriter
from riskladder.controller.journal import Journal
from riskladder.controller.ladder_writer import LadderWriter
from riskladder.controller.late_decisions import LateDecisions
from riskladder.controller.metrics import Metrics
from riskladder.controller.observations import Observations
from riskladder.controller.outbox import Outbox
from riskladder.controller.people import People, asks_to_contain
from riskladder.controller.policy_watch import PolicyWatch
from riskladder.controller.reservations import reserve
from riskladder.controller.scheduler import Scheduler, Urgent
from riskladder.controller.snapshot_loader import SnapshotLoader
from riskladder.controller.trail_pass import IndependentWrites, TrailPass
from riskladder.controller.trail_writer import TrailWriter
from riskladder.notify.notifier import Notifier
from riskladder.policy.containment import state
from riskladder.policy.decide import decide
from riskladder.policy.plan import Plan
from riskladder.policy.snapshot import Snapshot, TargetKey
from riskladder.workloads.registry import Runtimes

log = structlog.get_logger(__name__)

LONGEST_SLEEP = 300.0
"""Seconds after which a key with a deadline is looked at again in any case: the wall clock may have jumped."""

SAVE_AGAIN = 0.2
"""Seconds after which an Escalation is looked for again that somebody else has saved."""


def utcnow() -> datetime:
    """Return the current time, UTC."""
    return datetime.now(UTC)


class Reconciler:
    """Has plans carried out against one API server."""

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        *,
        instance: str,
        notifier: Notifier | None = None,
        observe_only: bool = False,
        runtimes: Runtimes | None = None,
        clock: ServerClock | None = None,
    ) -> None:
        """Start with empty caches.

        Args:
            client: Where to write.
            metrics: What to count.
            instance: This process, for Events.
            notifier: Sends notifications; without one they stay pending.
            observe_only: Decide and log, write nothing.
            runtimes: The kinds of workloads that may be targets; by default those that are always dealt with.
            clock: The API server's time; without one the operator's own is believed.
        """
        self._observe_only = observe_only
        self.scheduler: Scheduler[Key, tuple[Snapshot, Plan]] = Scheduler(
            decide=self._decide, contain=self._contain, trail=self._write
        )
        enqueuer = self._enqueuer = Enqueuer(self.scheduler, urgent=lambda key: self._seen.changed(key))
        store = self.store = Store(enqueuer.changed, runtimes)
        self.clock = ClockWatch(
            clock or ServerClock(), metrics, now=lambda: utcnow(), changed=partial(enqueuer.everything, store)
        )
        self.journal = Journal(enabled=not observe_only)
        """Logs the readings that count and those that are refused."""
        self._trail = TrailWriter(client, instance=instance, stored=store.put)
        now = self.clock.now
        ladders_of = partial(enqueuer.ladders_of, store=store)
        self._seen = Observations(store, metrics, now=now, refusing=ladders_of)
        self._executor = Executor(client, store)
        self.index = IndexWriter(client, store)
        self._people = People(client, store, self._trail)
        self._late_decisions = LateDecisions(
            client, store, self._trail, self._people, self._seen, observe=metrics.observe_trail, now=now
        )
        self.outbox = Outbox(client, notifier, store, changed=enqueuer.notified, now=now) if notifier else None
        self._loader = SnapshotLoader(
            client,
            store,
            self._executor,
            self._seen,
            self._people,
            self.index,
            self.clock,
            outbox=self.outbox,
            unproved=ladders_of,
        )
        self.definitions = DefinitionWatch(
            client, observe=metrics.observe_definition, changed=partial(enqueuer.ladders, store)
        )
        """Knows whether the kinds store what is written."""
        self._ladders = LadderWriter(
            client,
            store,
            self._trail,
            self._people,
            PolicyWatch(client, observe=metrics.observe_policy),
            self.definitions,
            self.clock,
            outbox=self.outbox,
            again=enqueuer.again,
            afresh=ladders_of,
            refusals=self._seen.refusals,
        )
        self._containment = ContainmentPass(store, self._trail, self._executor, self._seen, now=now)
        self._trail_pass = TrailPass(
            store,
            self._trail,
            self._executor,
            self._seen,
            self.index,
            metrics,
            now=now,
            note=self.journal.note,
            snapshot=self._loader.load,
            again=enqueuer.again,
            forbidden=self._ladders.forbidden,
        )
        self.lock_matters = self._containment.contained
        """Set when something has been contained: from then on the lock has to be looked at often."""

    # --- What is to be looked at ----------------------------------------------------------------------------------

    def resync(self, indexed: set[str] | frozenset[str] = frozenset()) -> None:
        """Look at everything again: what an event should have said and did not.

        Args:
            indexed: The namespaces that have an index of what is contained there.
        """
        open_uids = {escalation.uid for escalation in self.store.escalations.open_ones()}
        self._seen.forget(open_uids)
        if self.outbox is not None:
            with_messages = {e.uid for key in self.store.targets() for e in self.store.escalations.of(key)}
            self.outbox.forget(open_uids | with_messages | {entry.ladder.uid for entry in self.store.ladders.values()})
        self._enqueuer.everything(self.store)
        for namespace in indexed | {e.namespace for e in self.store.escalations.open_ones()}:
            self.scheduler.add(IndexKey(namespace))

    def stand_by(self) -> None:
        """Forget what has no Escalation yet: what is contained says why, and whoever leads now goes by that."""
        self._seen.stand_by()

    async def look_at_lock(self) -> bool:
        """See whether admission holds what is contained; return whether anything is.

        Raises:
            ApiError: The API server could not be asked.
        """
        is_changed = await self._loader.look_at_lock()
        contained = [e for e in self.store.escalations.open_ones() if state.is_contained(e)]
        for escalation in contained if is_changed else ():
            target = escalation.spec.target
            self.scheduler.add(TargetKey(escalation.namespace, target.kind, target.name))
        return bool(contained)

    # --- Deciding -------------------------------------------------------------------------------------------------

    def _decide(self, key: Key) -> Urgent[tuple[Snapshot, Plan]] | None:
        if not isinstance(key, TargetKey):
            self.scheduler.add(key)
            return None
        snapshot = self._loader.load(key, thorough=False)
        plan = decide(snapshot, self.clock.now())
        reserve(self.store, snapshot, plan)
        if plan.stop is None:
            self._seen.quiet(key, snapshot, is_saving=plan.opens, is_writing=snapshot.is_restoring)
            for update in plan.signals:
                self.journal.note(update)
                self.store.remember(key, update.signal.name, update.signal.uid, update.status)
            self._deliver(key)
            if plan.has_trail or self._seen.reverted(key) or snapshot.decisions or self._loader.is_due(snapshot):
                self.scheduler.add(key, prompt=asks_to_contain(snapshot.decisions))
            else:
                self._sleep(key, plan)
            return None
        if plan.stop.again and (wait := self._seen.patience(key)) > 0:
            self.scheduler.add(key, urgent=True, after=wait)
            self.scheduler.add(key)
            return None
        return Urgent((snapshot, plan), plan.stop.severity)

    def _sleep(self, key: TargetKey, plan: Plan) -> None:
        wait = self._loader.wait(key)
        if plan.wake_at is not None:
            wait = min(wait, (plan.wake_at - self.clock.now()).total_seconds())
        if wait < math.inf:
            self.scheduler.add(key, after=min(max(wait, 0.01), LONGEST_SLEEP))

    # --- Containing -----------------------------------------------------------------------------------------------

    async def _contain(self, key: Key, work: tuple[Snapshot, Plan]) -> None:
        """Contain, in one write that says why; where it cannot, the Escalation is first. It waits for nothing else."""
        assert isinstance(key, TargetKey)  # noqa: S101
        snapshot, plan = work
        if self._observe_only:
            stop = {} if plan.stop is None else {"action": str(plan.stop.action), "effect": str(plan.stop.effect)}
            log.info("would stop", target=tuple(key), opening=plan.opening is not None, **stop)
            return
        with self._ladders.watching(key.namespace):
            is_tried = await self._containment.run(key, snapshot, plan)
        self.scheduler.add(key, urgent=not is_tried)

    # --- The trail ------------------------------------------------------------------------------------------------

    async def _write(self, key: Key) -> None:
        """Carry out the second phase: only what is missing, in an order that a crash may interrupt."""
        with self._ladders.watching(key.namespace):
            if isinstance(key, LadderKey):
                await self._ladders.write(key, observe_only=self._observe_only)
                self._deliver(key)
            elif isinstance(key, TargetKey):
                await self._write_target(key)
            elif self._observe_only:
                return
            elif isinstance(key, IndexKey):
                await self._trail_pass.write_index(key.namespace)
            elif (again := await self._late_decisions.write(key)) is not None:
                self.scheduler.add(key, after=again)

    async def _write_target(self, key: TargetKey) -> None:
        tried = IndependentWrites()
        if not self._observe_only:
            with tried.alone():
                await self._trail_pass.write_deleted(key)
        await in_slices(self.store.unchecked(key))
        snapshot = self._loader.load(key) if self._observe_only else await self._loader.ask(key, tried)
        plan = await decided(snapshot, self.clock.now())
        if plan.stop is not None:
            if not self.scheduler.backs_off(key):
                self.scheduler.add(key, urgent=True)
                return
            plan = decide(snapshot, self.clock.now(), urgent=False)
        else:
            self._seen.quiet(key, snapshot, is_saving=plan.opens, is_writing=True)  # a revert is timed from then
        if self._observe_only:
            effects = [str(effect) for effect in plan.effects]
            log.info("would write", target=tuple(key), escalations=len(plan.escalations), effects=effects)
            return
        if plan.opens and snapshot.radius_budgets:  # decided in slices: another target may have overtaken it
            snapshot = self._loader.load(key)
            plan = decide(snapshot, self.clock.now(), urgent=not self.scheduler.backs_off(key))
            reserve(self.store, snapshot, plan)
            if plan.stop is not None or not plan.opens:
                self.scheduler.add(key, urgent=plan.stop is not None)
                return
        if plan.opens:
            for change in plan.signals:
                if self._trail.takes_status(change.signal):
                    self.journal.note(change)
                    with tried.alone():
                        await self._trail.signal(change)
            saved = await self._containment.save(key, plan)
            self.scheduler.add(key, after=0.0 if saved else SAVE_AGAIN)
            return
        try:
            after = await self._trail_pass.run(key, snapshot, plan)
        except (ApiError, NotContainable):  # it keeps no message back that is in the status already
            self._deliver(key)
            if self._seen.is_just_pressed(snapshot):  # nor the stop button: to stop waits for no record
                self.scheduler.add(key, urgent=True)
            raise
        self._deliver(key)
        if after is None:
            tried.end()
            self._sleep(key, plan)
        else:
            self.scheduler.add(key, after=after, urgent=not after and asks_to_contain(snapshot.decisions))

    def _deliver(self, key: TargetKey | LadderKey) -> None:
        """Have delivered what is pending."""
        if self.outbox is not None:
            self.outbox.deliver(key)
