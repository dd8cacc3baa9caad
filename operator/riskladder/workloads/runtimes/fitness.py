"""Which revisions a rollback may go back to: an ordered chain of rules, the same for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.foreign import time_in
from riskladder.workloads.model import History, Revision, Workload

Rule = Callable[[Workload, Revision, History], str]
"""Return why a revision is unfit, for people; empty where the rule has nothing against it."""


def unfit(workload: Workload, revision: Revision, history: History) -> str:
    """Return why a rollback must not go back to a revision, for people; empty where it may.

    Args:
        workload: As it is, with the breached revision in place.
        revision: The one to go back to.
        history: What is known of its revisions.
    """
    return next((why for rule in RULES if (why := rule(workload, revision, history))), "")


def _runs_the_same(workload: Workload, revision: Revision, history: History) -> str:
    """Refuse what runs the very containers that breach, for example before a ``kubectl rollout restart``."""
    if revision.content and revision.content == workload.content:
        return f"{name_of(revision)} runs the same containers as the breached one"
    return ""


def _was_in_place(workload: Workload, revision: Revision, history: History) -> str:
    """Refuse what may have served when a breach was observed: then that breach is about it."""
    at = next((at for at in sorted(history.observed) if _may_have_served(workload, revision, at)), None)
    if at is None:
        return ""
    return (
        f"{name_of(revision)} may have been in place when the breach was observed, at {format_time(at)}: "
        "the reading is older than the revision that serves now"
    )


def _may_have_served(workload: Workload, revision: Revision, at: datetime) -> bool:
    since = workload.template_since
    written = time_in(workload.template_set_at)
    if (
        since is None
        or at >= (min(since, written) if written else since)
        or (revision.created is not None and revision.created > at)
    ):
        return False
    return not any(
        other.number > revision.number
        and other.digest != workload.digest
        and other.created is not None
        and other.created <= at
        and not other.reused
        for other in workload.revisions
    )


def _has_breached(workload: Workload, revision: Revision, history: History) -> str:
    """Refuse what an escalation was about, unless readings have shown it to be good since."""
    has_breached = any(twin.hash in history.breached for twin in twins_of(workload, revision))
    if has_breached and not is_good(workload, revision, history):
        return f"{name_of(revision)} has breached before"
    return ""


def _never_served(workload: Workload, revision: Revision, history: History) -> str:
    """Refuse what came and went while the operator watched, without ever being available."""
    watched_since = min(workload.served.values(), default=None)
    if watched_since is None or has_served(workload, revision) or is_good(workload, revision, history):
        return ""
    if revision.created is not None and revision.created > watched_since:
        return f"{name_of(revision)} was never available"
    return ""


RULES: tuple[Rule, ...] = (_runs_the_same, _was_in_place, _has_breached, _never_served)


def name_of(revision: Revision) -> str:
    """Return a revision as people call it."""
    return f"revision {revision.number}" if revision.uid else f"revision {revision.name}"


def twins_of(workload: Workload, revision: Revision) -> Iterator[Revision]:
    """Yield all revisions that run the same containers as one, beginning with itself."""
    yield revision
    yield from (r for r in workload.revisions if r.content and r.content == revision.content)


def is_good(workload: Workload, revision: Revision, history: History) -> bool:
    """Return whether readings have shown what a revision runs to be good."""
    return any(twin.hash in history.known_good for twin in twins_of(workload, revision))


def has_served(workload: Workload, revision: Revision) -> bool:
    """Return whether what a revision runs was seen to be available."""
    return any(twin.digest in workload.served for twin in twins_of(workload, revision))


def fittest(candidates: Iterable[Revision], workload: Workload, history: History) -> Revision | str:
    """Return the newest fit candidate that is known to be good, else one seen serving, else the newest; or why none is.

    Args:
        candidates: At least one.
        workload: As it is.
        history: What is known of its revisions.
    """
    newest_first = sorted(candidates, key=lambda r: -r.number)
    reasons = {revision: unfit(workload, revision, history) for revision in newest_first}
    fit = [revision for revision, why in reasons.items() if not why]
    if not fit:
        return "; ".join(list(reasons.values())[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
    good = [r for r in fit if is_good(workload, r, history)]
    served = [r for r in fit if has_served(workload, r)]
    return (good or served or fit)[0]
