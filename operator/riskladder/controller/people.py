"""What the API server is asked before a decision counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

import structlog

from riskladder.api.conditions import ConditionStatus, find
from riskladder.api.decision import DecisionAction
from riskladder.api.reasons import ConditionType
from riskladder.cluster import authority, ledger
from riskladder.cluster.client import ApiError, Client
from riskladder.controller.caches.store import Store
from riskladder.controller.trail_writer import TrailWriter
from riskladder.policy.escalation.rungs import opened_at
from riskladder.policy.plan import DecisionUpdate
from riskladder.policy.snapshot import Decision, Escalation, PolicyInForce

log = structlog.get_logger(__name__)

CACHES_CATCH_UP = timedelta(seconds=5)
"""How long after a decision its escalation may still be on its way into the caches."""

PROOF_FOR = 5.0
"""Seconds for which all ladders share one look at the admission policy."""


def asks_to_contain(decisions: Mapping[str, Iterable[Decision]]) -> bool:
    """Return whether somebody has pressed the stop button: to judge that waits for no gate."""
    return any(d.spec.action is DecisionAction.CONTAIN for found in decisions.values() for d in found)


class People:
    """Identity and authority, asked again whenever something is about to count."""

    def __init__(self, client: Client, store: Store, trail: TrailWriter) -> None:
        """Prepare.

        Args:
            client: Where to ask.
            store: Holds the decisions that have not been judged.
            trail: Writes answers anew that do not say who keeps them.
        """
        self._known: tuple[float, PolicyInForce] | None = None
        self.knows_credentials = False
        """Whether the API server says with which credential somebody calls, as it does of the operator."""
        self._client = client
        self._store = store
        self._trail = trail

    async def proof(self) -> PolicyInForce:
        """Return whether the admission policy that proves who decided is in force, as the API server says now.

        Raises:
            ApiError: It could not be asked.
        """
        found = await authority.proof(self._client)
        return PolicyInForce(found.missing, found.since)

    async def learn_credentials(self) -> None:
        """See whether the API server knows credentials, unless it is known to.

        Raises:
            ApiError: It could not be asked.
        """
        if not self.knows_credentials:
            self.knows_credentials = bool((await authority.who_am_i(self._client)).credential_id)

    async def ask(self, decided: Iterable[tuple[Escalation, Sequence[Decision]]]) -> PolicyInForce | None:
        """Ask about the authors of decisions; ``None`` where there is nothing to ask about.

        Args:
            decided: Escalations, with what was decided on each.

        Raises:
            ApiError: The API server could not be asked: the decisions wait.
        """
        found = [d for escalation, decisions in decided for d in await self._unanswered(escalation, decisions)]
        if not found:
            return None
        proof = await self.proof()
        self._known = (time.monotonic(), proof)
        await asyncio.gather(*(self._ask(decision) for decision in found))
        return proof

    async def _unanswered(self, escalation: Escalation, decisions: Sequence[Decision]) -> Sequence[Decision]:
        """Return the decisions that are to be judged: not those of which the answer turns out to be on record.

        An answer that does not say who keeps it is of an older version, which may have given it too early; a refusal
        stands. What was decided before the escalation was opened was about another one of its name. Where the records
        cannot be asked, only what has such an answer waits.
        """
        known = {counted.uid for counted in escalation.status.decisions}
        unknown = [(d, find(d.status.conditions, ConditionType.ACCEPTED)) for d in decisions if d.uid not in known]
        accepted = [d for d, said in unknown if said is not None and said.status is ConditionStatus.TRUE]
        refused = [d for d, said in unknown if said is not None and said.status is ConditionStatus.FALSE]
        left = {d.uid for d in (*accepted, *refused)}
        for decision in refused:
            self._store.decisions.settle(decision)
        if accepted:
            try:
                left -= {d.uid for d in accepted} - await self._kept(escalation, accepted)
            except ApiError as error:
                log.warning("answers not looked for on record", escalation=escalation.name, error=error.message)
        return [d for d in decisions if d.uid not in left]

    async def _kept(self, escalation: Escalation, answered: Iterable[Decision]) -> set[str]:
        """Return the uids of the decisions of which the answer is on record, having it say so.

        Raises:
            ApiError: The records could not be read, or an answer not be written.
        """
        entries = await ledger.behind(self._client, escalation.namespace, escalation.name, None)
        keys = {entry["detail"].get(ledger.KEY) for entry in entries}
        kept = set[str]()
        for decision in answered:
            is_recorded = f"{escalation.uid}/decision/{decision.uid}" in keys
            if is_recorded:
                status = decision.status.model_copy(update={"escalation_uid": escalation.uid})
                await self._trail.decision(DecisionUpdate(decision, status))
            if is_recorded or decision.created < opened_at(escalation) - CACHES_CATCH_UP:
                self._store.decisions.settle(decision)
                kept.add(decision.uid)
        return kept

    async def _ask(self, decision: Decision) -> None:
        spec = decision.spec
        allowed = spec.decided_by is not None and await authority.may(
            self._client, decision.namespace, spec.decided_by, spec.action.verb, spec.role
        )
        self._store.decisions.authorize(decision, allowed)

    async def proof_or_why(self, *, afresh: bool = False) -> PolicyInForce:
        """Return the same for the conditions of ladders, some seconds old; a failed request is an answer, too."""
        known = self._known
        if not afresh and known is not None and time.monotonic() - known[0] < PROOF_FOR:
            return known[1]
        try:
            found = await self.proof()
        except ApiError as error:
            found = PolicyInForce(f"the API server could not be asked: {error}")
        self._known = (time.monotonic(), found)
        return found
