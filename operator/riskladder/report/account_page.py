"""The report about one escalation, section by section. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from riskladder.api.base import format_time
from riskladder.api.text import count, listed
from riskladder.people.charts import Mark, timeline_chart
from riskladder.people.drawings import reading_charts
from riskladder.people.facts import Act, State
from riskladder.people.record_times import clock, span
from riskladder.people.summary import at_words, span_words
from riskladder.people.timeline import Step
from riskladder.policy.authentication import shortened
from riskladder.report.document import (
    Block,
    Bullets,
    Commands,
    Document,
    Drawing,
    Facts,
    Notice,
    Numbered,
    Paragraph,
    Section,
    Table,
)
from riskladder.report.model import Account, Told, Verification

NONE = "–"
"""In a table, where no record says anything."""
_GLANCE = "What happened, at a glance"


def account_page(told: Told) -> Document:
    """Return the report about one escalation."""
    account = told.account
    kind = "Drill" if account.drill else "Escalation"
    lead = f"{kind} of {account.target} under ladder {account.ladder}, told as of {at_words(account.story.as_of)}"
    return Document(f"{kind} {account.key}", lead, tuple(account_sections(told)), account.story.as_of)


def account_sections(told: Told, *, level: int = 2) -> Iterator[Section]:
    """Yield the sections that have something to say.

    Args:
        told: The account, with its timeline.
        level: Of the headings.
    """
    account = told.account
    parts: tuple[tuple[str, Iterable[Block]], ...] = (
        ("Summary", _summary(account)),
        ("What it is about", [Facts(tuple(_facts(account)))]),
        ("What was measured", _measured(account)),
        (_GLANCE, _glance(account)),
        ("Who knew what when", _knew(account)),
        ("Who decided", _decided(account)),
        ("Deadlines", _deadlines(account)),
        ("Containment and its proof", _contained(account)),
        ("Risk acceptance", _accepted(account)),
        ("Duties", _duties(account)),
        ("Result of the drill", _drill(account)),
        ("Review", _review(account)),
        ("What the records do not say", [Bullets(account.gaps)] if account.gaps else []),
    )
    for heading, blocks in parts:
        if found := tuple(blocks):
            yield Section(heading, found, level=level, drawn=heading == _GLANCE)
    yield Section("Verification", tuple(verification_blocks(account.verification)), boxed=True, level=level)
    yield Section("All records", (_records(told.timeline.steps),), level=level)


def verification_blocks(found: Verification) -> Iterator[Block]:
    """Yield what the rest can be checked by."""
    if not found.intact:
        yield Notice(f"The chain is BROKEN: {found.error}", bad=True)
    yield Facts(
        (
            ("Chain", "intact" if found.intact else f"broken after {count(found.records, 'good record')}"),
            ("Records", str(found.records)),
            ("Head", f"{found.records}:{found.head}"),
            ("Compared with", found.compared),
            ("Values erased", str(found.redacted)),
            ("Namespace uid", found.namespace_uid or "not on record"),
            ("Digest of the ladder", found.ladder_digest or "not on record"),
            ("SHA-256 of the policy on record", found.policy_digest or "not on record"),
        )
    )
    yield Paragraph("To check it, compare with a head that was noted elsewhere, such as in the operator's log:")
    yield Commands(found.commands)


def moment(at: datetime | None) -> str:
    """Return a time as a table has it."""
    return at.strftime("%Y-%m-%d %H:%M:%S") if at is not None else NONE


def joined(items: Iterable[str]) -> str:
    """Return a list as a table has it."""
    return listed(items) or NONE


# --- Sections ---------------------------------------------------------------------------------------------------------


def _summary(account: Account) -> Iterator[Block]:
    if not account.verification.intact:
        yield Notice(
            "The chain of records is broken: what follows is told of it all the same, and not proved.", bad=True
        )
    yield Numbered(account.summary)


def _facts(account: Account) -> Iterator[tuple[str, str]]:
    opening, owned = account.story.opening, ""
    if opening is not None:
        yield "Model", " ".join(filter(None, (opening.model, opening.version))) or "not on record"
        owned = opening.owners
        for label, value in (("Owners", owned), ("Model card", opening.card), ("Lineage", opening.lineage)):
            if value:
                yield label, value
    yield "Workload", f"{account.target} in namespace {account.namespace}"
    if opening is not None:
        yield "Ladder", f"{opening.ladder}, generation {opening.generation or 'not on record'}"
        yield "What ran before", opening.evidence or "not on record"
    yield "Opened", format_time(account.opened) if account.opened else "not on record"
    tiers = [
        f"{tier}{f' ({why}, record {record})' if why else f' (record {record})'}"
        for record, tier, why in account.story.tiers
    ]
    yield "Tiers", ", then ".join(tiers) or account.tier
    yield "Closed", account.closed or "no record says so"
    yield "Contained", account.contained


def _measured(account: Account) -> Iterator[Block]:
    readings = account.story.readings
    opening = account.story.opening
    if opening is not None and opening.raised_by:
        yield Paragraph(f"Raised manually by {opening.raised_by}: {opening.rationale or 'no reason on record'}")
    if not readings:
        yield Paragraph("No reading is on record.")
        return
    for chart in reading_charts(account.story):
        yield Drawing(chart)
    rows = [
        (
            moment(r.at),
            r.indicator,
            r.value,
            r.threshold or NONE,
            r.tier or NONE,
            r.sample_size or NONE,
            r.window or NONE,
            r.evidence or NONE,
            ", ".join(filter(None, (r.reported_by, r.credential))) or NONE,
            str(r.record),
        )
        for r in readings
    ]
    headings = (
        "Observed (UTC)",
        "Indicator",
        "Value",
        "Threshold",
        "Tier",
        "Samples",
        "Window",
        "Report",
        "Reported by",
    )
    yield Table((*headings, "Record"), rows, frozenset({2, 5, 9}))


def _glance(account: Account) -> Iterator[Block]:
    if account.opened is not None:
        marks = list(_marks(account))
        if marks:
            yield Drawing(timeline_chart(marks, opened=account.opened, title="By the time since the opening"))
            yield Paragraph(
                "Red: a breach, a containment, a message that did not arrive. Amber: reverted or refused. Green: done. "
                "Grey: a message. Each unit of time has as much room as the next longer one."
            )


def _marks(account: Account) -> Iterator[Mark]:
    told = account.story
    for record, tier, _ in told.tiers:
        at = next((r.at for r in told.readings if r.record == record), None)
        entered = account.opened if told.opening is not None and record == told.opening.record else at
        if entered is not None:
            yield Mark(entered, "Breach", f"tier {tier} entered", "high")
    resumed = [r.at for r in told.restorations if r.done and r.at is not None]
    for containment in told.containments:
        begin = containment.applied_at
        end = next(
            (at for at in resumed if begin is not None and at > begin), told.ended.at if told.ended else told.as_of
        )
        if begin is not None:
            yield Mark(begin, "Model", f"contained by {containment.action}", "high", until=end)
        if containment.proved_at is not None:
            yield Mark(containment.proved_at, "Model", "containment proved", "ok")
        for revert in containment.reverts:
            if revert.at is not None:
                yield Mark(revert.at, "Model", f"reverted by {revert.by or 'somebody'}", "mod")
    for at in resumed:
        yield Mark(at, "Model", "restored", "ok")
    for message in told.messages:
        if message.at is not None:
            kind = "soft" if message.delivered else "high"
            yield Mark(message.at, "Messages", f"{message.about} to {message.role} over {message.channel}", kind)
    for act in told.acts:
        if act.at is not None:
            yield Mark(act.at, "People", f"{act.who}: {act.action}", "ok" if act.counts else "mod")
    for duty in told.duties:
        if duty.met_at is not None:
            yield Mark(duty.met_at, "Duties", f"{duty.name} met", "ok")


def _knew(account: Account) -> Iterator[Block]:
    told = account.story
    aware = told.awareness
    if aware is not None:
        role = f" as {aware.role}" if aware.role else ""
        yield Paragraph(
            f"The first act by which a person showed that they knew is record {aware.record}: {aware.who}{role}, "
            f"{aware.act}, {at_words(aware.at)}."
        )
    rows = []
    for message in told.messages:
        how = "delivered" if message.delivered else "NOT delivered"
        times = f", {message.times} times" if message.times > 1 else ""
        rows.append(
            (moment(message.at), message.role, message.channel, f"{how}{times}", message.about, str(message.record))
        )
    if rows:
        yield Table(("At (UTC)", "Role", "Channel", "Message", "About", "Record"), rows, frozenset({5}))
    else:
        yield Paragraph("No message to anybody is on record.")


def _decided(account: Account) -> Iterator[Block]:
    told = account.story
    if told.agreements:
        yield Bullets(
            [f"{at_words(a.at)}: {a.text}; on record {a.record}. Votes: {joined(a.by)}" for a in told.agreements]
        )
    if not told.acts:
        yield Paragraph("Nobody has decided anything on record.")
        return
    rows = [
        (
            moment(act.at),
            act.who,
            act.role or NONE,
            act.action + (f" ({act.asked})" if act.asked else ""),
            "counts" if act.counts else f"refused: {act.refused_because}",
            act.rationale or NONE,
            _credential(act),
            act.groups or NONE,
            str(act.record),
        )
        for act in told.acts
    ]
    headings = ("At (UTC)", "Who", "Role", "Decision", "Counts", "Why", "Credential", "Groups", "Record")
    yield Table(headings, rows, frozenset({8}))


def _credential(act: Act) -> str:
    if act.credential:
        return shortened(act.credential)
    through = f", through {act.via}" if act.via else ""
    return f"impersonated{through}" if act.impersonated or act.via else "not on record"


def _deadlines(account: Account) -> Iterator[Block]:
    told = account.story
    rows = [
        (
            f"{deadline.what}, rung {deadline.rung} ({deadline.tier})",
            moment(deadline.due_at),
            str(deadline.state),
            moment(deadline.at),
            deadline.by or NONE,
            str(deadline.record) if deadline.record is not None else NONE,
        )
        for deadline in told.deadlines
    ]
    if rows:
        yield Table(("What", "Due (UTC)", "State", "Done (UTC)", "By", "Record"), rows, frozenset({5}))
    else:
        yield Paragraph("No deadline is on record.")
    for stall in told.stalls:
        yield Notice(f"{at_words(stall.at)}: {stall.event}, {stall.text} (record {stall.record})", bad=True)


def _contained(account: Account) -> Iterator[Block]:
    told = account.story
    if not told.containments:
        yield Paragraph("The records hold no containment.")
    for found in told.containments:
        rows = [
            (
                "Safe state",
                f"{found.action or 'not on record'}, intent {found.intent}, tier {found.tier or 'not on record'}",
            ),
            ("Intended", moment(found.intended_at)),
            ("Written", f"{span_words(found.applied_after)} after that"),
        ]
        if found.out_of_service_at is not None and found.intended_at is not None:
            rows.append(
                ("Out of service", f"{span_words(found.out_of_service_at - found.intended_at)} after the intent")
            )
        if found.proof_record is not None:
            rows.append(
                ("Proved", f"{span_words(found.took)} after the intent: {found.proof} (record {found.proof_record})")
            )
        else:
            rows.append(("Proved", "no record proves it"))
        rows += [("Problem", problem) for problem in found.problems]
        yield Facts(rows)
        if found.reverts:
            undone = [(moment(r.at), r.by or NONE, r.count or NONE, r.text, str(r.record)) for r in found.reverts]
            yield Paragraph(
                "It was undone, and carried out again. The name is a field manager, which the client chooses:"
            )
            yield Table(("At (UTC)", "Undone by", "In all", "What", "Record"), undone, frozenset({2, 4}))
    for restoration in told.restorations:
        word = "Restored" if restoration.done else "NOT restored"
        yield Paragraph(f"{word}, {at_words(restoration.at)}: {restoration.text} (record {restoration.record})")


def _accepted(account: Account) -> Iterator[Block]:
    for found in account.story.acceptances:
        end = f"{found.ended_by}, {at_words(found.ended_at)}" if found.ended_by else "no record ends it"
        yield Facts(
            (
                ("Tier", found.tier or "not on record"),
                ("Accepted", f"{at_words(found.at)} (record {found.record})"),
                ("Until", at_words(found.until) if found.until else "not on record"),
                ("By", joined(found.by)),
                ("Why", joined(found.why)),
                ("Ended", end),
            )
        )


def _duties(account: Account) -> Iterator[Block]:
    rows = [
        (
            d.name,
            d.role or NONE,
            moment(d.started_at),
            moment(d.due_at),
            str(d.state),
            moment(d.met_at),
            d.met_by or NONE,
            str(d.record),
        )
        for d in account.story.duties
    ]
    if rows:
        headings = ("Duty", "Role", "Runs from (UTC)", "Due (UTC)", "State", "Met (UTC)", "By", "Record")
        yield Table(headings, rows, frozenset({7}))
    if any(duty.state is State.MISSED for duty in account.story.duties):
        yield Notice("A duty was missed, or no record says that it was met in time.", bad=True)


def _drill(account: Account) -> Iterator[Block]:
    if account.story.rehearsals:
        yield Bullets(account.story.rehearsals)
    if account.drill_result:
        yield Table(("Who or what", "Result"), account.drill_result)


def _review(account: Account) -> Iterator[Block]:
    for review in account.story.reviews:
        yield Facts(
            (
                ("Reviewed", f"{at_words(review.at)} by {review.by} as {review.role} (record {review.record})"),
                ("Policy", "changed" if review.policy_updated else "stays as it is"),
                ("Satisfaction", f"{review.satisfaction} of 5" if review.satisfaction else "not on record"),
                ("Lessons", review.lessons or "none on record"),
                ("Why", review.rationale or "not on record"),
            )
        )


def _records(steps: Sequence[Step]) -> Table:
    rows = []
    for step in steps:
        at = f"{step.at:%Y-%m-%d} {clock(step.at)}" if step.at else step.at_text
        said = [step.says] if step.says else []
        said += [f"{particular.heading}: {particular.text}" for particular in step.particulars]
        if not step.verified:
            said.insert(0, "NOT VERIFIED: the chain is broken before or here.")
        since = span(step.since) if step.since is not None else NONE
        rows.append((str(step.sequence or "?"), at, since, step.event, step.actor, " · ".join(said)))
    return Table(("#", "At (UTC)", "Since", "Event", "Actor", "What the record says"), rows, frozenset({0}))
