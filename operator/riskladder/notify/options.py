"""What the reader of a message can do: each act with who may take it and the exact command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from riskladder.api.decision import DecisionAction, Resolution
from riskladder.api.escalation import EscalationSpec, Notification, PinnedPolicy, SignalRef
from riskladder.api.reasons import Reason
from riskladder.api.tiers import ContainmentWhen, Quorum, QuorumMember, Tier

CONTAINED = frozenset(
    {
        Reason.CONTAINMENT_INTENDED,
        Reason.CONTAINMENT_APPLIED,
        Reason.CONTAINMENT_LATE,
        Reason.CONTAINMENT_INEFFECTIVE,
        Reason.CONTAINMENT_UNDONE,
        Reason.CONTAINED_AGAIN,
        Reason.CONTAINED_BY_HAND,
        Reason.INTERIM_CONTAINMENT,
        Reason.SCALED_TO_ZERO,
        Reason.ROLLED_BACK,
        Reason.FELL_BACK,
        Reason.ISOLATED,
        Reason.ALREADY_AT_ZERO,
        Reason.BREACHED_AGAIN,
    }
)
"""The reasons of messages that say the model is held, whatever its tier says."""


@dataclass(frozen=True, slots=True)
class Option:
    """One act."""

    what: str
    who: str
    command: str


def options(
    namespace: str, name: str, spec: EscalationSpec, notification: Notification, signal: SignalRef, status: str
) -> tuple[Option, ...]:
    """The acts that this message offers; after the end only a look at it.

    Whether one will count is decided when it is taken: the escalation may have moved on since the message was queued.
    """
    role, tiers = notification.role, spec.policy.tiers
    show = Option("See all of it", "anyone who may read escalations", _command("show", name, namespace))
    if status == "resolved":
        return (show,)
    at = next((i for i, tier in enumerate(tiers) if tier.name == notification.tier), -1)
    tier = tiers[at] if at >= 0 else None
    held = _is_held(spec, notification, signal, tier)

    def mine(action: DecisionAction, what: str, word: str, *more: str) -> Option:
        return Option(
            what, f"anyone with the verb {action.verb} on {role}", _decide(word, name, namespace, role, *more)
        )

    def agreed(quorum: Quorum, what: str, word: str, *more: str) -> Option:
        seat = _seat(spec.policy, quorum, role)
        return Option(what, describe_quorum(quorum), _decide(word, name, namespace, seat, *more))

    offered = []
    if status == "firing":
        offered.append(mine(DecisionAction.ACKNOWLEDGE, "Acknowledge: you take it", "ack"))
    if not held:
        offered.append(mine(DecisionAction.CONTAIN, "Take the model out of service now", "contain"))
    if tier is not None and tier.accept_risk is not None and tier.decide is not None:
        # A duration counts from when the command is run; a date would be past the limit by the end of its day.
        longest = str(tier.accept_risk.at_most)
        what = f"Accept the risk, for at most {longest}"
        offered.append(agreed(tier.decide.quorum, what, "accept-risk", "--until", longest))
    if held and tier is not None and (quorum := _resumers(tier)):
        offered.append(agreed(quorum, "Bring the model back", "resume"))
    if 0 <= at < len(tiers) - 1:
        higher = tiers[at + 1].name
        offered.append(mine(DecisionAction.ESCALATE, f"Enter tier {higher}", "escalate", "--tier", higher))
    offered.append(mine(DecisionAction.OBJECT, "Object: no risk is accepted, nothing resumed", "object"))
    if closers := _closers(spec.policy, tier):
        final = (
            (Resolution.RETIRED,) if held else (Resolution.REMEDIATED, Resolution.FALSE_POSITIVE, Resolution.RETIRED)
        )
        for resolution in final:
            offered.append(agreed(closers, _CLOSE[resolution], "close", "--resolution", resolution.value))
    return (*offered, show)


_CLOSE = {
    Resolution.REMEDIATED: "Close it: the cause is removed",
    Resolution.FALSE_POSITIVE: "Close it: it was a false alarm",
    Resolution.RETIRED: "Close it: the model is given up",
}


def describe_quorum(quorum: Quorum) -> str:
    """``1 x legal and 1 x executive``."""
    return " and ".join(f"{member.count} x {member.role}" for member in quorum)


def _is_held(spec: EscalationSpec, notification: Notification, signal: SignalRef, tier: Tier | None) -> bool:
    if spec.drill:
        return False  # Its containment is a dry run: there is nothing to bring back.
    manual = signal.manual
    if notification.about in CONTAINED or (manual is not None and manual.containment is not None):
        return True
    containment = tier.containment if tier is not None else None
    return containment is not None and containment.when is ContainmentWhen.IMMEDIATELY


def _seat(policy: PinnedPolicy, quorum: Quorum, role: str) -> str:
    """The role in which the reader can take a seat, or else the first that is asked."""
    alternates = {s.role: s.alternates for s in policy.stakeholders}
    if any(role == member.role or role in alternates.get(member.role, ()) for member in quorum):
        return role
    return quorum[0].role


def _resumers(tier: Tier) -> Quorum:
    if tier.resume is not None:
        return tier.resume.quorum
    return tier.decide.quorum if tier.decide is not None else ()


def _closers(policy: PinnedPolicy, tier: Tier | None) -> Quorum:
    """Who must agree to close, by the rule that counts the votes: somebody always can."""
    if tier is not None and (asked := tier.decide or tier.resume):
        return asked.quorum
    if policy.charter is not None:
        return (QuorumMember(role=policy.charter.owner),)
    roles = [n.role for n in tier.notify] if tier is not None else []
    roles += [s.role for s in policy.stakeholders]
    return (QuorumMember(role=roles[0]),) if roles else ()


def _command(word: str, name: str, namespace: str) -> str:
    return f"kubectl riskladder {word} {shlex.quote(name)} -n {shlex.quote(namespace)}"


def _decide(word: str, name: str, namespace: str, role: str, *more: str) -> str:
    extra = "".join(f" {shlex.quote(part)}" for part in more)
    return f"{_command(word, name, namespace)} --role {shlex.quote(role)}{extra} --rationale '…'"
