"""What a report says of one escalation: what is on record, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import format_time
from riskladder.api.chain import ChainKey
from riskladder.cluster.ledger import LedgerEntry
from riskladder.people.export import Export
from riskladder.people.facts import State
from riskladder.people.story import story
from riskladder.people.summary import five_sentences
from riskladder.people.timeline import timeline_of
from riskladder.report.build import report_on
from riskladder.report.document import BLANK, Document, Facts
from riskladder.report.markdown import markdown
from riskladder.report.model import Account
from tests.report import golden
from tests.report.golden import PLACE, account, key, only
from tests.report.history import export_of, history
from tests.trails import ENTRIES, ESCALATION, NAMESPACE, OPENED, UID, chain

COMMAND = ".venv/bin/python -m tests.report.golden"


def told(uid: str) -> Account:
    return account(uid)[1].escalations[-1]


def rows(document: Document) -> dict[str, str]:
    blocks = (block for section in document.sections for block in section.blocks)
    return {label: value for block in blocks if isinstance(block, Facts) for label, value in block.rows}


@pytest.mark.parametrize("name", ["contained", "stalled", "article-73", "period"])
def test_reports_are_as_expected(name: str) -> None:
    found = golden.expected()
    for file in (f"{name}.md", f"{name}.html"):
        if file in found:
            assert found[file] == (PLACE / file).read_text("utf-8"), f"if that is right: {COMMAND}"


def test_every_expected_file_is_compared() -> None:
    assert {file.name for file in PLACE.iterdir()} == set(golden.expected())


# --- Five sentences ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "parts"),
    [
        ("a", ("because bias 0.3 (threshold above 0.2, 5000 samples) was measured", "reverted by hpa")),
        ("a", ("legal and model-risk were notified, the first 1.1 s after the opening", "1 decision was refused")),
        ("b", ("accepted the risk (2026-01-25", "No containment is on record", "no review is on record")),
        ("c", ("1 further safe state followed", "closed it as Retired")),
        ("d", ("In a drill, credit-scoring 4.2", "not touched, because it was a drill: ScaleToZero as a dry run")),
        ("f", ("No decision of a quorum is on record", "“at baseline for 1h and never contained”")),
        ("g", ("no answer is on record",)),
        ("i", ("max@bank.example as model-risk raised Deployment/scorer to tier high manually", "“customers complain")),
        ("j", ("It is open, with the risk of tier moderate accepted until 2027-01-20",)),
        ("k", ("It is open in tier high as of", "art-73 is not met on record")),
    ],
)
def test_five_sentences_tell_the_story(uid: str, parts: tuple[str, ...]) -> None:
    found = five_sentences(timeline_of(only(uid), key(uid)))
    assert len(found) == 5
    assert [part for part in parts if part not in " ".join(found)] == []


def test_summary_claims_nothing_of_what_is_missing() -> None:
    """Of a chain whose beginning is gone, only what is left is told, and that it is gone."""
    found = five_sentences(timeline_of(Export(chain()[2:], [], None), ChainKey(NAMESPACE, ESCALATION)))
    assert found[0].startswith("The record of the opening is missing")
    assert found[2] == "No message to anybody is on record as delivered, and no answer is on record."
    assert found[3] == "No decision of a quorum is on record."


def test_containment_that_no_record_proves_is_not_called_proved() -> None:
    timeline = timeline_of(Export(chain()[:2], [], None), ChainKey(NAMESPACE, ESCALATION))
    assert "which no record proves" in five_sentences(timeline)[1]
    document, _ = report_on(Export(chain()[:2], [], None), ChainKey(NAMESPACE, ESCALATION), source="x")
    assert rows(document)["Proved"] == "no record proves it"


# --- Deadlines, duties, acceptances -----------------------------------------------------------------------------------


def test_deadlines_are_met_missed_overtaken_open_or_unknown() -> None:
    def states(uid: str) -> list[tuple[str, int, State]]:
        return [(d.what, d.rung, d.state) for d in told(uid).story.deadlines]

    assert states("a") == [("acknowledge", 1, State.MET), ("decide", 1, State.MET)]
    assert states("c")[:2] == [("acknowledge", 1, State.MISSED), ("decide", 1, State.MISSED)]
    assert ("decide", 1, State.OVERTAKEN) in states("f")
    assert states("k") == [("acknowledge", 1, State.MET), ("decide", 1, State.OPEN)]
    later = story(timeline_of(only("k"), key("k")), until=told("k").story.deadlines[1].due_at + timedelta(seconds=1))
    assert later.deadlines[1].state is State.UNKNOWN


def test_duties_are_met_in_time_or_late_or_open() -> None:
    assert {uid: told(uid).story.duties[0].state for uid in "ahik"} == {
        "a": State.MET,
        "h": State.MISSED,
        "i": State.MET,
        "k": State.OPEN,
    }
    late = told("h").story.duties[0]
    assert (late.role, late.met_by) == ("legal", "lena@bank.example as legal")
    assert late.met_at is not None
    assert late.due_at is not None
    assert late.met_at > late.due_at


def test_acceptance_has_its_end_its_people_and_their_reason() -> None:
    [over], [standing] = told("b").story.acceptances, told("j").story.acceptances
    assert (over.ended_by, over.why) == ("RiskAcceptanceExpired", ("a seasonal effect",))
    assert over.until is not None
    assert over.ended_at is not None
    assert over.ended_at >= over.until
    assert (standing.ended_by, standing.by) == ("", ("max@bank.example as model-risk (record 4)",))


def test_records_of_before_the_end_was_on_record_tell_it_by_the_votes() -> None:
    export = copy.deepcopy(only("j"))
    for record in export.records:
        for entry in record["spec"]["entries"]:
            if entry["event"] == "RiskAccepted":
                del entry["detail"]["until"]
    timeline = timeline_of(export, key("j"))
    assert story(timeline).acceptances[0].until == told("j").story.acceptances[0].until


def test_close_as_accepted_is_no_second_acceptance() -> None:
    made = history(10, "z").read(drift=0.3).say("Acknowledge", "data-science", 5)
    until = format_time(made.now + timedelta(days=20))
    made.say("AcceptRisk", "model-risk", 5, until=until).say("Close", "model-risk", 30, resolution="RiskAccepted")
    [found] = report_on(export_of(made), ChainKey(NAMESPACE, made.escalation.name), source="")[1].escalations
    [acceptance] = found.story.acceptances
    assert (acceptance.ended_by, [a.closes for a in found.story.agreements]) == ("RiskAccepted", [False, True])
    assert "closed it as RiskAccepted (2026-01-15 08:40" in found.summary[3]
    assert found.story.agreements[1].by == ("max@bank.example as model-risk (record 6)",)


def test_every_breach_again_is_there_with_its_reading() -> None:
    readings = [(r.event, r.value, r.is_breach) for r in told("c").story.readings]
    assert readings == [("EscalationOpened", "0.3", True), ("BreachedAgain", "0.4", True)]


def test_decisions_have_their_credential_whole_and_their_groups() -> None:
    act = told("a").story.acts[0]
    assert (act.credential, act.groups) == ("JTI=a-0001-5c2d", "bank:staff, bank:legal")


def test_decisions_in_somebody_elses_name_say_through_what() -> None:
    found = history(uid="v").read(bias=0.3, drift=0.1).say("Acknowledge", "legal", via="console")
    document, data = report_on(export_of(found), ChainKey(NAMESPACE, found.escalation.name), source="x")
    [act] = data.escalations[-1].story.acts
    assert (act.credential, act.impersonated, act.via) == ("", True, "console")
    assert "impersonated, through console" in markdown(document)


def test_thresholds_of_all_tiers_come_from_the_policy_on_record() -> None:
    limits = [(found.tier, found.indicator, found.value) for found in told("a").story.limits]
    assert limits == [("moderate", "bias", 0.1), ("moderate", "drift", 0.2), ("high", "bias", 0.2)]


# --- What is not there ------------------------------------------------------------------------------------------------


def test_broken_chain_is_said_first_and_last() -> None:
    export = copy.deepcopy(only("a"))
    mine = [r for r in export.records if r["spec"]["escalation"] == key("a").escalation]
    mine[3]["spec"]["entries"][0]["actor"] = "mallory"
    document, data = report_on(export, key("a"), source="x")
    assert not data.escalations[0].verification.intact
    text = markdown(document)
    assert text.index("The chain of records is broken") < text.index("credit-scoring 4.2")
    assert "The chain is BROKEN: record" in text
    assert "NOT VERIFIED" in text
    assert data.escalations[0].gaps[0].startswith("The chain is broken: record")


def test_what_was_erased_is_named_with_who_and_why() -> None:
    export = copy.deepcopy(only("a"))
    record = next(r for r in export.records if r["metadata"]["name"] == f"{key('a').escalation}-000001")
    del record["spec"]["entries"][0]["open"]["owners"]
    how = {
        "at": "2026-06-01T00:00:00Z",
        "by": "dana",
        "reason": "request 2026-117",
        "fields": ["entries[0].open.owners"],
    }
    record["spec"]["redactions"] = [how]
    document, data = report_on(export, key("a"), source="x")
    assert "Erased from record 1: owners, by dana, 2026-06-01T00:00:00Z: request 2026-117" in data.escalations[0].gaps
    assert data.escalations[0].verification.redacted == 1
    assert "olga@bank" not in rows(document)["Owners"]


def test_times_without_a_reading_are_named() -> None:
    gaps = [gap for gap in told("c").gaps if gap.startswith("No reading is on record between")]
    assert gaps == [
        "No reading is on record between 2026-02-19 08:00:00 UTC and 2026-02-19 12:10:03 UTC.",
        f"No reading is on record between 2026-02-19 12:10:03 UTC and {told('c').closed[:19].replace('T', ' ')} UTC.",
    ]


def test_escalations_of_one_name_are_told_apart() -> None:
    deleted = LedgerEntry(
        "EscalationDeleted", f"{UID}/deleted", OPENED + timedelta(days=1), "riskladder", {"message": "x"}
    )
    again = LedgerEntry("EscalationOpened", "other/opened", OPENED + timedelta(days=2), "riskladder", ENTRIES[0].detail)
    document, data = report_on(
        Export(chain((*ENTRIES, deleted, again)), [], None), ChainKey(NAMESPACE, ESCALATION), source=""
    )
    first, second = data.escalations
    assert first.story.ended is not None
    assert first.story.ended.event == "EscalationDeleted"
    assert (second.opened, len(second.story.containments)) == (OPENED + timedelta(days=2), 0)
    assert "2 of 2 escalations of this name" in markdown(document)


def without_parts(uid: str, choose: Callable[[list[str]], str], times: int) -> Export:
    """The records of one escalation, from each of some entries of which something is gone."""
    mine = [copy.deepcopy(r) for r in only(uid).records]
    for _ in range(times):
        record = mine[int(choose([str(n) for n in range(len(mine))]))]["spec"]
        entry = record["entries"][int(choose([str(n) for n in range(len(record["entries"]))]))]
        part = choose([name for name in ("at", "detail", "open", "event", "actor") if name in entry] or ["none"])
        if isinstance(entry.get(part), dict) and entry[part]:
            del entry[part][choose(sorted(entry[part]))]
        else:
            entry.pop(part, None)
    return Export(mine, [], None)


@given(st.data(), st.sampled_from("abcdi"), st.integers(1, 12))
def test_whatever_is_gone_there_is_a_report_that_says_the_chain_is_broken(data: Any, uid: str, times: int) -> None:
    export = without_parts(uid, lambda names: str(data.draw(st.sampled_from(names))), times)
    document, found = report_on(export, key(uid), source="x")
    text = markdown(document)
    assert len(found.escalations[0].summary) == 5
    assert found.escalations[0].verification.intact or "The chain of records is broken" in text


# --- Article 73 -------------------------------------------------------------------------------------------------------


def test_form_names_the_act_of_awareness_and_counts_from_it() -> None:
    found = rows(account("a", "ai-act-73-initial")[0])
    assert found["Act of awareness on record"].startswith(
        "record 4: lena@bank.example as legal, Acknowledge, 2026-01-05"
    )
    assert "Article 73(3)" in found["2026-01-07, 2 days after"]
    assert "Article 73(2)" in found["2026-01-20, 15 days after"]
    assert found["Aware since, as people have established it"] == BLANK


def test_form_invents_no_awareness() -> None:
    document, _ = account("g", "ai-act-73-initial")
    found = rows(document)
    assert (found["Act of awareness on record"], found["Aware since"]) == ("none is on record", BLANK)
    assert not [label for label in found if "days after" in label]
    assert "DRILL" in markdown(document)


def test_first_act_counts_before_a_later_acknowledgement() -> None:
    found = rows(account("c", "ai-act-73-initial")[0])
    assert found["Act of awareness on record"].startswith(
        "record 13: lena@bank.example as legal, Resume, 2026-02-19 09:50"
    )
    assert found["First acknowledgement on record"].startswith("record 22: lena@bank.example, 2026-02-19 12:13")


def test_who_raises_it_manually_is_aware() -> None:
    aware = told("i").story.awareness
    assert aware is not None
    assert (aware.who, aware.act, aware.record) == ("max@bank.example", "raised manually", 1)


def test_form_leaves_to_people_what_records_cannot_know() -> None:
    found = rows(account("a", "ai-act-73-initial")[0])
    for label in ("Member State where the incident occurred", "Provider, with address", "Root cause", "Place and date"):
        assert found[label] == BLANK
    assert (found["Name"], found["Version"]) == ("credit-scoring", "4.2")
