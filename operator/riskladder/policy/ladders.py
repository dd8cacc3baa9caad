"""A ladder's status as it should be: valid, permitted, reviewed, suspended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta

from riskladder.api.conditions import MESSAGE_LIMIT, Conditions, find
from riskladder.api.foreign import clip
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.installation import (
    DefinitionFindings,
    PolicyFindings,
    Verdict,
    judge_definitions,
    judge_policies,
)
from riskladder.policy.ladder_messages import LadderMessages
from riskladder.policy.plan import Entry, LadderUpdate
from riskladder.policy.snapshot import Delivery, Ladder
from riskladder.policy.storm import Demanded, update_storm
from riskladder.policy.unusable import UnusableSignal, notify_of_unusable

OF_DECISIONS = "riskladder-decisions"
"""The policy that proves who decided, which has a condition of its own."""


def update_ladder(
    ladder: Ladder,
    before: EscalationLadderStatus,
    *,
    created: datetime,
    open_escalations: int,
    missing: Iterable[str],
    refusals: Sequence[str] = (),
    not_enabled: Sequence[str] = (),
    unproved: str = "",
    policies: PolicyFindings | None = None,
    definitions: DefinitionFindings | None = None,
    slow_stops: str | None = None,
    unavailable: Mapping[str, str] | None = None,
    clock_error: timedelta = timedelta(),
    deliveries: Mapping[tuple[str, str], Delivery] | None = None,
    unusable: Iterable[UnusableSignal] = (),
    demanded: Demanded | None = None,
    now: datetime,
) -> tuple[LadderUpdate, datetime | None]:
    """Return the ladder's next status, its Events, and when it changes by itself.

    Args:
        ladder: The ladder.
        before: Its stored status.
        created: When it was created: the first review counts from there.
        open_escalations: How many escalations are open under it.
        missing: Permissions that the API server has refused the operator in its namespace.
        refusals: What of the trail of its escalations the API server refuses, though no permission is missing.
        not_enabled: What it asks for that needs a component which is not enabled.
        unproved: Why no decision counts: what is missing of the admission policy that proves who decided.
        policies: The admission policies; ``None`` where nobody has looked.
        definitions: The CustomResourceDefinitions; ``None`` where nobody has looked.
        slow_stops: Which tiers stop a model more slowly than they ask for, and why; ``None`` where nobody has looked.
        unavailable: The channels that do not work, and why.
        clock_error: By how much the operator's clock is ahead of the API server's; zero while they agree well enough.
        deliveries: By uid and key: what became of its messages.
        unusable: The signals of it that report something that would breach, and cannot be used.
        demanded: What its escalations say of containments beyond its blast radius.
        now: Current time, UTC.
    """
    entries: list[Entry] = []
    conditions = Conditions(before.conditions, generation=ladder.generation, now=now)
    _decisions_count(conditions, entries, ladder, unproved, now)
    _policies(conditions, entries, ladder, policies, unproved, now)
    kinds = judge_definitions(definitions) if definitions is not None else None
    _definitions(conditions, entries, ladder, kinds, now)
    _channels(conditions, entries, ladder, unavailable or {}, now)
    _clock(conditions, entries, ladder, clock_error, now)
    _stops(conditions, entries, ladder, slow_stops, now)
    missing = sorted(missing)
    if ladder.spec is None:
        ready, reason, message = False, Reason.INVALID, "; ".join(ladder.problems)
    elif missing:
        ready, reason, message = False, Reason.PERMISSION_MISSING, "the operator may not " + "; ".join(missing)
    elif definitions is not None and kinds is not None and not definitions.is_usable:
        ready, reason, message = False, kinds.reason, kinds.message
    elif refusals:
        more = f" (and {len(refusals) - 1} more)" if len(refusals) > 1 else ""
        ready, reason = False, Reason.ESCALATION_REFUSED
        message = f"nothing new is recorded, nobody is notified of it, and no decision counts: {refusals[0]}{more}"
    elif not_enabled:
        ready, reason, message = False, Reason.NOT_ENABLED, "; ".join(not_enabled)
    else:
        ready, reason, message = True, Reason.VALID, "in force"
    was = find(before.conditions, ConditionType.READY)
    if not ready and (was is None or was.reason != reason or was.message != clip(message, MESSAGE_LIMIT)):
        key = f"ready/{ladder.generation}/{reason}/{hashlib.sha256(message.encode()).hexdigest()[:12]}"
        entries.append(Entry(reason, key, now, message, on=(), warning=True, recorded=False))
    conditions.set(ConditionType.READY, ready, reason, message)
    wake = None
    if ladder.spec is not None:
        if not clock_error or conditions.get(ConditionType.REVIEW_CURRENT) is None:
            wake = _review(conditions, ladder, created, now)
        suspended = ladder.spec.suspended
        conditions.set(
            ConditionType.SUSPENDED,
            suspended,
            Reason.SUSPENDED if suspended else Reason.ACTIVE,
            "evaluates and records, acts on nothing" if suspended else "acts on breaches",
        )
    messages = LadderMessages(ladder, before.notifications, deliveries or {}, now)
    found, look_at = notify_of_unusable(messages, before.unusable, unusable)
    storm, calm_at = update_storm(
        messages, conditions, before.storm, demanded or Demanded(), time_counts=not clock_error
    )
    status = EscalationLadderStatus(
        observed_generation=ladder.generation,
        digest=ladder.digest or None,
        open_escalations=open_escalations,
        storm=storm,
        unusable=found,
        notifications=messages.result(),
        conditions=conditions.result(),
    )
    wakes = [at for at in (wake, look_at, calm_at) if at is not None]
    return LadderUpdate(status, (*entries, *messages.entries)), min(wakes, default=None)


def _decisions_count(
    conditions: Conditions, entries: list[Entry], ladder: Ladder, unproved: str, now: datetime
) -> None:
    was = conditions.get(ConditionType.DECISIONS_COUNT)
    if not unproved:
        text = "who decides is proved at admission"
        conditions.set(ConditionType.DECISIONS_COUNT, True, Reason.IDENTITY_PROVED, text)
        return
    message = f"no decision counts: {unproved}"
    if was is None or was.message != clip(message, MESSAGE_LIMIT):
        entries.append(_warning(Reason.POLICY_MISSING, ladder, message, now))
    conditions.set(ConditionType.DECISIONS_COUNT, False, Reason.POLICY_MISSING, message)


def _policies(
    conditions: Conditions,
    entries: list[Entry],
    ladder: Ladder,
    found: PolicyFindings | None,
    unproved: str,
    now: datetime,
) -> None:
    """Say whether every admission policy is in force; each that is not is named, and warned of once.

    That the one for decisions is not, and no other, is what ``DecisionsCount`` has warned of.
    """
    kind = ConditionType.POLICIES_IN_FORCE
    was = conditions.get(kind)
    if found is None:
        if was is None:
            conditions.set(kind, None, Reason.NOT_YET, "nobody has looked yet")
        return
    verdict = judge_policies(found)
    is_said = bool(unproved) and found.faulty == {OF_DECISIONS}
    if verdict.status is not True and not is_said and (was is None or was.message != verdict.message[:MESSAGE_LIMIT]):
        entries.append(_warning(verdict.reason, ladder, verdict.message, now))
    conditions.set(kind, verdict.status, verdict.reason, verdict.message)


def _definitions(
    conditions: Conditions, entries: list[Entry], ladder: Ladder, verdict: Verdict | None, now: datetime
) -> None:
    """Say whether the kinds are those of this version; of what makes the ladder not ready that warns."""
    kind = ConditionType.CUSTOM_RESOURCES_CURRENT
    was = conditions.get(kind)
    if verdict is None:
        if was is None:
            conditions.set(kind, None, Reason.NOT_YET, "nobody has looked yet")
        return
    is_said = verdict.reason is Reason.CUSTOM_RESOURCES_OUTDATED
    if verdict.status is False and not is_said and (was is None or was.message != clip(verdict.message, MESSAGE_LIMIT)):
        entries.append(_warning(verdict.reason, ladder, verdict.message, now))
    conditions.set(kind, verdict.status, verdict.reason, verdict.message)


def _channels(
    conditions: Conditions, entries: list[Entry], ladder: Ladder, unavailable: Mapping[str, str], now: datetime
) -> None:
    was = conditions.get(ConditionType.CHANNELS_AVAILABLE)
    if not unavailable:
        text = "no channel has failed lately"
        conditions.set(ConditionType.CHANNELS_AVAILABLE, True, Reason.CHANNELS_REACHABLE, text)
        return
    message = "; ".join(f"channel {name}: {why}" for name, why in sorted(unavailable.items()))
    if was is None or was.message != clip(message, MESSAGE_LIMIT):
        entries.append(_warning(Reason.CHANNEL_UNAVAILABLE, ladder, message, now))
    conditions.set(ConditionType.CHANNELS_AVAILABLE, False, Reason.CHANNEL_UNAVAILABLE, message)


def _clock(conditions: Conditions, entries: list[Entry], ladder: Ladder, clock_error: timedelta, now: datetime) -> None:
    was = conditions.get(ConditionType.CLOCK_AGREES)
    if not clock_error:
        text = "the operator's clock agrees with the API server's"
        conditions.set(ConditionType.CLOCK_AGREES, True, Reason.CLOCK_RIGHT, text)
        return
    seconds = clock_error.total_seconds()
    message = (
        f"the operator's clock is about {abs(round(seconds, -1)):.0f} s {'ahead of' if seconds > 0 else 'behind'} the "
        "API server's, and at most 30 s are expected: nothing is done that time alone would cause; set the clock of "
        "the operator's node, or of the API server's"
    )
    if was is None or was.reason != Reason.CLOCK_WRONG:
        entries.append(_warning(Reason.CLOCK_WRONG, ladder, message, now))
    conditions.set(ConditionType.CLOCK_AGREES, False, Reason.CLOCK_WRONG, message)


def _stops(conditions: Conditions, entries: list[Entry], ladder: Ladder, slow: str | None, now: datetime) -> None:
    """Say whether the pods of a stopped model end as the tiers ask for."""
    kind = ConditionType.STOPS_PROMPTLY
    was = conditions.get(kind)
    if slow is None:
        if was is None:
            conditions.set(kind, None, Reason.NOT_YET, "nobody has looked yet")
        return
    if not slow:
        text = "the pods of a model that it stops end as its tiers ask: within containment.grace, or when they want to"
        conditions.set(kind, True, Reason.PODS_END_AS_ASKED, text)
        return
    if was is None or was.message != clip(slow, MESSAGE_LIMIT):
        entries.append(_warning(Reason.PROMPT_STOP_MISSING, ladder, slow, now))
    conditions.set(kind, False, Reason.PROMPT_STOP_MISSING, slow)


def _warning(reason: Reason, ladder: Ladder, message: str, now: datetime) -> Entry:
    """Return an Event on the ladder, once for each message; what reappears is reported again."""
    digest = hashlib.sha256(f"{message}/{now:%Y-%m-%dT%H}".encode()).hexdigest()[:12]
    return Entry(reason, f"{ladder.generation}/{reason}/{digest}", now, message, on=(), warning=True, recorded=False)


def _review(conditions: Conditions, ladder: Ladder, created: datetime, now: datetime) -> datetime | None:
    charter = ladder.spec.charter if ladder.spec else None
    if charter is None or charter.review is None:
        conditions.set(ConditionType.REVIEW_CURRENT, True, Reason.NO_REVIEW_CADENCE, "no review cadence is set")
        return None
    last = charter.review.last_reviewed
    since = datetime.combine(last, time.min, UTC) if last else created
    due = since + charter.review.every.delta + (timedelta(days=1) if last else timedelta())
    if now < due:
        message = f"reviewed {last}; due by {due:%Y-%m-%d}" if last else f"first review due by {due:%Y-%m-%d}"
        conditions.set(ConditionType.REVIEW_CURRENT, True, Reason.REVIEW_RECENT, message)
        return due
    conditions.set(ConditionType.REVIEW_CURRENT, False, Reason.REVIEW_OVERDUE, f"the review was due by {due:%Y-%m-%d}")
    return None
