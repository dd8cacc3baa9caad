"""The initial report of a serious incident under Article 73 of Regulation (EU) 2024/1689, as far as records go. Pure.

What the records know is filled in, and everything else is marked as blank. Whether there is a serious incident at all,
and from when anybody was aware of it, is for people to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from riskladder.people.summary import at_words, span_words
from riskladder.report.account_page import joined, moment, verification_blocks
from riskladder.report.document import (
    BLANK,
    Block,
    Bullets,
    Document,
    Facts,
    Notice,
    Numbered,
    Paragraph,
    Section,
    Table,
)
from riskladder.report.model import Account, Told

FORM = "ai-act-73-initial"
_LIMITS = (
    (2, "Article 73(3): a widespread infringement, or a serious incident of Article 3, point (49)(b)"),
    (10, "Article 73(4): the death of a person"),
    (15, "Article 73(2): any other serious incident"),
)
_KINDS = (
    ("(a) death of a person, or serious harm to a person's health", BLANK),
    ("(b) serious and irreversible disruption of critical infrastructure", BLANK),
    ("(c) infringement of obligations under Union law that protect fundamental rights", BLANK),
    ("(d) serious harm to property or the environment", BLANK),
)


def article_73(told: Told) -> Document:
    """Return the form about one escalation."""
    account = told.account
    parts = (
        ("1. This report", _report(account)),
        ("2. Who reports", _reporter()),
        ("3. The AI system", _system(account)),
        ("4. The incident", _incident(account)),
        ("5. Awareness and time limits", _awareness(account)),
        ("6. Causal link and root cause", _cause()),
        ("7. Corrective action taken", _action(account)),
        ("8. What the records do not say", [Bullets(account.gaps)] if account.gaps else []),
    )
    sections = [Section(heading, tuple(blocks)) for heading, blocks in parts]
    sections.append(Section("Verification", tuple(verification_blocks(account.verification)), boxed=True))
    sections.append(Section("Signature", (Facts((("Name and function", BLANK), ("Place and date", BLANK))),)))
    lead = (
        f"Regulation (EU) 2024/1689, Article 73. Draft from the records of escalation {account.key}; nothing was sent"
    )
    title = "Serious incident of a high-risk AI system: initial report"
    return Document(title, lead, tuple(s for s in sections if s.blocks), account.story.as_of)


def _report(account: Account) -> Iterator[Block]:
    if account.drill:
        yield Notice("The records are those of a DRILL: there was no incident.", bad=True)
    if not account.verification.intact:
        yield Notice("The chain of records is broken: do not rely on it before that is explained.", bad=True)
    yield Notice(
        "The records say what was measured and done. Whether that is a serious incident within the meaning of "
        "Article 3, point (49), and has to be reported, they do not say."
    )
    yield Facts(
        (
            ("Kind of report", "initial, which may be incomplete (Article 73(5))"),
            ("Market surveillance authority", BLANK),
            ("Member State where the incident occurred", BLANK),
            ("Date of this report", BLANK),
            ("Reference of the authority, earlier reports", BLANK),
            ("Escalation", account.key),
        )
    )


def _reporter() -> Iterator[Block]:
    labels = ("Provider, with address", "Contact for this report", "Authorised representative", "Deployer")
    yield Facts(tuple((label, BLANK) for label in labels))


def _system(account: Account) -> Iterator[Block]:
    opening = account.story.opening
    known = (
        {}
        if opening is None
        else {
            "Name": opening.model,
            "Version": opening.version,
            "Documentation (model card)": opening.card,
            "Lineage": opening.lineage,
            "Owners of the model": opening.owners,
            "What ran when it was noticed": opening.evidence,
        }
    )
    labels = (
        "Name",
        "Version",
        "Documentation (model card)",
        "Lineage",
        "Owners of the model",
        "What ran when it was noticed",
    )
    yield Facts(
        (
            *((label, known.get(label) or BLANK) for label in labels),
            ("Workload", f"{account.target} in namespace {account.namespace}"),
            ("Registration in the EU database (Article 49)", BLANK),
            ("Intended purpose, Annex III point", BLANK),
        )
    )


def _incident(account: Account) -> Iterator[Block]:
    yield Paragraph("Kind of serious incident, Article 3, point (49):")
    yield Facts(_KINDS)
    first = next((r for r in account.story.readings if r.at is not None), None)
    yield Facts(
        (
            ("Date, time and place of the incident", BLANK),
            ("First reading on record that was acted on", at_words(first.at) if first else "no reading is on record"),
            ("Opening on record", at_words(account.opened)),
            ("Persons affected, and how", BLANK),
            ("Description of the incident", BLANK),
        )
    )
    yield Paragraph("From the records:")
    yield Numbered(account.summary)
    breaches = [r for r in account.story.readings if r.is_breach]
    if breaches:
        rows = [
            (moment(r.at), r.indicator, r.value, r.threshold, r.sample_size or "–", str(r.record)) for r in breaches
        ]
        yield Table(
            ("Observed (UTC)", "Indicator", "Value", "Threshold", "Samples", "Record"), rows, frozenset({2, 4, 5})
        )


def _awareness(account: Account) -> Iterator[Block]:
    found = account.story.awareness
    yield Paragraph(
        "The time limits run from when the provider or, where applicable, the deployer becomes aware of the serious "
        "incident. That is an act of a person: neither a reading nor a message that was delivered is one."
    )
    first = next((m for m in account.story.messages if m.delivered), None)
    sent = (
        f"{at_words(first.at)}, to {first.role} over {first.channel} (record {first.record})"
        if first
        else "none is on record"
    )
    rows = [("First message that was delivered", sent)]
    if found is None:
        yield Facts((*rows, ("Act of awareness on record", "none is on record"), ("Aware since", BLANK)))
        yield Notice("No act of a person is on record, so no time limit is computed here.", bad=True)
        yield Facts(tuple((f"Within {days} days: {what}", BLANK) for days, what in _LIMITS))
    else:
        role = f" as {found.role}" if found.role else ""
        said = f"record {found.record}: {found.who}{role}, {found.act}, {at_words(found.at)}"
        acknowledged = next((a for a in account.story.acts if a.counts and a.action == "Acknowledge"), None)
        rows.append(("Act of awareness on record", said))
        if acknowledged is not None and acknowledged.record != found.record:
            said = f"record {acknowledged.record}: {acknowledged.who}, {at_words(acknowledged.at)}"
            rows.append(("First acknowledgement on record", said))
        yield Facts((*rows, ("Aware since, as people have established it", BLANK)))
        if found.at is not None:
            yield Paragraph("If people confirm that record as the awareness, the report is due not later than:")
            yield Facts(
                tuple(
                    (f"{(found.at + timedelta(days=days)):%Y-%m-%d}, {days} days after", what) for days, what in _LIMITS
                )
            )
    yield Facts((("Causal link, or its reasonable likelihood, established on", BLANK),))
    if account.story.duties:
        yield Paragraph(
            "Clocks of the ladder on record. They run from the opening on record, and not from anybody's awareness:"
        )
        duties = [
            (d.name, d.role or "–", moment(d.due_at), str(d.state), moment(d.met_at)) for d in account.story.duties
        ]
        yield Table(("Duty", "Role", "Due (UTC)", "State", "Met (UTC)"), duties)


def _cause() -> Iterator[Block]:
    labels = (
        "Causal link between the AI system and the incident",
        "Root cause",
        "Risk assessment",
        "Further investigation",
    )
    yield Facts(tuple((label, BLANK) for label in labels))


def _action(account: Account) -> Iterator[Block]:
    told = account.story
    rows = []
    for containment in told.containments:
        proof = f"proved {span_words(containment.took)} after the intent (record {containment.proof_record})"
        is_proved = containment.proof_record is not None
        said = f"{containment.action}, intended {at_words(containment.intended_at)}; "
        rows.append(("Containment on record", said + (proof if is_proved else "no record proves it")))
        rows += [
            ("Undone", f"{at_words(r.at)} by {r.by or 'somebody'} (record {r.record})") for r in containment.reverts
        ]
    if not told.containments:
        rows.append(("Containment on record", "none"))
    rows += [
        ("Restored" if r.done else "Not restored", f"{at_words(r.at)} (record {r.record})") for r in told.restorations
    ]
    rows += [("Decided", f"{at_words(a.at)}: {a.text}; {joined(a.by)}") for a in told.agreements]
    rows.append(("State of the model now", f"{account.contained}, as of {at_words(told.as_of)}"))
    rows.append(("Other corrective action, and what is planned", BLANK))
    rows.append(("Changes to the system before the authority was told (Article 73(6))", BLANK))
    yield Facts(rows)
