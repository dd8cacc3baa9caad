"""Rungs: which tier an escalation stands at, whose move it is, and until when."""

from __future__ import annotations

from datetime import datetime

from riskladder.api.escalation import ClockStatus, Rung
from riskladder.api.reasons import Reason
from riskladder.policy.contain import LABEL_TIER
from riskladder.policy.evaluate import rank, tier_of
from riskladder.policy.judge import Group
from riskladder.policy.snapshot import Escalation


def current_tier(escalation: Escalation, group: Group | None) -> str:
    """The tier it stands at: the worst one reached so far. A better reading never lowers a rung by itself."""
    policy = escalation.spec.policy
    reached = [escalation.labels.get(LABEL_TIER, ""), escalation.status.tier or "", group.tier if group else ""]
    reached += [intent.tier for intent in escalation.spec.intents]
    return max(reached, key=lambda tier: rank(policy, tier))


def enter(escalation: Escalation, tier: str, now: datetime) -> Rung:
    """The rung of a tier: kept while the tier stays, entered with absolute deadlines when it changes.

    Deadlines are computed once and stored, so that a restart or a clock jump neither repeats nor skips one.
    """
    before = escalation.status.rung
    if before is not None and before.tier == tier:
        return before
    pinned = tier_of(escalation.spec.policy, tier)
    intent = next((i for i in escalation.spec.intents if i.tier == tier), None)
    if intent is not None:
        entered = intent.intended_at
    elif before is None and escalation.spec.evidence is not None:
        entered = escalation.spec.evidence.taken_at
    else:
        entered = now
    return Rung(
        tier=tier,
        entered_at=entered,
        reason=str(Reason.ESCALATION_OPENED if before is None else Reason.TIER_RAISED),
        acknowledge_by=entered + pinned.acknowledge.within.delta if pinned and pinned.acknowledge else None,
        decide_by=entered + pinned.decide.within.delta if pinned and pinned.decide else None,
    )


def waiting_on(escalation: Escalation, tier: str) -> tuple[str, ...]:
    """The roles whose move it is: the deciders of the rung, or those told on entering it, or the charter's owner."""
    pinned = tier_of(escalation.spec.policy, tier)
    if pinned is not None and pinned.decide is not None:
        return tuple(sorted({member.role for member in pinned.decide.quorum}))
    if pinned is not None and pinned.notify:
        return tuple(sorted({notify.role for notify in pinned.notify}))
    charter = escalation.spec.policy.charter
    return (charter.owner,) if charter else ()


def next_deadline(rung: Rung, now: datetime) -> datetime | None:
    """The next time by which somebody must act: the earliest ahead, else the last one missed."""
    deadlines = sorted(d for d in (rung.acknowledge_by, rung.decide_by) if d is not None)
    ahead = [d for d in deadlines if d > now]
    return ahead[0] if ahead else (deadlines[-1] if deadlines else None)


def clocks(escalation: Escalation, tier: str, rung: Rung) -> tuple[ClockStatus, ...]:
    """The regulatory clocks running so far; one that has started is never moved or removed."""
    running: dict[str, ClockStatus] = {clock.name: clock for clock in escalation.status.clocks}
    pinned = tier_of(escalation.spec.policy, tier)
    for clock in pinned.clocks if pinned else ():
        running.setdefault(
            clock.name,
            ClockStatus(
                name=clock.name,
                role=clock.role,
                started_at=rung.entered_at,
                due_at=rung.entered_at + clock.within.delta,
            ),
        )
    return tuple(sorted(running.values(), key=lambda clock: clock.name))
