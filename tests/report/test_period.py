"""The figures of a year agree with what an independent script counts in the export."""

from __future__ import annotations

import json
import statistics
from datetime import datetime, timedelta
from typing import Any

import pytest

from riskladder.people.facts import State
from riskladder.report.archive import pack, unpack
from riskladder.report.build import report_of_period
from riskladder.report.period import Period
from tests.report.golden import ARCHIVE, SINCE, UNTIL, exported, histories, key, objects, period
from tests.unit.test_docs import run_verifier


def figures() -> Period:
    found = period()[1].period
    assert found is not None
    return found


def items() -> list[dict[str, Any]]:
    """What an archive of the year holds, as anybody would read it."""
    files = unpack(pack(objects(), since="", until="", ladder="", version="0"))
    return [item for name in ("records.json", "escalations.json") for item in json.loads(files[name])["items"]]


def test_figures_are_those_that_an_independent_script_counts() -> None:
    """The verifier of the audit page on the export, and entries counted as they stand there: nothing of ours."""
    done = run_verifier(items())
    assert (done.returncode, done.stderr) == (0, "")
    heads = dict(line.split(" ")[:2] for line in done.stdout.splitlines())
    report = period()[1]
    assert heads == {a.key: f"{a.verification.records}:{a.verification.head}" for a in report.escalations}

    records = [item["spec"] for item in items() if item["kind"] == "EscalationRecord"]
    by_chain: dict[str, list[dict[str, Any]]] = {}
    for spec in sorted(records, key=lambda s: (s["escalation"], s["sequence"])):
        by_chain.setdefault(spec["escalation"], []).extend(spec["entries"])
    drills = {name for name, entries in by_chain.items() if entries[0]["event"] == "DrillStarted"}
    real = {name: entries for name, entries in by_chain.items() if name not in drills}

    def count(event: str) -> int:
        return sum(entry["event"] == event for entries in real.values() for entry in entries)

    def at(entry: dict[str, Any]) -> datetime:
        return datetime.fromisoformat(entry["at"])

    found = figures()
    assert (found.opened, len(found.drills)) == (count("EscalationOpened"), len(drills))
    assert (found.records, found.chains) == (len(records), len(by_chain))
    assert (found.refused, found.reverts) == (count("DecisionRefused"), count("ContainmentReapplied"))
    assert found.undelivered == count("NotificationFailed")
    assert len(found.stalls) == count("Held") + count("Stalled") + count("InterimContainment")
    closed = sum(any(e["detail"]["key"].endswith("/closed") for e in entries) for entries in real.values())
    assert found.still_open == found.opened - closed
    met = [e for entries in real.values() for e in entries if e["event"] == "ClockMet"]
    in_time = [e for e in met if at(e) <= datetime.fromisoformat(e["detail"]["dueAt"])]
    assert [owed.duty.state for owed in found.duties].count(State.MET) == len(in_time)

    acknowledged = []
    for entries in real.values():
        counted = (
            e
            for e in entries
            if "decision" in e["detail"] and e["event"] not in ("DecisionRefused", "Commented", "Reviewed")
        )
        if (first := next(counted, None)) is not None:
            acknowledged.append((at(first) - at(entries[0])).total_seconds())
    [pace] = [pace for pace in found.paces if pace.stage == "acknowledge"]
    assert pace.count == len(acknowledged)
    assert pace.median == timedelta(seconds=statistics.median(acknowledged))
    assert pace.worst == timedelta(seconds=max(acknowledged))


def test_tiers_and_ladders_are_counted_apart() -> None:
    found = [(t.ladder, t.tier, t.opened, t.still_open) for t in figures().tallies]
    assert found == [("credit", "high", 5, 1), ("credit", "moderate", 3, 0), ("fraud", "moderate", 1, 1)]


def test_drills_are_kept_apart_with_how_they_went() -> None:
    found = [(drill.ended, dict(drill.answers)["legal"]) for drill in figures().drills]
    assert found == [("DrillCompleted", "answered after 2 min"), ("DrillExpired", "never answered")]


def test_open_acceptances_have_their_end() -> None:
    [found] = figures().acceptances
    assert (found.escalation, found.tier) == (str(key("j")), "moderate")
    assert found.until is not None
    assert f"{found.until:%Y-%m-%d}" == "2027-01-20"


def test_policy_changes_are_those_that_openings_show() -> None:
    found = [(c.ladder, c.before, c.generation, c.escalation) for c in figures().policy_changes]
    assert found == [
        ("models/credit", "", "3", str(key("a"))),
        ("models/credit", "3", "4", str(key("e"))),
        ("models/fraud", "", "1", str(key("j"))),
    ]


def test_period_is_told_as_of_its_end() -> None:
    """What was recorded later is not known yet: the model was not restored, and nothing was closed."""
    opened = histories()[0].opened[key("a").escalation]
    _, data = report_of_period(exported(), opened, opened + timedelta(minutes=20), source=ARCHIVE)
    [account] = data.escalations
    assert (account.closed, account.is_open, account.story.restorations) == ("", True, ())
    assert account.contained.startswith("yes, ContainmentReapplied")
    assert account.verification.records > 20, "the chain is verified as a whole"


@pytest.mark.parametrize(("ladder", "names"), [("fraud", "j"), ("none", "")])
def test_one_ladder(ladder: str, names: str) -> None:
    _, data = report_of_period(exported(), SINCE, UNTIL, ladder=ladder, source=ARCHIVE)
    assert [a.key for a in data.escalations] == [str(key(name)) for name in names]


def test_what_is_open_without_a_record_in_the_period_belongs_to_it() -> None:
    """A risk that was accepted before still ends after it."""
    _, data = report_of_period(exported(), SINCE + timedelta(days=320), SINCE + timedelta(days=340), source=ARCHIVE)
    assert data.period is not None
    assert [a.escalation for a in data.period.acceptances] == [str(key("j"))]
    assert (data.period.opened, data.period.still_open, data.period.policy_changes) == (0, 1, ())


def test_acceptance_that_has_ended_is_open_no_more_though_nobody_recorded_its_end() -> None:
    [standing] = figures().acceptances
    assert standing.until is not None
    _, data = report_of_period(exported(), SINCE, standing.until + timedelta(days=1), source=ARCHIVE)
    assert data.period is not None
    assert data.period.acceptances == ()


def test_change_is_told_from_what_was_seen_before_the_period() -> None:
    _, data = report_of_period(exported(), SINCE + timedelta(days=90), UNTIL, source=ARCHIVE)
    assert data.period is not None
    found = {(c.ladder, c.before, c.generation) for c in data.period.policy_changes}
    assert found == {("models/credit", "3", "4"), ("models/fraud", "", "1")}


def test_escalation_that_was_opened_before_the_period_is_carried() -> None:
    _, data = report_of_period(exported(), SINCE + timedelta(days=40), UNTIL, source=ARCHIVE)
    assert data.period is not None
    carried = {(t.ladder, t.tier): t.carried for t in data.period.tallies}
    assert carried == {("credit", "high"): 0, ("credit", "moderate"): 1, ("fraud", "moderate"): 0}
    assert str(key("a")) not in [a.key for a in data.escalations]
