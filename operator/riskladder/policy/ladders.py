"""A ladder's status as it should be: valid, permitted, reviewed, suspended."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime, time, timedelta

from riskladder.api.conditions import Conditions, find
from riskladder.api.ladder import EscalationLadderStatus
from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.plan import Entry, LadderUpdate
from riskladder.policy.snapshot import Ladder


def update_ladder(
    ladder: Ladder,
    before: EscalationLadderStatus,
    *,
    created: datetime,
    open_escalations: int,
    missing: Iterable[str],
    now: datetime,
) -> tuple[LadderUpdate, datetime | None]:
    """The ladder's next status, its Events, and when it changes by itself.

    Args:
        ladder: The ladder.
        before: Its stored status.
        created: When it was created: the first review counts from there.
        open_escalations: How many escalations are open under it.
        missing: Permissions that the API server has refused the operator in its namespace.
        now: Current time, UTC.
    """
    entries: list[Entry] = []
    conditions = Conditions(before.conditions, generation=ladder.generation, now=now)
    missing = sorted(missing)
    if ladder.spec is None:
        ready, reason, message = False, Reason.INVALID, "; ".join(ladder.problems)
    elif missing:
        ready, reason, message = False, Reason.PERMISSION_MISSING, "the operator may not " + "; ".join(missing)
    else:
        ready, reason, message = True, Reason.VALID, "in force"
    was = find(before.conditions, ConditionType.READY)
    if not ready and (was is None or was.reason != reason or was.message != message[:1024]):
        key = f"ready/{ladder.generation}/{reason}/{hashlib.sha256(message.encode()).hexdigest()[:12]}"
        entries.append(Entry(reason, key, now, message, on=(), warning=True, recorded=False))
    conditions.set(ConditionType.READY, ready, reason, message)
    wake = None
    if ladder.spec is not None:
        wake = _review(conditions, ladder, created, now)
        suspended = ladder.spec.suspended
        conditions.set(
            ConditionType.SUSPENDED,
            suspended,
            Reason.SUSPENDED if suspended else Reason.ACTIVE,
            "evaluates and records, acts on nothing" if suspended else "acts on breaches",
        )
    status = EscalationLadderStatus(
        observed_generation=ladder.generation,
        digest=ladder.digest or None,
        open_escalations=open_escalations,
        conditions=conditions.result(),
    )
    return LadderUpdate(status, tuple(entries)), wake


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
