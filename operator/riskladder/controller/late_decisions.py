"""Decisions on escalations that are not open: a review, what comes too late, and what names none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

from riskladder.api.reasons import Reason
from riskladder.cluster import resources
from riskladder.cluster.client import ApiError, Client, Conflict, NotFound, Refused
from riskladder.controller.caches.entries import LateDecisionKey
from riskladder.controller.caches.reading import read_escalation
from riskladder.controller.caches.store import Store
from riskladder.controller.observations import Observations
from riskladder.controller.people import CACHES_CATCH_UP, People
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.decisions import keep
from riskladder.policy.decisions.apply import decision_status
from riskladder.policy.plan import EscalationUpdate
from riskladder.policy.snapshot import Decision
from riskladder.policy.trail import after_close

LOOK_AGAIN = 1.0
"""Seconds between looks meanwhile."""


class LateDecisions:
    """Answers them, and puts on record what still counts."""

    def __init__(
        self,
        client: Client,
        store: Store,
        trail: TrailWriter,
        people: People,
        seen: Observations,
        *,
        observe: Callable[[EscalationUpdate], None],
        now: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            client: Has the escalations, also those that the caches have let go.
            store: Holds the decisions that have not been judged.
            trail: Writes what became of them.
            people: Asks about their authors.
            seen: Takes what refuses to record them.
            observe: Called with every update that was written.
            now: The current time, UTC.
        """
        self._client = client
        self._store = store
        self._trail = trail
        self._people = people
        self._seen = seen
        self._observe = observe
        self._now = now

    async def write(self, key: LateDecisionKey) -> float | None:
        """Judge what was decided on an escalation that is not open, and write what becomes of it.

        Returns:
            Seconds after which to look again, where the caches may be behind.

        Raises:
            ApiError: A request was refused or not answered. What refuses to record a decision joins the ladders.
        """
        name = (key.namespace, key.name)
        try:
            again = await self._judge(key)
        except ApiError as error:
            if not error.is_transient and not error.is_final and not isinstance(error, (Conflict, Refused)):
                self._seen.late(name, error.message)
            raise
        self._seen.late(name, "")
        return again

    async def _judge(self, key: LateDecisionKey) -> float | None:
        pending = self._store.decisions.undecided(key.namespace, key.name)
        if not pending:
            return None
        try:
            stored = await self._client.get(resources.ESCALATIONS, key.namespace, key.name)
        except NotFound:
            return await self._not_found(pending)
        escalation = read_escalation(stored)
        if escalation is None or escalation.is_open:
            self._store.put(resources.ESCALATIONS, stored)
            return LOOK_AGAIN
        proof = await self._people.ask([(escalation, keep.first_of(pending))])
        known = self._store.decisions.undecided(key.namespace, key.name)
        if not known:
            return None
        knows_credentials = self._people.knows_credentials
        trail = after_close(escalation, known, proof, self._now(), knows_credentials=knows_credentials)
        if trail.update.entries or trail.update.status != escalation.status:
            if not await self._trail.escalation(trail.update):
                return LOOK_AGAIN  # it is gone: nothing keeps what would be answered
            self._observe(trail.update)
        for update in trail.decisions:
            await self._trail.decision(update)
        return 0.0 if len(pending) > keep.AT_ONCE else None

    async def _not_found(self, pending: Iterable[Decision]) -> float | None:
        again = None
        for decision in pending:
            if self._now() - decision.created < CACHES_CATCH_UP:
                again = LOOK_AGAIN
                continue
            if decision.status.conditions:  # it was answered while there was one: that stands
                self._store.decisions.settle(decision)
                continue
            name = decision.spec.escalation
            message = f"spec.escalation: there is no Escalation {name} in namespace {decision.namespace}"
            reason = Reason.ESCALATION_NOT_FOUND
            await self._trail.decision(decision_status(decision, reason, message, self._now(), counted=False))
        return again
