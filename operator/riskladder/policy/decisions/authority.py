"""Whether a decision is one at all: new, made by somebody whose identity is proved, in a role that they hold.

Every rule is a pure function of the draft and the decision. What it takes to answer is known to the operator alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from riskladder.api.base import format_time
from riskladder.api.reasons import Reason
from riskladder.policy.containment.state import may_touch
from riskladder.policy.decisions.keep import served
from riskladder.policy.decisions.rules import CastDecision, Refusal, is_timely, refuse
from riskladder.policy.decisions.standing import Standing
from riskladder.policy.draft import Draft
from riskladder.policy.snapshot import Decision

CLOCKS_AGREE = timedelta(seconds=30)
"""By how much the operator's clock, which dates an act, may be behind the one that dates decisions."""


def refusal_of(draft: Draft, decision: Decision) -> Refusal | None:
    """Return why a decision does not count: the first rule that objects gives the reason."""
    standing, act = standing_of(draft), act_of(decision)
    if (found := _is_new(draft, decision) or is_timely(standing, act, draft.now)) is not None:
        return found
    found = next((refused for rule in _AUTHORITY if (refused := rule(draft, decision))), None)
    return found or refuse(standing, act, draft.now)


def _is_new(draft: Draft, decision: Decision) -> Refusal | None:
    known = next((d for d in draft.decisions if d.name == decision.name), None)
    if known is not None and known.uid != decision.uid:
        return Refusal(Reason.ALREADY_COUNTED, f"a decision named {decision.name} was judged before: use another name")
    # An act as new as the decision is its own, carried out while neither record nor status could be written.
    is_before = decision.created - CLOCKS_AGREE
    if known is None and decision.name in served(draft.escalation, before=is_before):
        return Refusal(
            Reason.ALREADY_COUNTED, f"a decision named {decision.name} has contained before: use another name"
        )
    return None


def _is_proved(draft: Draft, decision: Decision) -> Refusal | None:
    """Refuse an identity that no admission policy, in force when the decision was made, has stamped."""
    proof = draft.snapshot.proof
    if proof is None or proof.missing:
        missing = proof.missing if proof else "nobody has looked yet"
        return Refusal(Reason.NOT_PROVED, f"nothing proves who decided: {missing}")
    if decision.spec.decided_by is None:
        return Refusal(
            Reason.NOT_PROVED, "spec.decidedBy is missing: it was made while no admission policy was in force"
        )
    if proof.since is not None and decision.created <= proof.since:
        message = (
            f"made at {format_time(decision.created)}; what proves who decided holds since {format_time(proof.since)}"
        )
        return Refusal(Reason.NOT_PROVED, f"{message}, some seconds after the policy was applied: create it again")
    return None


def _has_known_role(draft: Draft, decision: Decision) -> Refusal | None:
    """Refuse a role that is none of the ladder the escalation was opened under."""
    known = [s.role for s in draft.policy.stakeholders]
    if decision.spec.role in known:
        return None
    return Refusal(
        Reason.UNKNOWN_ROLE, f"spec.role: {decision.spec.role} is no role of the ladder ({', '.join(known)})"
    )


def _is_authorized(draft: Draft, decision: Decision) -> Refusal | None:
    """Refuse an author who does not hold the verb on the role, as the API server's authorizer says now."""
    if decision.authorized:
        return None
    spec = decision.spec
    verb, resource = spec.action.verb, f"stakeholders.riskladder.dev/{spec.role}"
    message = f"{author(decision)} does not hold the verb {verb} on {resource} now"
    return Refusal(Reason.NOT_AUTHORIZED, message)


_AUTHORITY: tuple[Callable[[Draft, Decision], Refusal | None], ...] = (_is_proved, _has_known_role, _is_authorized)


# --- As the rules see it ----------------------------------------------------------------------------------------------


def act_of(decision: Decision) -> CastDecision:
    """Return a decision as the rules see it."""
    who = decision.spec.decided_by
    groups, credential = (who.groups, who.credential_id) if who else ((), "")
    return CastDecision(decision.spec, author(decision), decision.created, groups, credential)


def author(decision: Decision) -> str:
    """Return who decided."""
    return decision.spec.decided_by.username if decision.spec.decided_by else "unknown"


def standing_of(draft: Draft) -> Standing:
    """Return where an escalation stands in the middle of a trail."""
    return Standing(
        spec=draft.escalation.spec,
        tier_name=draft.rung.tier,
        rung=draft.rung.number,
        decisions=draft.decisions,
        clocks=tuple(draft.clocks.values()),
        intents=tuple(i for i in draft.escalation.intents if i.id > (draft.resume.intent if draft.resume else 0)),
        is_open=not draft.is_closed,
        is_contained=draft.is_contained,
        is_accepted=draft.is_accepted,
        is_restoring=_is_restoring(draft),
        is_reviewed=draft.review is not None,
        is_gone=is_gone(draft),
        entered_at=draft.rung.entered_at,
        owners=frozenset((*(draft.escalation.spec.model.owners if draft.escalation.spec.model else ()), *draft.owners)),
    )


def _is_restoring(draft: Draft) -> bool:
    """Return whether a Resume is still carried out; it never is on a target that is gone, or not ours to touch."""
    ended, workload, escalation = draft.resume, draft.snapshot.target, draft.escalation
    if ended is None or ended.applied_at is not None or escalation.spec.drill or workload is None:
        return False
    return may_touch(workload, escalation)


def is_gone(draft: Draft) -> bool:
    """Return whether the target was deleted; of a kind that is not dealt with nobody knows."""
    snapshot = draft.snapshot
    return snapshot.target is None and not snapshot.unsupported and not draft.escalation.spec.drill
