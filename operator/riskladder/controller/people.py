"""What the API server is asked before a decision counts, and decisions on escalations that are not open any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import structlog

from riskladder.api.decision import DecisionAction
from riskladder.api.reasons import Reason
from riskladder.cluster import authority, resources
from riskladder.cluster.client import ApiError, Client, NotFound
from riskladder.controller.caches.entries import LateDecisionKey
from riskladder.controller.caches.reading import read_escalation
from riskladder.controller.caches.store import Store
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.decisions import keep
from riskladder.policy.decisions.apply import decision_status
from riskladder.policy.plan import EscalationUpdate
from riskladder.policy.snapshot import Decision, PolicyInForce
from riskladder.policy.trail import after_close

log = structlog.get_logger(__name__)

CACHES_CATCH_UP = timedelta(seconds=5)
"""How long after a decision its escalation may still be on its way into the caches."""

PROOF_FOR = 5.0
"""Seconds for which all ladders share one look at the admission policy."""

LOOK_AGAIN = 1.0
"""Seconds between looks meanwhile."""


def asks_to_contain(decisions: Mapping[str, Iterable[Decision]]) -> bool:
    """Return whether somebody has pressed the stop button: to judge that waits for no gate."""
    return any(d.spec.action is DecisionAction.CONTAIN for found in decisions.values() for d in found)


class People:
    """Identity and authority, asked again whenever something is about to count."""

    def __init__(
        self,
        client: Client,
        store: Store,
        trail: TrailWriter,
        *,
        observe: Callable[[EscalationUpdate], None],
        now: Callable[[], datetime],
    ) -> None:
        """Prepare.

        Args:
            client: Where to ask.
            store: Holds the decisions that have not been judged.
            trail: Writes what became of them.
            observe: Called with every update that was written.
            now: The current time, UTC.
        """
        self._observe = observe
        self._known: tuple[float, PolicyInForce] | None = None
        self._client = client
        self._store = store
        self._trail = trail
        self._now = now

    async def proof(self) -> PolicyInForce:
        """Return whether the admission policy that proves who decided is in force, as the API server says now.

        Raises:
            ApiError: It could not be asked.
        """
        found = await authority.proof(self._client)
        return PolicyInForce(found.missing, found.since)

    async def ask(self, decisions: Iterable[Decision]) -> PolicyInForce | None:
        """Ask about the authors of decisions; ``None`` where there is nothing to ask about.

        Raises:
            ApiError: The API server could not be asked: the decisions wait.
        """
        found = list(decisions)
        if not found:
            return None
        proof = await self.proof()
        self._known = (time.monotonic(), proof)
        await asyncio.gather(*(self._ask(decision) for decision in found))
        return proof

    async def _ask(self, decision: Decision) -> None:
        spec = decision.spec
        allowed = spec.decided_by is not None and await authority.may(
            self._client, decision.namespace, spec.decided_by, spec.action.verb, spec.role
        )
        self._store.authorize(decision, allowed)

    async def late_decision(self, key: LateDecisionKey) -> float | None:
        """Judge what was decided on an escalation that is not open: a review, or what comes too late.

        Returns:
            Seconds after which to look again, where the caches may be behind.

        Raises:
            ApiError: A request was refused or not answered.
        """
        pending = self._store.undecided(key.namespace, key.name)
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
        proof = await self.ask(keep.in_turn(pending)[: keep.AT_ONCE])
        known = self._store.undecided(key.namespace, key.name)
        trail = after_close(escalation, known, proof, self._now())
        if trail.update.entries or trail.update.status != escalation.status:
            await self._trail.escalation(trail.update)
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
            name = decision.spec.escalation
            message = f"spec.escalation: there is no Escalation {name} in namespace {decision.namespace}"
            reason = Reason.ESCALATION_NOT_FOUND
            await self._trail.decision(decision_status(decision, reason, message, self._now(), counted=False))
        return again

    async def proof_or_why(self) -> PolicyInForce:
        """Return the same for the conditions of ladders, some seconds old; a failed request is an answer, too."""
        known = self._known
        if known is not None and time.monotonic() - known[0] < PROOF_FOR:
            return known[1]
        try:
            found = await self.proof()
        except ApiError as error:
            found = PolicyInForce(f"the API server could not be asked: {error}")
        self._known = (time.monotonic(), found)
        return found
