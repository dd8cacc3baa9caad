"""The second phase of one pass: the trail of what was decided, and the effects that follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from riskladder.api.conditions import is_true
from riskladder.api.hold import Hold
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Conflict, Forbidden, NotFound, Refused
from riskladder.controller.caches.entries import IndexKey, Key
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor, NotContainable, Stale
from riskladder.controller.index_writer import IndexWriter
from riskladder.controller.ladder_writer import PERMISSION_RECHECK
from riskladder.controller.metrics import Metrics
from riskladder.controller.observations import Observations
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.containment.holds import orphaned
from riskladder.policy.plan import Effect, Entry, EscalationUpdate, On, Phase, Plan, SignalUpdate
from riskladder.policy.snapshot import Escalation, Snapshot, TargetKey

log = structlog.get_logger(__name__)

LEFT_BEHIND = 60.0
"""Seconds between two looks at an escalation of which nothing can be recorded, since its namespace is gone."""

INDEX_RETRY = 2.0
"""Seconds after which the index of a namespace is written again that was refused."""


@dataclass(slots=True)
class WriteOutcome:
    """What became of one write."""

    error: ApiError | NotContainable | None = None

    @property
    def failed(self) -> bool:
        """Whether it failed."""
        return self.error is not None

    @property
    def is_hopeless(self) -> bool:
        """Whether others of its kind are likely to fail in the same way, or to take long."""
        return isinstance(self.error, ApiError) and (self.error.is_transient or self.error.is_final)


class IndependentWrites:
    """Several writes of which none prevents the next one; the first error is raised at the end."""

    def __init__(self) -> None:
        """Start without an error."""
        self._first: Exception | None = None

    @contextmanager
    def alone(self) -> Iterator[WriteOutcome]:
        """Keep what one write raises; the body says what became of it afterwards."""
        one = WriteOutcome()
        try:
            yield one
        except (ApiError, NotContainable) as error:
            one.error = error
            if self._first is None or getattr(error, "is_final", False):  # then nothing else is of any use
                self._first = error

    def end(self) -> None:
        """Raise the first error, if there was one."""
        if self._first is not None:
            raise self._first


class TrailPass:
    """Writes what is missing, in an order that a crash may interrupt."""

    def __init__(
        self,
        store: Store,
        trail: TrailWriter,
        executor: Executor,
        seen: Observations,
        index: IndexWriter,
        metrics: Metrics,
        *,
        now: Callable[[], datetime],
        note: Callable[[SignalUpdate], None],
        snapshot: Callable[[TargetKey], Snapshot],
        again: Callable[[Key, float], None],
        forbidden: Callable[[str], None],
    ) -> None:
        """Write through the trail and the executor.

        Args:
            store: The caches.
            trail: Writes records, Events and statuses.
            executor: Carries out effects.
            seen: What is in memory of the containments.
            index: Writes the index of a namespace.
            metrics: Counts what is written.
            now: Returns the current time, UTC.
            note: Takes what a signal comes to, for the journal.
            snapshot: Returns a target as the caches have it now.
            again: Has a key looked at again after so many seconds.
            forbidden: Is called with a namespace where a request was refused by RBAC.
        """
        self._store = store
        self._trail = trail
        self._executor = executor
        self._seen = seen
        self._index = index
        self._metrics = metrics
        self._now = now
        self._note = note
        self._snapshot = snapshot
        self._again = again
        self._forbidden = forbidden

    async def run(self, key: TargetKey, snapshot: Snapshot, plan: Plan) -> float | None:
        """Write the trail, and have the effects carried out that follow it.

        Args:
            key: The target.
            snapshot: As it was decided upon.
            plan: What was decided.

        Returns:
            Seconds after which to look again: none where something was written; ``None`` where nothing is left to do.

        Raises:
            ApiError: A write was refused or not answered.
            NotContainable: A write was refused, though nothing has changed.
        """
        if (orphan := orphaned(snapshot)) is not None:
            await self._report_orphan(key, orphan)
        if any(_closes(update) for update in plan.escalations) and await self._write_reverted(key):
            return 0.0  # decided again: once it is closed, nobody can say of it that it was reverted
        changes = [change for change in plan.signals if self._trail.takes_status(change.signal)]
        for change in changes:  # its status may be refused because a newer reading is there: this one has counted
            self._note(change)
            self._store.remember(key, change.signal.name, change.signal.uid, change.status)
        for uid in {*snapshot.unwritten} - {update.escalation.uid for update in plan.escalations}:
            self._seen.written(key.namespace, uid)  # nothing is missing any more
        tried, waits = IndependentWrites(), list[float]()
        for effect in plan.of(Phase.FOLLOW_UP):
            with tried.alone():
                waits.append(await self._follow_up(key, effect))
        if not all(waits):  # one was just made: decided again, since the record says what was asked for
            return 0.0
        if plan.escalations:  # it says that it is locked
            await self.write_index(key.namespace)
        behind: dict[str, bool] = {}
        lacking = set[str]()
        for update in plan.escalations:
            is_stored = False
            with tried.alone() as one:
                is_stored = await self._write_escalation(update)
            if not is_stored:
                lacking.add(update.escalation.name)
            if one.failed:
                behind[update.escalation.spec.ladder.name] = update.escalation.uid in snapshot.unwritten
        if not plan.escalations:  # what a crash left half written comes first: this would go on record behind it
            with tried.alone():
                await self._write_reverted(key)
        if not self._is_other(snapshot):  # else they would say what is not so any more
            await self._write_signals(key, changes, behind, tried)
        for decision in plan.decisions:
            if decision.decision.spec.escalation in lacking:
                continue  # nothing keeps yet what it would be answered: it is judged again
            with tried.alone():
                await self._trail.decision(decision)
        done = []
        for effect in plan.effects:
            if effect.phase is not Phase.FOLLOW_UP:
                with tried.alone():
                    done.append(await self._effect(key, snapshot, effect))
        tried.end()
        is_written = len(lacking) < len(plan.escalations)
        if is_written or changes or any(done) or self._is_other(snapshot):
            return 0.0
        if lacking:
            return min([LEFT_BEHIND, *waits])
        return waits[0] if waits else None

    def _is_other(self, snapshot: Snapshot) -> bool:
        """Return whether other escalations can be written, or cannot, than a snapshot says."""
        return snapshot.unwritten.keys() != self._seen.unwritten_of(snapshot.escalations).keys()

    async def _write_signals(
        self, key: TargetKey, changes: Sequence[SignalUpdate], behind: Mapping[str, bool], tried: IndependentWrites
    ) -> None:
        """Write the statuses of signals.

        What has been counted of a stream is let go once the escalation has taken it over: where that could not be
        written, nothing is but why, and the tier and the escalation that it is in.

        Args:
            key: The target.
            changes: What they are to say.
            behind: The ladders whose escalation says less than it should, and whether its signals are to say why.
            tried: Keeps the errors.
        """
        for change in changes:
            signal = change.signal
            says_why = behind.get(signal.spec.ladder) if signal.spec is not None else None
            said = change.status
            if says_why is not None:
                names = ("observed_generation", "conditions", "tier", "since", "escalation")
                said = signal.status.model_copy(update={name: getattr(change.status, name) for name in names})
            if said == signal.status or says_why is False:
                continue
            with tried.alone() as one:
                await self._trail.signal(replace(change, status=said))
                if says_why is None:
                    self._store.remember(key, signal.name, signal.uid, None)
            if one.is_hopeless:  # there may be thousands, and no answer takes ten seconds
                break

    async def _effect(self, key: TargetKey, snapshot: Snapshot, effect: Effect) -> bool:
        """Have an effect carried out; what refuses it joins the next snapshot. Return whether anything was done."""
        if effect.phase is Phase.REHEARSE:
            drill = next(e for e in snapshot.drills if e.name == effect.escalation)
            error = await self._executor.rehearse(key, effect)
            self._seen.rehearsed(drill.uid, effect.intent, error)
            return True
        try:
            done = await self._executor.carry_out(key, effect)
        except (Stale, Conflict, NotFound):
            raise  # it is looked at again as it is now
        except (ApiError, NotContainable) as error:
            if isinstance(error, ApiError) and error.is_transient:
                raise
            is_known = bool(self._seen.obstacle(key))
            self._seen.refused(key, error.message if isinstance(error, ApiError) else str(error))
            if is_known:  # else it is to be said first
                raise
            return True
        if effect.phase is Phase.RESTORE and effect.on_target:
            self._seen.not_refused(key)
        return done

    async def _follow_up(self, key: TargetKey, effect: Effect) -> float:
        """Have the second write of a containment made; seconds after which to look. The trail waits for no right."""
        try:
            return await self._executor.follow_up(key, effect)
        except (Stale, Conflict, NotFound):
            raise  # it is looked at again as it is now
        except (ApiError, NotContainable) as error:
            if isinstance(error, ApiError) and error.is_transient:
                raise
            if isinstance(error, Forbidden):
                self._forbidden(key.namespace)
            self._seen.refused(key, error.message if isinstance(error, ApiError) else str(error))
            log.warning("no follow-up", namespace=key.namespace, target=f"{key.kind}/{key.name}", error=str(error))
            return PERMISSION_RECHECK

    async def write_index(self, namespace: str) -> None:
        """Bring the index of a namespace up to date; what refuses that keeps no trail from being written.

        Without it the lock does not hold what is contained there by name, which each of its escalations says then.
        """
        before = self._index.problems.get(namespace)
        try:
            await self._index.write(namespace)
        except ApiError as error:
            log.warning("index not written", namespace=namespace, error=str(error))
            self._again(IndexKey(namespace), INDEX_RETRY)
        if bool(before) is not bool(self._index.problems.get(namespace)):
            for target in (e.spec.target for e in self._store.escalations.open_ones() if e.namespace == namespace):
                self._again(TargetKey(namespace, target.kind, target.name), 0.0)

    async def _report_orphan(self, key: TargetKey, hold: Hold) -> None:
        """Say on the target that nobody can decide about it: it stays contained, and is found again by its ladder."""
        message = (
            f"contained under EscalationLadder {hold.ladder.name}, which is gone, so that nobody can decide: create "
            f"a ladder of that name, and Escalation {hold.escalation} is opened"
        )
        log.warning("no ladder", namespace=key.namespace, target=f"{key.kind}/{key.name}", ladder=hold.ladder.name)
        at = hold.intent.intended_at
        entry = Entry(Reason.LADDER_NOT_FOUND, hold.escalation, at, message, on=(On.TARGET,), warning=True)
        await self._trail.target(key.namespace, hold.target, entry)

    async def write_deleted(self, key: TargetKey) -> None:
        """Say in the chain of a deleted escalation that it was deleted; who did it is in the API server's audit log.

        Each is kept until that is on record. A list that was behind may have lacked it, and a watch that was broken off
        may have missed its close: so it is looked up first, and so is what its chain says.

        Raises:
            ApiError: A request was refused or not answered; it is tried again.
        """
        for escalation in self._store.escalations.deleted(key):
            stored = await self._trail.stored(escalation)
            if stored is not None:
                self._store.escalations.forget_deleted(key, escalation.uid)
                self._store.put(resources.ESCALATIONS, stored)
                continue
            message, at = "the Escalation was deleted while it was open; its records stay", self._now()
            entry = Entry(Reason.ESCALATION_DELETED, "deleted", at, message, on=(On.TARGET,), warning=True)
            try:
                if not await self._trail.says_closed(escalation):
                    await self._trail.entries(escalation, (entry,))
            except (Forbidden, NotFound) as error:
                if isinstance(error, Forbidden) and not error.is_final:
                    self._forbidden(key.namespace)
                    raise
                log.warning("deletion not recorded", escalation=escalation.name, error=str(error))
            self._store.escalations.forget_deleted(key, escalation.uid)

    async def _write_reverted(self, key: TargetKey) -> bool:
        """Note what was reverted and done again; return whether anything was written."""
        wrote = False
        while (found := self._seen.reverted(key)) is not None:
            snapshot = self._snapshot(key)
            escalation = next((e for e in snapshot.escalations if e.name == found.escalation), None)
            update = record_drift(escalation, found.intent, found.by, found.at) if escalation else None
            if update is None and escalation is not None:
                return wrote  # the first trail comes before this one
            if update is not None:
                await self._write_escalation(update)
                wrote = True
            self._seen.recorded(key, found)
        return wrote

    async def _write_escalation(self, update: EscalationUpdate) -> bool:
        """Write what is new of an escalation; return whether it is stored, and not that the escalation is gone.

        What refuses that joins the next snapshot, so that the signals say so.
        """
        escalation = update.escalation
        try:
            is_stored = await self._trail.escalation(update)
            self._metrics.observe_trail(update)
        except ApiError as error:
            is_stale = isinstance(error, (Refused, Conflict)) and await self._has_changed(escalation)
            if not is_stale:
                self._seen.press(escalation, update.status.decisions)
            if not is_stale and not error.is_transient and not error.is_final:
                self._seen.not_written(escalation, error.message)
            raise
        self._seen.written(escalation.namespace, escalation.uid)
        return is_stored

    async def _has_changed(self, escalation: Escalation) -> bool:
        """Return whether an escalation is another than it was seen as; it is looked at again as it is now."""
        namespace, name = escalation.namespace, escalation.name
        found = await self._executor.refresh(resources.ESCALATIONS, namespace, name)
        return found is None or found["metadata"]["resourceVersion"] != escalation.resource_version


def _closes(update: EscalationUpdate) -> bool:
    return update.escalation.is_open and is_true(update.status.conditions, ConditionType.CLOSED)
