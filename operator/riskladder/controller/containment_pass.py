"""The first phase of one pass: the containment, in one write that says why, before anything else is asked or said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

import structlog

from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Conflict, NotFound, Refused
from riskladder.controller.caches.store import Store
from riskladder.controller.executor import Executor, NotContainable, Stale
from riskladder.controller.observations import Observations
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.plan import Plan, Stop
from riskladder.policy.snapshot import Escalation, Snapshot, TargetKey

log = structlog.get_logger(__name__)


class ContainmentPass:
    """Contains a target, and saves first what no object can carry."""

    def __init__(
        self, store: Store, trail: TrailWriter, executor: Executor, seen: Observations, *, now: Callable[[], datetime]
    ) -> None:
        """Write through the executor, and statuses through the trail.

        Args:
            store: The caches.
            trail: Writes the status of an Escalation.
            executor: Carries out effects.
            seen: What is in memory of the containments.
            now: Returns the current time, UTC.
        """
        self._store = store
        self._trail = trail
        self._executor = executor
        self._seen = seen
        self._now = now
        self.contained = asyncio.Event()
        """Set when something has been contained."""

    async def run(self, key: TargetKey, snapshot: Snapshot, plan: Plan) -> bool:
        """Contain a target; return whether that was tried, or the target has to be looked at again first.

        Args:
            key: The target.
            snapshot: As it was decided upon.
            plan: What was decided.

        Raises:
            ApiError: A write was refused or not answered.
            NotContainable: A write was refused, though nothing has changed.
        """
        stop = plan.stop
        known = next((e for e in snapshot.open if stop is not None and e.name == stop.escalation), None)
        escalation = await self.save(key, plan) if plan.opens else known
        if plan.opens and escalation is None:
            return False
        if stop is not None:
            await self._stop(key, snapshot, escalation, stop)
        return True

    async def save(self, key: TargetKey, plan: Plan) -> Escalation | None:
        """Save an Escalation, or a further intent of one; ``None`` where somebody else has saved it meanwhile.

        What refuses that joins the next snapshot, so that the signals say so. Where it was tried before, the namespace
        may have been deleted and created again since: then there is nothing to be saved.
        """
        home = self._seen.home(key) if plan.opening is not None else ""
        if home and await self._executor.namespace_uid(key.namespace) not in ("", home):
            self._seen.left_behind(key)
            return None
        try:
            saved = await self._save(key, plan)
        except ApiError as error:
            if error.is_final:
                self._seen.left_behind(key)
            elif error.status and plan.noted is not None:
                self._seen.not_written(plan.noted.escalation, error.message)
            elif error.status and plan.opening is not None:
                self._seen.not_saved(key, plan.opening.spec.ladder.name, error.message)
            if plan.opening is not None and not home and not error.is_final:
                self._seen.lives_in(key, await self._executor.namespace_uid(key.namespace) or "")
            raise
        self._seen.saved(key)
        if plan.noted is not None:
            self._seen.written(key.namespace, plan.noted.escalation.uid)
        return saved

    async def _save(self, key: TargetKey, plan: Plan) -> Escalation | None:
        if plan.opening is not None:
            if not await self._executor.open(plan.opening):
                return None
            if (intent := plan.opening.spec.intent) is not None:
                self._seen.measure(key, "intent", intent, self._now())
            return self._store.escalations.get(key, plan.opening.name)
        if plan.noted is None:
            return None
        escalation = plan.noted.escalation
        try:
            await self._trail.status(escalation, plan.noted.status)
        except Refused:
            found = await self._executor.refresh(resources.ESCALATIONS, escalation.namespace, escalation.name)
            if found is not None and found["metadata"]["resourceVersion"] == escalation.resource_version:
                raise  # it is as it was seen, so this is a refusal and to be waited with
            return None
        return self._store.escalations.get(key, escalation.name)

    async def _stop(self, key: TargetKey, snapshot: Snapshot, escalation: Escalation | None, stop: Stop) -> None:
        """Have the target contained; what refuses that joins the next snapshot."""
        assert snapshot.target is not None  # noqa: S101
        try:
            await self._executor.stop(key, snapshot.target, stop)
        except (Conflict, Stale, NotFound):
            raise  # it is looked at again as it is now
        except ApiError as error:
            if error.status:
                self._seen.refused(key, error.message)
            raise
        except NotContainable as error:
            self._seen.refused(key, str(error))
            raise
        self.contained.set()
        self._seen.stopped(key, stop, escalation)
        log.info(
            "contained",
            namespace=key.namespace,
            target=f"{key.kind}/{key.name}",
            escalation=stop.escalation,
            action=str(stop.action),
            again=stop.again,
            reverted_by=stop.reverted_by or None,
        )
