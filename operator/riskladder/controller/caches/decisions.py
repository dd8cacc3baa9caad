"""The cache of decisions that have not been judged yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import structlog
from pydantic import ValidationError

from riskladder.api.decision import DecisionAction, DecisionStatus, EscalationDecisionSpec
from riskladder.controller.caches.endpoints import Name, Object
from riskladder.controller.caches.reading import created_at
from riskladder.policy.snapshot import Decision

log = structlog.get_logger(__name__)


class DecisionCache:
    """Every decision that waits to be judged, by its escalation: also one whose answer nothing is known to keep."""

    def __init__(self, *, decided: Callable[[Name, bool], None]) -> None:
        """Start empty.

        Args:
            decided: Called with the escalation of each new decision, and whether that is urgent.
        """
        self._decided = decided
        self._entries: dict[Name, dict[str, Decision]] = defaultdict(dict)

    def put(self, obj: Object) -> None:
        """Take in a decision, or forget it where it has been judged meanwhile."""
        metadata = obj["metadata"]
        try:
            spec = EscalationDecisionSpec.model_validate(obj["spec"])
            status = DecisionStatus.model_validate(obj.get("status") or {})
        except ValidationError:
            log.warning("decision left out", namespace=metadata["namespace"], name=metadata["name"])
            return
        name = (metadata["namespace"], spec.escalation)
        if status.is_settled:
            self._forget(name, metadata["name"])
            return
        before = self._entries[name].get(metadata["name"])
        self._entries[name][metadata["name"]] = Decision(
            namespace=metadata["namespace"],
            name=metadata["name"],
            uid=metadata["uid"],
            generation=metadata.get("generation", 0),
            created=created_at(metadata),
            spec=spec,
            status=status,
            authorized=before.authorized if before and before.uid == metadata["uid"] else None,
        )
        self._decided(name, spec.action is DecisionAction.CONTAIN)

    def drop(self, obj: Object) -> None:
        """Forget a deleted decision."""
        namespace, gone = obj["metadata"]["namespace"], obj["metadata"]["name"]
        for name in [n for n, by_name in self._entries.items() if n[0] == namespace and gone in by_name]:
            if self._entries[name][gone].uid == obj["metadata"]["uid"]:
                self._forget(name, gone)

    def settle(self, decision: Decision) -> None:
        """Forget a decision whose answer stands."""
        self._forget((decision.namespace, decision.spec.escalation), decision.name)

    def _forget(self, name: Name, decision: str) -> None:
        self._entries[name].pop(decision, None)
        if not self._entries[name]:
            del self._entries[name]

    def __contains__(self, escalation: Name) -> bool:
        return escalation in self._entries

    def undecided(self, namespace: str, escalation: str) -> tuple[Decision, ...]:
        """Return the decisions on an escalation that have not been judged, in the order in which they were made."""
        found = self._entries.get((namespace, escalation), {}).values()
        return tuple(sorted(found, key=lambda d: (d.created, d.name)))

    def authorize(self, decision: Decision, allowed: bool) -> None:
        """Keep what the API server's authorizer says of a decision."""
        by_name = self._entries.get((decision.namespace, decision.spec.escalation), {})
        known = by_name.get(decision.name)
        if known is not None and known.uid == decision.uid:
            by_name[decision.name] = replace(known, authorized=allowed)
