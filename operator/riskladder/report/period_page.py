"""The report about a period, section by section. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from riskladder.api.text import count, listed
from riskladder.people.facts import State
from riskladder.people.summary import at_words, span_words
from riskladder.report.account_page import NONE, joined, moment
from riskladder.report.document import (
    Block,
    Bullets,
    Commands,
    Document,
    Figures,
    Notice,
    Numbered,
    Paragraph,
    Section,
    Table,
)
from riskladder.report.gaps import UNREAD
from riskladder.report.model import Told
from riskladder.report.period import Period

_STAGES = {
    "notify": "Notified: from the opening to the first message that a channel took",
    "acknowledge": "Acknowledged: from the opening to the first decision that counts",
    "decide": "Decided: from the opening to the first agreement of a quorum",
    "contain": "Contained: from the intent to its proof",
    "resume": "Resumed: from that decision to the last write that restored it",
}


_FEW = 3
"""Escalations that are named with a gap; of more it is said how many."""


def period_page(found: Period, told: Sequence[Told], source: str) -> Document:
    """Return the report about a period.

    Args:
        found: The figures.
        told: The escalations and drills of it.
        source: The file that the records come from; empty for the cluster.
    """
    of = f" of ladder {found.ladder}" if found.ladder else ""
    title = f"Escalations{of}, {found.since:%Y-%m-%d} to {found.until:%Y-%m-%d}"
    lead = (
        f"{count(found.escalations, 'escalation')} and {count(len(found.drills), 'drill')} with records from "
        f"{at_words(found.since)} until {at_words(found.until)}, or open at its end; drills are counted apart"
    )
    parts = (
        ("How many", _many(found)),
        ("How fast", _fast(found)),
        ("Stalls and deadlines", _stalls(found)),
        ("Risks that are accepted", _accepted(found)),
        ("Duties", _duties(found)),
        ("Changes of the policy on record", _changes(found)),
        ("Drills", _drills(found)),
        ("Each escalation", _none(told)),
    )
    sections = [Section(heading, tuple(blocks)) for heading, blocks in parts]
    sections += _each(told)
    sections.append(Section("What the records do not say", tuple(_gaps(told))))
    sections.append(Section("Verification", tuple(_verification(found, told, source)), boxed=True))
    return Document(title, lead, tuple(sections), found.until)


def _many(found: Period) -> Iterator[Block]:
    yield Figures(
        (
            ("Opened in the period", str(found.opened)),
            ("Opened before it", str(found.escalations - found.opened)),
            ("Open at its end", str(found.still_open)),
            ("Containments undone", str(found.reverts)),
            ("Decisions refused", str(found.refused)),
            ("Messages given up", str(found.undelivered)),
        )
    )
    if found.tallies:
        rows = [(t.ladder, t.tier, str(t.opened), str(t.carried), str(t.still_open)) for t in found.tallies]
        yield Paragraph("By the tier that was entered last:")
        yield Table(("Ladder", "Tier", "Opened", "Opened before", "Still open"), rows, frozenset({2, 3, 4}))


def _fast(found: Period) -> Iterator[Block]:
    rows = [
        (
            _STAGES[pace.stage],
            str(pace.count),
            span_words(pace.median) if pace.median is not None else NONE,
            span_words(pace.worst) if pace.worst is not None else NONE,
            pace.worst_of or NONE,
        )
        for pace in found.paces
    ]
    yield Paragraph("Of the escalations that were opened in the period and have both ends on record:")
    yield Table(("Stage", "Escalations", "Median", "Worst", "Of"), rows, frozenset({1, 2, 3}))


def _stalls(found: Period) -> Iterator[Block]:
    yield Figures((("Deadlines met", str(found.deadlines_met)), ("Deadlines missed", str(found.deadlines_missed))))
    if found.stalls:
        rows = [(moment(s.at), s.escalation, s.tier, s.event, s.text, str(s.record)) for s in found.stalls]
        yield Table(("At (UTC)", "Escalation", "Tier", "Event", "What", "Record"), rows, frozenset({5}))
    else:
        yield Paragraph("Nothing stalled on record.")


def _accepted(found: Period) -> Iterator[Block]:
    if not found.acceptances:
        yield Paragraph("No acceptance is open at the end of the period, by the records.")
        return
    rows = [
        (moment(a.until), a.escalation, a.tier, moment(a.at), joined(a.by), str(a.record)) for a in found.acceptances
    ]
    yield Table(("Ends (UTC)", "Escalation", "Tier", "Accepted (UTC)", "By", "Record"), rows, frozenset({5}))


def _duties(found: Period) -> Iterator[Block]:
    states = [owed.duty.state for owed in found.duties]
    yield Figures(
        (
            ("Met", str(states.count(State.MET))),
            ("Missed", str(states.count(State.MISSED))),
            ("Open", str(states.count(State.OPEN))),
        )
    )
    rows = [
        (
            moment(owed.duty.due_at),
            owed.escalation,
            owed.duty.name,
            owed.duty.role or NONE,
            str(owed.duty.state),
            moment(owed.duty.met_at),
            owed.duty.met_by or NONE,
        )
        for owed in found.duties
    ]
    if rows:
        yield Table(("Due (UTC)", "Escalation", "Duty", "Role", "State", "Met (UTC)", "By"), rows)


def _changes(found: Period) -> Iterator[Block]:
    yield Paragraph("An opening shows which ladder was in force then; when it was changed no record says.")
    rows = [
        (moment(c.at), c.ladder, c.before or NONE, c.generation or NONE, f"{c.digest[:16]}…", c.escalation)
        for c in found.policy_changes
    ]
    if rows:
        headings = ("Seen (UTC)", "Ladder", "Generation before", "Generation", "Digest", "In the opening of")
        yield Table(headings, rows, frozenset({2, 3}))


def _drills(found: Period) -> Iterator[Block]:
    if not found.drills:
        yield Paragraph("No drill is on record in the period.")
        return
    rows = [
        (
            moment(drill.at),
            drill.escalation,
            drill.ladder,
            drill.tier,
            drill.ended or "runs",
            "; ".join(f"{who}: {how}" for who, how in drill.answers) or NONE,
        )
        for drill in found.drills
    ]
    yield Table(("Started (UTC)", "Drill", "Ladder", "Tier", "Ended", "Result"), rows)


def _none(told: Sequence[Told]) -> Iterator[Block]:
    if all(one.account.drill for one in told):
        yield Paragraph("No escalation has a record in the period.")


def _each(told: Sequence[Told]) -> Iterator[Section]:
    for account in (one.account for one in told if not one.account.drill):
        heading = f"{account.key}: tier {account.reached} of ladder {account.ladder}"
        yield Section(heading, (Numbered(account.summary),), level=3)


def _gaps(told: Sequence[Told]) -> Iterator[Block]:
    yield Paragraph(
        "Records tell of escalations only. A model that was in no tier, a ladder that was changed and under which "
        "nothing was opened, and a namespace that was not exported leave no trace here."
    )
    together: dict[str, list[str]] = {}
    for one in told:
        for gap in one.account.gaps:
            if not gap.startswith(UNREAD):
                together.setdefault(gap, []).append(one.account.key)
    few = [f"{listed(keys)}: {gap}" for gap, keys in together.items() if len(keys) <= _FEW]
    many = [f"{len(keys)} of {len(told)}: {gap}" for gap, keys in together.items() if len(keys) > _FEW]
    if items := [*many, *few]:
        yield Bullets(items)
    yield Paragraph("The report of each escalation says between which times no reading is on record.")


def _verification(found: Period, told: Sequence[Told], source: str) -> Iterator[Block]:
    for key in found.broken:
        yield Notice(f"The chain of {key} is BROKEN", bad=True)
    yield Figures((("Chains", str(found.chains)), ("Records", str(found.records)), ("Broken", str(len(found.broken)))))
    chains = {one.account.key: one.account.verification for one in told}
    rows = [(key, str(v.records), v.head, v.compared, str(v.redacted)) for key, v in sorted(chains.items())]
    if rows:
        yield Table(("Chain", "Records", "Head", "Compared with", "Erased"), rows, frozenset({1, 4}))
    yield Commands((f"riskladder verify {shlex.quote(source) if source else '--live --all-namespaces'}",))
