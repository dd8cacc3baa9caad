"""What is asked of people, by when, and what happens by itself if nobody does it; said by messages and by ``show``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from riskladder.api.escalation import ClockStatus, EscalationSpec, Rung, WithheldStatus
from riskladder.api.tiers import ContainmentAction, ContainmentWhen, Tier, TimeoutAction, adds
from riskladder.policy.quorum import answerable, described
from riskladder.policy.signals.evaluate import tier_of
from riskladder.workloads.safe_states import words

ACKNOWLEDGE, DECIDE, CONTAIN = "acknowledge", "decide", "decide whether it is contained"


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that is asked for, with its deadline."""

    what: str
    """In words that ``by`` follows: ``acknowledge``, ``decide``, ``meet art-73``."""
    by: datetime
    who: str
    """Of whom, in words."""
    otherwise: str = ""
    """What happens at that time if nobody does it, in words that ``otherwise`` precedes; empty: nothing by itself."""
    is_duty: bool = False


def demands(
    spec: EscalationSpec,
    rung: Rung,
    now: datetime,
    *,
    waits: bool,
    answered: bool,
    contained: Iterable[ContainmentAction] = (),
    withheld: WithheldStatus | None = None,
    clocks: Iterable[ClockStatus] = (),
) -> tuple[Demand, ...]:
    """Return what is still asked for, what is due first in front; deadlines that were missed have had their effect.

    Args:
        spec: The escalation's spec.
        rung: Where it stands.
        now: The time.
        waits: Whether people are waited for on this rung.
        answered: Whether some role has answered on it, which meets the deadline to acknowledge.
        contained: The safe states in force.
        withheld: The containment that waits because of the blast radius.
        clocks: The duties.
    """
    tier, active = tier_of(spec.policy, rung.tier), tuple(contained)
    found = list(_of_rung(spec, tier, rung, now, active, answered=answered)) if waits and tier is not None else []
    if waits and withheld is not None and withheld.ended_at is None:
        pinned = tier_of(spec.policy, withheld.tier)
        effect = _contains(spec, pinned, active) or "it will be contained"
        found.append(Demand(CONTAIN, withheld.until, "anyone who may contain", effect))
    found += [
        Demand(f"meet {clock.name}", clock.due_at, clock.role, is_duty=True) for clock in clocks if clock.met_at is None
    ]
    return tuple(sorted((d for d in found if d.by > now or d.is_duty), key=lambda d: (d.is_duty, d.by)))


def _of_rung(
    spec: EscalationSpec,
    tier: Tier,
    rung: Rung,
    now: datetime,
    active: tuple[ContainmentAction, ...],
    *,
    answered: bool,
) -> Iterable[Demand]:
    effect = on_timeout(spec, tier, active)
    stalls_at = stall_deadline(spec, rung)
    if not answered and rung.acknowledge_by is not None and stalls_at is not None and rung.stalled_at is None:
        first = rung.acknowledge_by > now
        later = f"those who stand in are notified, and if nobody answers by {stalls_at:%Y-%m-%d %H:%M} UTC, {effect}"
        by = rung.acknowledge_by if first else stalls_at
        yield Demand(ACKNOWLEDGE, by, "anyone who was notified", later if first and stalls_at > by else effect)
    if rung.decide_by is not None and tier.decide is not None and rung.decided_at is None:
        yield Demand(
            DECIDE,
            rung.decide_by,
            described(tier.decide.quorum),
            effect if rung.stalled_at is None else _stays(spec, tier, active),
        )


def stall_deadline(spec: EscalationSpec, rung: Rung) -> datetime | None:
    """Return when a rung stalls unacknowledged: once the alternates have had as long as the first roles."""
    tier = tier_of(spec.policy, rung.tier)
    if rung.acknowledge_by is None or tier is None or tier.acknowledge is None:
        return None
    has_alternates = any(s.alternates for s in spec.policy.stakeholders if s.role in {n.role for n in tier.notify})
    return rung.acknowledge_by + (tier.acknowledge.within.delta if has_alternates else timedelta())


def next_tier(spec: EscalationSpec, tier: str) -> str | None:
    """Return the next worse tier of the ladder."""
    names = [t.name for t in spec.policy.tiers]
    return names[names.index(tier) + 1] if tier in names[:-1] else None


def on_timeout(spec: EscalationSpec, tier: Tier, active: tuple[ContainmentAction, ...]) -> str:
    """Return what ``onTimeout`` of a tier does, in words."""
    higher = next_tier(spec, tier.name)
    if tier.on_timeout is TimeoutAction.ESCALATE and higher is not None:
        entered = tier_of(spec.policy, higher)
        contains_at_once = (
            entered is not None
            and entered.containment is not None
            and entered.containment.when is ContainmentWhen.IMMEDIATELY
        )
        effect = _contains(spec, entered, active) if contains_at_once else ""
        return f"tier {higher} is entered" + (f", and {effect}" if effect else "")
    if tier.on_timeout is TimeoutAction.CONTAIN and (effect := _contains(spec, tier, active)):
        owner = answerable(spec.policy, tier)
        return effect + (f", and {owner} is notified" if owner else "")
    return _stays(spec, tier, active)


def _contains(spec: EscalationSpec, tier: Tier | None, active: tuple[ContainmentAction, ...]) -> str:
    """Return what the containment of a tier does; nothing where what is in force is as safe."""
    containment = tier.containment if tier is not None else None
    if containment is None or not adds(containment.action, active):
        return ""
    path = words.path_of(containment.fallback) if containment.action is ContainmentAction.FALLBACK else None
    effect = words.sentence(
        f"{spec.target.kind}/{spec.target.name}",
        containment.action,
        target_ref=path,
        connections=containment.connections,
        lock=containment.lock,
        rehearsed=spec.drill,
    )
    other = containment.if_impossible
    if containment.action is ContainmentAction.SCALE_TO_ZERO:
        return effect
    return f"{effect} ({other} where that is impossible)"


def _stays(spec: EscalationSpec, tier: Tier, active: tuple[ContainmentAction, ...]) -> str:
    owner = answerable(spec.policy, tier)
    return f"the model stays {'contained' if active else 'as it is'}" + (f", and {owner} is notified" if owner else "")
