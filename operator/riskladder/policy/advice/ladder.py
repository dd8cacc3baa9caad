"""Advice on a policy: what the API server would take, and a reviewer would not.

Each rule is a small pure function from the policy to pieces of advice; ``RULES`` lists them in the order of a ladder.
Nothing here is an error: there may be reasons, and the reader knows them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

from riskladder.api.advice import Advice
from riskladder.api.ladder import EscalationLadderSpec, IndicatorRange, WhenExceeded
from riskladder.api.measurement import indicator_of
from riskladder.api.tiers import (
    Connections,
    Containment,
    ContainmentAction,
    ContainmentWhen,
    QuorumMember,
    Tier,
    Trigger,
)
from riskladder.api.zones import local
from riskladder.workloads.companions import suspend


def advise_ladder(spec: EscalationLadderSpec, today: date) -> list[Advice]:
    """Return everything that a reviewer would ask about a ladder.

    Args:
        spec: A ladder that ``api.validation`` has nothing against.
        today: The date that decides whether the charter's review is overdue.
    """
    return [*_review(spec, today), *(advice for rule in RULES for advice in rule(spec))]


# --- Who answers --------------------------------------------------------------------------------------------------


def _review(spec: EscalationLadderSpec, today: date) -> Iterator[Advice]:
    if spec.charter is None:
        yield Advice(
            "no-charter",
            "spec",
            "nobody answers for the policy: a rung that stalls has no owner to be notified",
            "add charter: {owner: …} with a stakeholder role",
        )
    elif spec.charter.review is None:
        yield Advice(
            "no-review",
            "spec.charter",
            "the policy is never reviewed: thresholds that no longer fit stay in force",
            "add review: {every: 90d, lastReviewed: …}",
        )
    elif (last := spec.charter.review.last_reviewed) is not None:
        due = last + spec.charter.review.every.delta
        if last > today:
            yield Advice(
                "review-in-future",
                "spec.charter.review.lastReviewed",
                f"the last review is dated {last}, which is still to come",
                "give the day of the review that took place",
            )
        elif due < today:
            yield Advice(
                "review-overdue",
                "spec.charter.review",
                f"the review is overdue: it was due on {due}",
                "review the policy and set lastReviewed",
            )


def _stakeholder_unused(spec: EscalationLadderSpec) -> Iterator[Advice]:
    named = ({spec.charter.owner} if spec.charter else set()) | {c.role for c in spec.source_contacts}
    for stakeholder in spec.stakeholders:
        named |= set(stakeholder.alternates)
    for tier in spec.tiers:
        named |= {n.role for n in tier.notify} | {c.role for c in tier.clocks}
        named |= {member.role for member in (*_deciders(tier), *(tier.resume.quorum if tier.resume else ()))}
    for index, stakeholder in enumerate(spec.stakeholders):
        if stakeholder.role not in named:
            yield Advice(
                "stakeholder-unused",
                f"spec.stakeholders[{index}]",
                f"role {stakeholder.role} is neither notified nor asked by any tier",
                "name it in notify, a quorum or alternates, or remove it",
            )


def _stakeholder_unreachable(spec: EscalationLadderSpec) -> Iterator[Advice]:
    notified_roles = {notify.role for tier in spec.tiers for notify in tier.notify}
    notified_roles |= {contact.role for contact in spec.source_contacts}
    for index, stakeholder in enumerate(spec.stakeholders):
        if stakeholder.role in notified_roles and not stakeholder.notify:
            yield Advice(
                "stakeholder-without-channel",
                f"spec.stakeholders[{index}]",
                f"role {stakeholder.role} is notified through Events only, which nobody is woken by",
                "add notify with a channel",
            )


def _time_zone_unknown(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for index, stakeholder in enumerate(spec.stakeholders):
        if stakeholder.time_zone and local(datetime(2026, 1, 1, tzinfo=UTC), stakeholder.time_zone) is None:
            yield Advice(
                "time-zone-unknown",
                f"spec.stakeholders[{index}].timeZone",
                f"no time zone is named {stakeholder.time_zone}: messages to role {stakeholder.role} give UTC only",
                "write its IANA name, for example Europe/Berlin",
            )


def _channel_unused(spec: EscalationLadderSpec) -> Iterator[Advice]:
    used = {name for stakeholder in spec.stakeholders for name in stakeholder.notify}
    for index, channel in enumerate(spec.channels):
        if channel.name not in used:
            yield Advice(
                "channel-unused",
                f"spec.channels[{index}]",
                f"channel {channel.name} reaches nobody",
                "name it in notify of a stakeholder, or remove it",
            )


def _impersonation_allowed(spec: EscalationLadderSpec) -> Iterator[Advice]:
    """Ask for a choice: whether false is possible depends on how the people of the cluster are authenticated."""
    if spec.decisions is None and any(_deciders(tier) or tier.resume for tier in spec.tiers):
        yield Advice(
            "impersonation-allowed",
            "spec",
            "whoever may impersonate somebody of a role resumes the model in their name",
            "add decisions: {allowImpersonated: false}, or true where `kubectl auth whoami -o yaml` shows people no "
            "credential-id",
        )


# --- What is measured ---------------------------------------------------------------------------------------------


def _silence_unnoticed(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for index, indicator in enumerate(spec.indicators):
        if indicator.stale_after is None:
            yield Advice(
                "silence-unnoticed",
                f"spec.indicators[{index}]",
                f"indicator {indicator.name} is never stale: that its monitor has stopped is never noticed",
                "add staleAfter, and whenStale to make silence a risk of its own",
            )


def _indicator_unused(spec: EscalationLadderSpec) -> Iterator[Advice]:
    used = {trigger.indicator for tier in spec.tiers for trigger in tier.triggers}
    for index, indicator in enumerate(spec.indicators):
        if indicator.name not in used and indicator.when_stale is None:
            yield Advice(
                "indicator-unused",
                f"spec.indicators[{index}]",
                f"indicator {indicator.name} has no trigger: no value of it puts a model in any tier",
                "add a trigger to a tier, or remove it",
            )


def _threshold_outside_range(spec: EscalationLadderSpec) -> Iterator[Advice]:
    """Check that every trigger can be reached within the range of its indicator, and left again."""
    for path, tier in _tiers(spec):
        for index, trigger in enumerate(tier.triggers):
            declared = indicator_of(spec.indicators, trigger.indicator)
            for field, what in _out_of_reach(trigger, declared.range if declared else None):
                yield Advice(
                    "threshold-outside-range",
                    f"{path}.triggers[{index}].{field}",
                    f"indicator {trigger.indicator} counts {declared.range if declared else ''}: {what}",
                    "give the threshold and the range in the same unit",
                )


def _out_of_reach(trigger: Trigger, bounds: IndicatorRange | None) -> Iterator[tuple[str, str]]:
    if bounds is None:
        return
    least = -math.inf if bounds.min is None else bounds.min
    most = math.inf if bounds.max is None else bounds.max
    side, threshold, breached, always = "above", trigger.above, most, least
    if threshold is None:
        side, threshold, breached, always = "below", trigger.below or 0.0, least, most
    sign = 1 if side == "above" else -1
    if sign * breached <= sign * threshold:
        yield side, f"no such value is {side} {threshold:g}, so that the tier is never breached"
    elif sign * always > sign * threshold:
        yield side, f"each such value is {side} {threshold:g}, so that the tier is always breached"
    if trigger.clears_at is not None and sign * always > sign * trigger.clears_at:
        yield "clearsAt", f"no such value reaches {trigger.clears_at:g}, so that a breach never clears"


def _containment_delayed(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, tier in _tiers(spec):
        for index, trigger in enumerate(tier.triggers):
            if _contains_at_once(tier) and trigger.readings > 1:
                yield Advice(
                    "containment-delayed",
                    f"{path}.triggers[{index}].readings",
                    f"the model runs on until {trigger.readings} readings in a row have breached {trigger.indicator}",
                    "use readings: 1 where the model is contained, or send readings often",
                )


# --- Who is notified and asked ----------------------------------------------------------------------------------------


def _nobody_notified(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, tier in _tiers(spec):
        if not tier.notify:
            what = "the model is contained and nobody is notified" if tier.containment else "nobody is notified"
            yield Advice("nobody-notified", path, f"tier {tier.name}: {what}", "add notify with a role")


def _deciders_not_notified(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, tier in _tiers(spec):
        notified_roles = {notify.role for notify in tier.notify}
        asked = {f"decide.quorum[{index}]": member.role for index, member in enumerate(_deciders(tier))}
        if tier.resume is not None:
            asked |= {f"resume.quorum[{index}]": member.role for index, member in enumerate(tier.resume.quorum)}
        for where, role in asked.items() if notified_roles else ():
            if role not in notified_roles:
                notified_roles.add(role)  # once is enough
                yield Advice(
                    "decider-not-notified",
                    f"{path}.{where}",
                    f"tier {tier.name}: role {role} has to decide and is not notified",
                    f"add {{role: {role}}} to notify",
                )


def _deciders_notified_too_late(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, tier in _tiers(spec):
        if tier.decide is None:
            continue
        for index, notify in enumerate(tier.notify):
            asked = any(member.role == notify.role for member in _deciders(tier))
            if asked and notify.after.delta >= tier.decide.within.delta:
                yield Advice(
                    "decider-notified-too-late",
                    f"{path}.notify[{index}].after",
                    f"tier {tier.name}: role {notify.role} is notified after {notify.after} and has to decide within "
                    f"{tier.decide.within}",
                    "notify it earlier, or give more time",
                )


def _deadlines(spec: EscalationLadderSpec) -> Iterator[Advice]:
    """Check the deadlines: a serious tier needs both; any tier that has the second needs the first."""
    for path, tier in _tiers(spec):
        serious = tier.containment is not None or tier is spec.tiers[-1]
        if tier.decide is not None and tier.acknowledge is None:
            yield Advice(
                "decide-without-acknowledge",
                path,
                f"tier {tier.name}: that nobody has taken notice shows only after {tier.decide.within}, when the "
                "decision is overdue",
                "add acknowledge: {within: …, remindEvery: …}",
            )
        elif serious and tier.acknowledge is None:
            yield Advice(
                "no-deadline",
                path,
                f"tier {tier.name}: nobody has to take notice or to decide, however long it lasts",
                "add acknowledge and decide",
            )
        elif serious and tier.decide is None:
            yield Advice(
                "no-decision",
                path,
                f"tier {tier.name}: nobody is asked for a decision, once it is acknowledged it may stay as it is",
                "add decide: {within: …, quorum: […]}",
            )


# --- What happens to the model ------------------------------------------------------------------------------------


def _lock_off(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, _, containment in _containments(spec):
        if not containment.lock:
            yield Advice(
                "lock-off",
                f"{path}.lock",
                "an autoscaler, a GitOps sync or an administrator can revert the containment; it is re-applied, "
                "and the model serves in between",
                "use lock: true, the default, unless something must write these fields meanwhile",
            )


def _cannot_suspend(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, _, containment in _containments(spec):
        for index, suspended in enumerate(containment.also_suspend):
            if suspended.kind not in suspend.KINDS:
                yield Advice(
                    "cannot-suspend",
                    f"{path}.alsoSuspend[{index}]",
                    f"a {suspended.kind} cannot be suspended: {suspended.name} goes on",
                    f"name one of {', '.join(suspend.KINDS)}",
                )


def _if_impossible(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, _, containment in _containments(spec):
        given = "if_impossible" in containment.model_fields_set
        # A ladder that comes from the cluster has every default filled in: nobody wrote it.
        default = containment.if_impossible is ContainmentAction.SCALE_TO_ZERO
        if containment.action is ContainmentAction.ROLLBACK and not given:
            yield Advice(
                "rollback-may-stop-the-model",
                path,
                f"where no good revision is known, a Rollback becomes {containment.if_impossible}, the default",
                "write ifImpossible, so that readers of the policy know it",
            )
        elif containment.action in (ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ISOLATE) and not default:
            yield Advice(
                "if-impossible-unused",
                f"{path}.ifImpossible",
                "ScaleToZero is always possible: ifImpossible has no effect"
                if containment.action is ContainmentAction.SCALE_TO_ZERO
                else "what cannot be isolated is scaled to zero: ifImpossible has no effect",
                "remove it",
            )


def _connections_unused(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, _, containment in _containments(spec):
        isolates = ContainmentAction.ISOLATE in (containment.action, containment.if_impossible)
        if containment.connections is Connections.CLOSE and not isolates:
            yield Advice(
                "connections-unused",
                f"{path}.connections",
                "only an Isolate leaves connections open that could be closed: this tier never isolates",
                "remove it",
            )


def _no_blast_radius(spec: EscalationLadderSpec) -> Iterator[Advice]:
    """Warn that a monitor that is broken may breach for every model at once."""
    at_once = [tier for _, tier in _tiers(spec) if _contains_at_once(tier)]
    radius = spec.blast_radius
    diverts = any(tier.containment and tier.containment.fallback for tier in at_once)
    if at_once and radius is None:
        yield Advice(
            "no-blast-radius",
            "spec",
            f"tier {at_once[0].name} contains models at once, and nothing bounds how many: one broken monitor may stop "
            "all of them",
            "add blastRadius: {atMost: 30%}, and beyond that people are asked first",
        )
    elif radius is not None and radius.when_exceeded is WhenExceeded.FALLBACK and not diverts:
        yield Advice(
            "blast-radius-without-fallback",
            "spec.blastRadius.whenExceeded",
            "no tier that contains at once names a fallback: Fallback is as AskFirst",
            "add fallback to a containment, or use AskFirst",
        )


def _closes_when_unused(spec: EscalationLadderSpec) -> Iterator[Advice]:
    for path, tier in _tiers(spec):
        if tier.closes_when is not None and _contains_at_once(tier):
            yield Advice(
                "closes-when-unused",
                f"{path}.closesWhen",
                f"tier {tier.name} contains the model at once, and what is contained never closes by itself",
                "remove closesWhen: people close it",
            )


# --- Shorthands ---------------------------------------------------------------------------------------------------


def _tiers(spec: EscalationLadderSpec) -> Iterator[tuple[str, Tier]]:
    return ((f"spec.tiers[{index}]", tier) for index, tier in enumerate(spec.tiers))


def _containments(spec: EscalationLadderSpec) -> Iterator[tuple[str, Tier, Containment]]:
    return ((f"{path}.containment", t, t.containment) for path, t in _tiers(spec) if t.containment is not None)


def _contains_at_once(tier: Tier) -> bool:
    return tier.containment is not None and tier.containment.when is ContainmentWhen.IMMEDIATELY


def _deciders(tier: Tier) -> tuple[QuorumMember, ...]:
    return tier.decide.quorum if tier.decide else ()


RULES: tuple[Callable[[EscalationLadderSpec], Iterator[Advice]], ...] = (
    _stakeholder_unused,
    _stakeholder_unreachable,
    _time_zone_unknown,
    _channel_unused,
    _impersonation_allowed,
    _silence_unnoticed,
    _indicator_unused,
    _threshold_outside_range,
    _containment_delayed,
    _nobody_notified,
    _deciders_not_notified,
    _deciders_notified_too_late,
    _deadlines,
    _lock_off,
    _cannot_suspend,
    _if_impossible,
    _connections_unused,
    _no_blast_radius,
    _closes_when_unused,
)
