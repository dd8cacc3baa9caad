"""The figures of a period: how many, how fast, what stalled, and what is open. Pure: the times are passed in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from statistics import median

from riskladder.people.facts import Duty, Fact, State
from riskladder.report.model import STAGES, Account, Told


class Pace(Fact):
    """How fast one stage was, over all escalations that have it on record. In seconds."""

    stage: str
    """`notify`, `acknowledge`, `decide`, `contain` or `resume`."""
    count: int
    """How many escalations have both ends of it on record."""
    median: timedelta | None
    worst: timedelta | None
    worst_of: str
    """The escalation that took the longest."""


class Tally(Fact):
    """How many escalations of a ladder were counted under a tier: the one entered last."""

    ladder: str
    tier: str
    opened: int
    """In the period."""
    carried: int
    """Opened before it, with records in it or open at its end."""
    still_open: int
    """Of both, at the end of the period."""


class Stalled(Fact):
    """A rung on which nobody answered or decided in time."""

    escalation: str
    record: int
    at: datetime | None
    event: str
    tier: str
    text: str


class OpenAcceptance(Fact):
    """A risk that is accepted at the end of the period."""

    escalation: str
    record: int
    tier: str
    at: datetime | None
    until: datetime | None
    by: tuple[str, ...]


class OwedDuty(Fact):
    """A duty that was due or running in the period."""

    escalation: str
    duty: Duty


class PolicyChange(Fact):
    """A ladder that an opening shows to be another than the opening before it."""

    ladder: str
    at: datetime | None
    """Of the opening that shows it: when it was changed no record says."""
    escalation: str
    generation: str
    before: str
    """The generation that was on record before; empty for the first one."""
    digest: str


class Drill(Fact):
    """A drill, which is counted nowhere else."""

    escalation: str
    ladder: str
    tier: str
    at: datetime | None
    ended: str
    """`DrillCompleted`, `DrillExpired` or how else it ended; empty while it runs."""
    answers: tuple[tuple[str, str], ...]


class Period(Fact):
    """The figures of a period."""

    since: datetime
    until: datetime
    ladder: str
    """The one ladder that is told of; empty for all."""
    escalations: int
    """Real ones with records in the period, or open at its end."""
    opened: int
    still_open: int
    tallies: tuple[Tally, ...]
    paces: tuple[Pace, ...]
    stalls: tuple[Stalled, ...]
    deadlines_met: int
    deadlines_missed: int
    acceptances: tuple[OpenAcceptance, ...]
    """Open at the end of the period."""
    duties: tuple[OwedDuty, ...]
    policy_changes: tuple[PolicyChange, ...]
    drills: tuple[Drill, ...]
    reverts: int
    refused: int
    """Decisions that were refused."""
    undelivered: int
    """Messages that were given up."""
    chains: int
    broken: tuple[str, ...]
    """Chains that are not intact."""
    records: int
    """Of all these chains."""


class Report(Fact):
    """A report, as programs read it."""

    version: str = "1"
    """Of this form."""
    source: str
    """The file that the records come from; empty for the cluster."""
    period: Period | None
    """`null` in the report about one escalation."""
    escalations: tuple[Account, ...]
    """The drills as well."""


def in_period(found: Iterable[Told], since: datetime, until: datetime, ladder: str = "") -> tuple[Told, ...]:
    """Return the escalations, and drills, of which something happened in the period, or that are open at its end.

    Args:
        found: All of them, told as of the end.
        since: Begin.
        until: End; what happened then does not belong to it.
        ladder: Name of the one ladder that is told of.
    """
    return tuple(
        told
        for told in found
        if ladder in ("", told.account.ladder)
        and (told.account.is_open or any(_within(step.at, since, until) for step in told.timeline.steps))
    )


def figures(
    found: Sequence[Told], since: datetime, until: datetime, ladder: str = "", *, known: Sequence[Told] = ()
) -> Period:
    """Return the figures of a period.

    Args:
        found: What ``in_period`` returns, told as of the end.
        since: Begin.
        until: End.
        ladder: Name of the one ladder that is told of.
        known: All that there is, to tell a ladder that was changed from one that is seen for the first time.
    """
    real = [told.account for told in found if not told.account.drill]
    opened = [a for a in real if _within(a.opened, since, until)]
    chains = {told.account.key: told.account.verification for told in found}
    deadlines = [d.state for a in real for d in a.story.deadlines if since <= d.due_at < until]
    return Period(
        since=since,
        until=until,
        ladder=ladder,
        escalations=len(real),
        opened=len(opened),
        still_open=sum(a.is_open for a in real),
        tallies=tuple(_tallies(real, since, until)),
        paces=tuple(_pace(stage, opened) for stage in STAGES),
        stalls=tuple(
            Stalled(escalation=a.key, record=s.record, at=s.at, event=s.event, tier=s.tier, text=s.text)
            for a in real
            for s in a.story.stalls
            if _within(s.at, since, until)
        ),
        deadlines_met=deadlines.count(State.MET),
        deadlines_missed=deadlines.count(State.MISSED),
        acceptances=tuple(
            OpenAcceptance(escalation=a.key, record=x.record, tier=x.tier, at=x.at, until=x.until, by=x.by)
            for a in real
            for x in a.story.acceptances
            if not x.ended_by and (x.until is None or x.until > until)
        ),
        duties=tuple(OwedDuty(escalation=a.key, duty=duty) for a in real for duty in a.story.duties),
        policy_changes=tuple(
            change
            for change in _changes([told.account for told in known or found])
            if _within(change.at, since, until) and ladder in ("", change.ladder.partition("/")[2])
        ),
        drills=tuple(_drill(told.account) for told in found if told.account.drill),
        reverts=sum(_within(r.at, since, until) for a in real for c in a.story.containments for r in c.reverts),
        refused=sum(not act.counts and _within(act.at, since, until) for a in real for act in a.story.acts),
        undelivered=sum(not m.delivered and _within(m.at, since, until) for a in real for m in a.story.messages),
        chains=len(chains),
        broken=tuple(sorted(key for key, found in chains.items() if not found.intact)),
        records=sum(found.records for found in chains.values()),
    )


def _within(at: datetime | None, since: datetime, until: datetime) -> bool:
    return at is not None and since <= at < until


def _tallies(real: Sequence[Account], since: datetime, until: datetime) -> Iterable[Tally]:
    for ladder, tier in sorted({(a.ladder, a.reached) for a in real}):
        mine = [a for a in real if (a.ladder, a.reached) == (ladder, tier)]
        opened = sum(_within(a.opened, since, until) for a in mine)
        still_open = sum(a.is_open for a in mine)
        yield Tally(ladder=ladder, tier=tier, opened=opened, carried=len(mine) - opened, still_open=still_open)


def _pace(stage: str, opened: Sequence[Account]) -> Pace:
    took = [(found, a.key) for a in opened if (found := getattr(a.speed, stage)) is not None]
    worst = max(took, default=None)
    return Pace(
        stage=stage,
        count=len(took),
        median=timedelta(seconds=median(t.total_seconds() for t, _ in took)) if took else None,
        worst=worst[0] if worst else None,
        worst_of=worst[1] if worst else "",
    )


def _changes(found: Iterable[Account]) -> Iterable[PolicyChange]:
    """Yield the generations that openings show, ladder by ladder, in the order of the openings."""
    known: dict[tuple[str, str], tuple[str, str]] = {}
    for account in found:
        opening = account.story.opening
        if opening is None or not opening.digest:
            continue
        place, is_now = (account.namespace, opening.ladder), (opening.generation, opening.digest)
        before = known.get(place)
        if before != is_now:
            yield PolicyChange(
                ladder=f"{account.namespace}/{opening.ladder}",
                at=opening.at,
                escalation=account.key,
                generation=opening.generation,
                before=before[0] if before else "",
                digest=opening.digest,
            )
        known[place] = is_now


def _drill(account: Account) -> Drill:
    ended = account.story.ended
    return Drill(
        escalation=account.key,
        ladder=account.ladder,
        tier=account.reached,
        at=account.opened,
        ended=ended.event if ended else "",
        answers=account.drill_result,
    )
