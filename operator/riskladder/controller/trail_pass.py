"""The second phase of one pass: the trail of what was decided, and the effects that follow it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog

from riskladder.api.hold import Hold
from riskladder.api.reasons import Reason
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Conflict, Forbidden, NotFound, Refused
from riskladder.controller.caches.entries import IndexKey, Key
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor, NotContainable
from riskladder.controller.index_writer import IndexWriter
from riskladder.controller.ladder_writer import PERMISSION_RECHECK
from riskladder.controller.metrics import Metrics
from riskladder.controller.observations import Observations
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.containment.holds import orphaned
from riskladder.policy.plan import Effect, Entry, EscalationUpdate, On, Phase, Plan
from riskladder.policy.snapshot import Snapshot, TargetKey

log = structlog.get_logger(__name__)

BEING_TERMINATED = "being terminated"
"""By these words the API server refuses to create anything in a namespace that is being deleted."""

INDEX_RETRY = 2.0
"""Seconds after which the index of a namespace is written again that was refused."""


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
        changes = [change for change in plan.signals if self._trail.takes_status(change.signal)]
        for change in changes:  # its status may be refused because a newer reading is there: this one has counted
            self._store.remember(key, change.signal.name, change.signal.uid, change.status)
        waits = [await self._follow_up(key, effect) for effect in plan.of(Phase.FOLLOW_UP)]
        if plan.escalations:  # it says that it is locked
            await self.write_index(key.namespace)
        for update in plan.escalations:
            await self._write_escalation(update)
        if not plan.escalations:  # what a crash left half written comes first: this would go on record behind it
            await self._write_reverted(key)
        for change in changes:
            await self._trail.signal(change)
            self._store.remember(key, change.signal.name, change.signal.uid, None)
        for decision in plan.decisions:
            await self._trail.decision(decision)
        done = [await self._effect(key, snapshot, e) for e in plan.effects if e.phase is not Phase.FOLLOW_UP]
        if plan.escalations or changes or any(done):
            return 0.0
        return waits[0] if waits else None

    async def _effect(self, key: TargetKey, snapshot: Snapshot, effect: Effect) -> bool:
        """Have an effect carried out; what refuses it joins the next snapshot. Return whether anything was done."""
        if effect.phase is Phase.REHEARSE:
            drill = next(e for e in snapshot.drills if e.name == effect.escalation)
            error = await self._executor.rehearse(key, effect)
            self._seen.rehearsals[drill.uid, drill.last_intent] = (self._now(), error)
            return True
        try:
            done = await self._executor.carry_out(key, effect)
        except (Forbidden, NotContainable) as error:
            if self._seen.refused(key, error.message if isinstance(error, Forbidden) else str(error)):
                self._again(key, 0.0)
            raise
        if effect.phase is Phase.RESTORE and effect.on_target:
            self._seen.obstacles.pop(key, None)
        return done

    async def _follow_up(self, key: TargetKey, effect: Effect) -> float:
        """Have the second write of a containment made; seconds after which to look. The trail waits for no right."""
        try:
            return await self._executor.follow_up(key, effect)
        except (Forbidden, NotContainable) as error:
            if isinstance(error, Forbidden):
                self._forbidden(key.namespace)
            log.warning("no follow-up", namespace=key.namespace, target=f"{key.kind}/{key.name}", error=str(error))
            return PERMISSION_RECHECK

    async def write_index(self, namespace: str) -> None:
        """Bring the index of a namespace up to date; what refuses that keeps no trail from being written."""
        try:
            await self._index.write(namespace)
        except ApiError as error:
            log.warning("index not written", namespace=namespace, error=str(error))
            self._again(IndexKey(namespace), INDEX_RETRY)

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
        for escalation in self._store.deleted(key):
            stored = await self._trail.stored(escalation)
            if stored is not None:
                self._store.forget_deleted(key, escalation.uid)
                self._store.put(resources.ESCALATIONS, stored)
                continue
            message, at = "the Escalation was deleted while it was open; its records stay", self._now()
            entry = Entry(Reason.ESCALATION_DELETED, "deleted", at, message, on=(On.TARGET,), warning=True)
            try:
                if not await self._trail.says_closed(escalation):
                    await self._trail.entries(escalation, (entry,))
            except (Forbidden, NotFound) as error:
                if isinstance(error, Forbidden) and BEING_TERMINATED not in error.message:
                    self._forbidden(key.namespace)
                    raise
                log.warning("deletion not recorded", escalation=escalation.name, error=str(error))
            self._store.forget_deleted(key, escalation.uid)

    async def _write_reverted(self, key: TargetKey) -> None:
        pending = self._seen.reverted.get(key)
        while pending:
            found = pending[0]
            snapshot = self._snapshot(key)
            escalation = next((e for e in snapshot.escalations if e.name == found.escalation), None)
            update = record_drift(escalation, found.intent, found.by, found.at) if escalation else None
            if update is None and escalation is not None:
                return  # the first trail comes before this one
            if update is not None:
                await self._write_escalation(update)
            pending.pop(0)
        self._seen.reverted.pop(key, None)

    async def _write_escalation(self, update: EscalationUpdate) -> None:
        try:
            await self._trail.escalation(update)
            self._metrics.observe_trail(update)
        except (Refused, Conflict):
            await self._executor.refresh(resources.ESCALATIONS, update.escalation.namespace, update.escalation.name)
            raise
