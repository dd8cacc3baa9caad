"""`riskladder timeline`."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from riskladder.api.base import format_time
from riskladder.api.chain import ChainKey
from riskladder.cli import timeline as command
from riskladder.cli.main import app
from riskladder.cluster.ledger import LedgerEntry, record_object
from riskladder.people.export import Export
from riskladder.people.record_times import clock, span
from riskladder.people.timeline import Timeline, timeline_of
from tests import yaml_text
from tests.trails import ENTRIES, ESCALATION, NAMESPACE, NAMESPACE_UID, OPENED, UID, Document, chain, escalation, listed

KEY = ChainKey(NAMESPACE, ESCALATION)
HOSTILE = "\x1b[31m[bold]x[/bold] | `code` <script> **b** [a](http://b)\n# end\u202e @all"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["timeline", *map(str, arguments)])


def write(file: Path, *objects: Document) -> Path:
    file.write_text(yaml_text.dump(listed(*objects)))
    return file


def timeline_from(records: list[Document], *escalations: Document) -> Timeline:
    return timeline_of(Export(records, list(escalations), None), KEY)


def shown(timeline: Timeline, width: int) -> str:
    to = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, highlight=False)
    command.show(to, timeline)
    return to.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_timeline_of_a_breach(tmp_path: Path) -> None:
    records = chain()
    result = run(ESCALATION, write(tmp_path / "trail.yaml", *records, escalation(records)))
    assert (result.exit_code, result.stderr) == (0, "")
    text = " ".join(result.stdout.split())
    for part in (
        f"{NAMESPACE}/{ESCALATION}",
        "Target Deployment/credit-scorer",
        "Ladder credit-scoring, generation 3, digest 1b7e5c1b7e5c…",
        "Tier high",
        "Opened 2026-11-24T06:00:03.120417Z",
        "Contained yes, RolledBack: rolled back to revision 3",
        "Chain verified, 4 records, ends at the head of the Escalation in the same file",
        "1 2026-11-24 06:00:03.120 +0.000 s EscalationOpened riskladder Deployment credit-scorer is in tier high",
        "readings demographic_parity_difference 0.240878, population_stability_index 0.15231 (observed 2026-11-24T06",
        "evidence 3 replicas, 3 ready pods, 3 ready endpoints, "
        "revision 4 (template 6f9c7b5d4), running registry.example/credit-scorer@sha256",
        "2 2026-11-24 06:00:03.152 +0.032 s ContainmentApplied riskladder rolled back to revision 3 32 ms after",
        "times intended 06:00:03.120, applied +32 ms",
        "3 2026-11-24 06:00:03.612 +0.492 s RolledBack",
        "applied +32 ms, out of service +53 ms, no pod left +407 ms (492 ms in all)",
        "4 2026-11-24 08:03:03.120 +2 h 03 min ContainmentReapplied",
        "fieldManager kubectl-edit",
    ):
        assert part in text


def test_records_alone_make_the_timeline(tmp_path: Path) -> None:
    text = run(ESCALATION, write(tmp_path / "trail.yaml", *chain()[:3])).stdout
    assert "Deployment/credit-scorer" in text
    assert "yes, RolledBack: proved (as record 3 says)" in text
    assert "no noted head to compare the end with" in text


@pytest.mark.parametrize(
    ("length", "contained"),
    [
        (1, "no containment on record"),
        (2, "no, ContainmentApplied: applied, not proved yet"),
        (4, "yes, ContainmentReapplied"),
    ],
)
def test_contained_state_from_the_records(length: int, contained: str) -> None:
    assert timeline_from(chain()[:length]).contained.startswith(contained)


def test_end_of_an_escalation() -> None:
    closing = LedgerEntry(
        "Cleared", "closed", OPENED + timedelta(days=3, hours=4), "riskladder", {"message": "at baseline"}
    )
    timeline = timeline_from(chain([*ENTRIES, closing]))
    assert timeline.closed == "2026-11-27T10:00:03.120417Z, Cleared"
    assert "Closed     2026-11-27T10:00:03.120417Z, Cleared" in shown(timeline, 80)
    assert "+3 d 04 h" in shown(timeline, 80)


def test_escalation_without_its_first_record_and_a_drill() -> None:
    records = chain()
    exercise = escalation(records)
    exercise["spec"]["drill"] = True
    timeline = timeline_from(records[1:], exercise)
    assert (timeline.target, timeline.ladder, timeline.drill) == ("Deployment/credit-scorer", "credit-scoring", True)
    assert timeline.opened == OPENED + timedelta(microseconds=31_883)
    assert "Tier       high (drill)" in shown(timeline, 80)


def test_broken_chain_is_shown_and_marked(tmp_path: Path) -> None:
    records = chain()
    records[2]["spec"]["entries"][0]["actor"] = "mallory"
    file = write(tmp_path / "trail.yaml", *records)
    result = run(ESCALATION, file)
    assert result.exit_code == 1
    assert f"BROKEN: record {ESCALATION}-000003 was changed" in result.stdout
    assert result.stdout.count("not verified") == 2
    answer = json.loads(run(ESCALATION, file, "-o", "json").stdout)
    assert [record["verified"] for record in answer["records"]] == [True, True, False, False]
    assert answer["chain"]["firstBadRecord"] == f"{ESCALATION}-000003"
    assert run(ESCALATION, file, "-o", "markdown").stdout.count("**(unverified)**") == 2


def test_json_has_everything(tmp_path: Path) -> None:
    records = chain()
    answer = json.loads(run(ESCALATION, write(tmp_path / "x", *records, escalation(records)), "-o", "json").stdout)
    assert answer["opened"] == "2026-11-24T06:00:03.120417Z"
    assert answer["chain"] == {
        "intact": True,
        "length": 4,
        "head": records[-1]["spec"]["hash"],
        "notedHead": 4,
        "firstBadRecord": None,
        "error": None,
        "redacted": 0,
    }
    second = answer["records"][1]
    assert (second["sequence"], second["secondsSinceOpening"], second["at"]) == (
        2,
        0.031883,
        records[1]["spec"]["entries"][0]["at"],
    )
    assert second["detail"] == {"key": ENTRIES[1].key, **ENTRIES[1].detail}
    assert second["redacted"] == {}


def test_order_is_that_of_the_chain_not_of_the_file() -> None:
    assert [step.sequence for step in timeline_from(chain()[::-1]).steps] == [1, 2, 3, 4]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal(width: int) -> None:
    long = LedgerEntry(
        "Commented", "c", OPENED, "system:serviceaccount:" + "n" * 80, {"message": "word " * 60, "x": "y" * 300}
    )
    text = shown(timeline_from(chain([*ENTRIES, long])), width)
    assert max(map(len, text.splitlines())) <= width
    assert "y" * 40 in text


def test_user_text_is_text(tmp_path: Path) -> None:
    record = LedgerEntry("Commented", "c", OPENED, HOSTILE, {"message": HOSTILE, HOSTILE: HOSTILE})
    file = write(tmp_path / "trail.yaml", *chain([record]))
    text = run(ESCALATION, file).stdout
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert r"\x1b[31m[bold]x[/bold]" in text
    *_, row = run(ESCALATION, file, "-o", "markdown").stdout.splitlines()
    assert row.startswith("| 1 | 2026-11-24 06:00:03.120 | +0.000 s | Commented | ")
    assert row.replace(r"\|", "").count("|") == 7
    for escaped in (r"\[bold\]", r"\`code\`", "&lt;script&gt;", r"\*\*b\*\*", r"\[a\]\(", r"\# end", "&#64;all"):
        assert escaped in row


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=3), st.text(min_size=1))
def test_any_text_gives_one_markdown_row_of_six_cells(detail: dict[str, str], actor: str) -> None:
    *_, row = command.as_markdown(timeline_from(chain([LedgerEntry("Commented", "c", OPENED, actor, detail)])))
    assert len(row.splitlines()) == 1
    assert row.replace("\\\\", "").replace("\\|", "").count("|") == 7


def test_unreadable_times_and_fields_do_not_stop_the_story() -> None:
    records = chain()
    records[1]["spec"]["entries"][0]["at"] = "yesterday"
    records[2]["spec"]["entries"][0]["detail"] = ["x"]
    del records[3]["spec"]["entries"][0]["event"]
    text = shown(timeline_from(records), 80)
    assert "yesterday  ?" in text
    assert text.count("not verified") == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none",), f"no record of an escalation none; there are: {ESCALATION}, second"),
        (("none", "-n", "other"), f"no record of an escalation none in namespace other; there are: {ESCALATION}"),
        (("none", "-n", "none"), "no record of an escalation none in namespace none; there is none at all"),
        (
            (ESCALATION,),
            f"several namespaces have an escalation {ESCALATION}: choose with --namespace one of models, other",
        ),
    ],
)
def test_name_must_be_one(tmp_path: Path, arguments: tuple[str, ...], says: str) -> None:
    file = write(tmp_path / "x", *chain(), *chain(namespace="other"), *chain(escalation="second"))
    result = run(arguments[0], file, *arguments[1:])
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"error: {says}\n")


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    result = run(ESCALATION, tmp_path / "none")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot be read: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("delta", "text"),
    [
        (timedelta(0), "+0.000 s"),
        (timedelta(milliseconds=42), "+0.042 s"),
        (timedelta(milliseconds=-1500), "-1.500 s"),
        (timedelta(seconds=59.9996), "+1 min 00 s"),
        (timedelta(minutes=2, seconds=5), "+2 min 05 s"),
        (timedelta(hours=1, minutes=2), "+1 h 02 min"),
        (timedelta(days=3, hours=4), "+3 d 04 h"),
    ],
)
def test_spans(delta: timedelta, text: str) -> None:
    assert span(delta) == text


def test_clock_does_not_round_up() -> None:
    assert clock(datetime(2026, 1, 1, 23, 59, 59, 999_999)) == "23:59:59.999"


def test_deleted_escalation_says_nothing_of_the_model_any_more(tmp_path: Path) -> None:
    deleted = LedgerEntry(
        "EscalationDeleted", "uid/deleted", OPENED, "riskladder", {"message": "deleted while it was open"}
    )
    text = run(ESCALATION, write(tmp_path / "trail.yaml", *chain((*ENTRIES, deleted)))).stdout
    assert "unknown: the Escalation was deleted" in text


# --- People -----------------------------------------------------------------------------------------------------------

HEAD = "credit-scorer is in tier high: demographic_parity_difference is 0.24"


def later(event: str, key: str, minutes: float, actor: str = "riskladder", **detail: str) -> LedgerEntry:
    return LedgerEntry(event, f"{UID}/{key}", OPENED + timedelta(minutes=minutes), actor, detail)


def notified_entry(role: str, event: str = "Notified", attempts: str = "1", about: str = "") -> LedgerEntry:
    detail = {
        "notification": f"1/{role}/notified/pager",
        "about": about or event,
        "role": role,
        "channel": "pager",
        "attempts": attempts,
        "message": f"{role} was notified over pager: {HEAD}",
    }
    return later(event, f"notified/1/{role}/notified/pager", 1, **detail)


def decided(event: str, actor: str, role: str, action: str, minutes: float = 20, **more: str) -> LedgerEntry:
    refused = f" refused: {more.pop('because')}" if "because" in more else ""
    detail = {
        "decision": f"d-{actor}-{action.lower()}",
        "decisionUid": f"u-{actor}-{action}",
        "action": action,
        "role": role,
        "rationale": f"{actor} has a reason",
        "decidedAt": format_time((OPENED + timedelta(minutes=minutes)).replace(microsecond=0)),
        "message": f"{actor} as {role}: {action}{refused}",
        **more,
    }
    return later(event, f"decision/{detail['decisionUid']}", minutes, actor, **detail)


PEOPLE = (
    *ENTRIES[:3],
    notified_entry("legal"),
    notified_entry("model-risk", attempts="3"),
    decided("Acknowledged", "ann", "legal", "Acknowledge", 5),
    later(
        "Held", "stalled/1", 10, message="nobody decided in time: it is held as it is", onTimeout="Hold", tier="high"
    ),
    decided(
        "DecisionRefused",
        "olga",
        "model-risk",
        "Resume",
        refusedBecause="ModelOwner",
        because="olga owns the model: an owner has no say in Resume",
    ),
    decided("Counted", "ann", "legal", "Resume"),
    decided("Counted", "max", "model-risk", "Resume", 21),
    later("Resumed", "resumed/1", 21, message="resumed by ann, max", tier="high"),
    later("Restored", "restored/1", 21.1, message="restored: 3 replica(s) asked for, the lock is removed", intent="1"),
    decided("Counted", "ann", "legal", "Close", 30, resolution="Remediated"),
    decided("Counted", "max", "legal", "Close", 30, resolution="FalsePositive"),
    decided("Counted", "eve", "executive", "Close", 31, resolution="Remediated"),
    later("Remediated", "closed", 31, message="closed as Remediated by ann, eve"),
    notified_entry("legal", about="Remediated"),
    decided(
        "Reviewed",
        "max",
        "model-risk",
        "Review",
        60,
        policyUpdated="true",
        satisfaction="4",
        lessons="Two quiet channels",
    ),
)


def particulars(timeline: Timeline, sequence: int) -> dict[str, str]:
    step = next(step for step in timeline.steps if step.sequence == sequence)
    return {particular.heading: particular.text for particular in step.particulars}


def test_timeline_of_people() -> None:
    timeline = timeline_from(chain(PEOPLE))
    assert timeline.closed == "2026-11-24T06:31:03.120417Z, Remediated"
    assert timeline.contained == "no, Restored: restored (as record 12 says)"
    assert (timeline.tier, timeline.drill, timeline.result) == ("high", False, None)
    assert particulars(timeline, 6) == {"why": "ann has a reason", "decision": "d-ann-acknowledge"}
    assert particulars(timeline, 7) == {"detail": "onTimeout Hold, tier high"}
    assert particulars(timeline, 8) == {
        "refused": "ModelOwner",
        "why": "olga has a reason",
        "decision": "d-olga-resume",
    }
    assert particulars(timeline, 11) == {
        "agreed": "ann as legal (record 9) and max as model-risk (record 10)",
        "detail": "tier high",
    }
    assert particulars(timeline, 13)["asked for"] == "resolution Remediated"
    assert particulars(timeline, 16) == {"agreed": "ann as legal (record 13) and eve as executive (record 15)"}
    assert particulars(timeline, 18)["review"] == "the policy is changed, satisfaction 4 of 5"
    assert particulars(timeline, 18)["lessons"] == "Two quiet channels"


def test_words_of_a_message_are_shown_once() -> None:
    timeline = timeline_from(chain(PEOPLE))
    first, second, last = (next(step for step in timeline.steps if step.sequence == number) for number in (4, 5, 17))
    assert first.says == first.message == f"legal was notified over pager: {HEAD}"
    assert second.says == "model-risk was notified over pager: the words of record 4"
    assert second.message.endswith(HEAD)
    assert last.says == "legal was notified over pager: the words of record 4"
    assert [particulars(timeline, number) for number in (4, 5, 17)] == [
        {},
        {"about": "3 attempts"},
        {"about": "Remediated"},
    ]
    records = command.as_json(timeline)["records"]
    assert isinstance(records, list)
    assert records[4]["message"] == second.message


def test_people_are_seen_on_the_page_and_in_the_report() -> None:
    timeline = timeline_from(chain(PEOPLE))
    text = " ".join(shown(timeline, 120).split())
    for part in (
        "DecisionRefused olga olga as model-risk: Resume refused: olga owns the model",
        "refused ModelOwner",
        "why olga has a reason",
        "Resumed riskladder resumed by ann, max agreed ann as legal (record 9) and max as model-risk (record 10)",
    ):
        assert part in text
    report = "\n".join(command.as_markdown(timeline))
    assert "*refused:* ModelOwner<br>*why:* olga has a reason" in report
    assert "Result of the drill" not in report


def test_votes_of_another_rung_are_not_those_of_a_resume() -> None:
    raised = later("TierRaised", "tier/critical", 20, message="raised", rung="2", tier="critical")
    records = [
        *ENTRIES,
        decided("Counted", "ann", "legal", "Resume", 19),
        raised,
        decided("Counted", "max", "model-risk", "Resume", 21),
        later("Resumed", "resumed/2", 22, message="resumed by max"),
    ]
    timeline = timeline_from(chain(records))
    assert particulars(timeline, 8)["agreed"] == "max as model-risk (record 7)"


def test_what_a_refused_decision_asked_for_is_not_what_is() -> None:
    refused = decided(
        "DecisionRefused", "eve", "executive", "Escalate", tier="critical", because="no", refusedBecause="X"
    )
    timeline = timeline_from(chain([*ENTRIES, refused]))
    assert timeline.tier == "high"
    assert particulars(timeline, 5)["asked for"] == "tier critical"


def test_decision_that_waited_for_the_operator_says_when_it_was_made() -> None:
    waited = decided("Acknowledged", "ann", "legal", "Acknowledge", decidedAt="2026-11-24T06:00:00Z")
    assert (
        particulars(timeline_from(chain([waited])), 1)["decision"] == "d-ann-acknowledge, decided 2026-11-24T06:00:00Z"
    )


# --- Drills -----------------------------------------------------------------------------------------------------------

DRILL = (
    LedgerEntry("DrillStarted", f"{UID}/opened", OPENED, "riskladder", dict(ENTRIES[0].detail)),
    later(
        "Rehearsed",
        "rehearsed/1",
        0.1,
        action="ScaleToZero",
        message="ScaleToZero as a dry run: permitted and admitted; nothing was changed",
    ),
    decided("Acknowledged", "ann", "legal", "Acknowledge", 5),
    LedgerEntry(
        "DrillCompleted",
        f"{UID}/drill",
        OPENED + timedelta(minutes=13),
        "riskladder",
        {
            "role.legal": "answered after 754 s",
            "role.security": "never answered",
            "containment": "permitted",
            "channelsFailed": "soc-pager",
            "openedAt": format_time(OPENED),
            "message": "the rung of tier high was answered; 1 role(s) never answered",
        },
    ),
    later("DrillCompleted", "closed", 13, message="the rung of tier high was answered"),
)


def test_result_of_a_drill() -> None:
    timeline = timeline_from(chain(DRILL))
    assert timeline.drill
    assert (timeline.opened, timeline.target, timeline.tier) == (OPENED, "Deployment/credit-scorer", "high")
    assert timeline.contained == "no, Rehearsed: a drill touches nothing (as record 2 says)"
    assert timeline.closed == "2026-11-24T06:13:03.120417Z, DrillCompleted"
    assert particulars(timeline, 4) == {}
    assert timeline.result is not None
    assert timeline.result.answers == (("legal", "answered after 13 min"), ("security", "never answered"))
    text = shown(timeline, 80)
    assert "Tier       high (drill)" in text
    assert [line.split("  ")[0].strip() for line in text.splitlines()[-5:]] == [
        "Result of the drill",
        "legal",
        "security",
        "containment (dry run)",
        "channels that failed",
    ]
    assert command.as_json(timeline)["drillResult"] == {
        "answers": {"legal": "answered after 13 min", "security": "never answered"},
        "neverAnswered": 1,
        "containment": "permitted",
        "channelsFailed": "soc-pager",
    }
    *_, last = command.as_markdown(timeline)
    assert last == "| channels that failed | soc-pager |"


def test_drill_under_way_has_no_result() -> None:
    timeline = timeline_from(chain(DRILL[:3]))
    assert (timeline.drill, timeline.result, timeline.closed) == (True, None, "")
    assert "Result of the drill" not in shown(timeline, 80)


@pytest.mark.parametrize("answer", ["answered after x s", "answered after 9999999999999 s", "", "answered after  s"])
def test_answers_of_a_drill_that_nobody_wrote_are_shown_as_they_are(answer: str) -> None:
    odd = LedgerEntry("DrillExpired", "drill", OPENED, "riskladder", {"role.legal": answer, "containment": "none"})
    timeline = timeline_from(chain([odd]))
    assert timeline.result is not None
    assert timeline.result.answers == (("legal", answer),)


def test_proof_of_what_keeps_its_pods_is_shown_as_that() -> None:
    """The pods of a model whose traffic goes elsewhere run on: no timeline says that they have gone."""
    at = OPENED + timedelta(seconds=1)
    times = {"appliedAt": format_time(OPENED), "provedAt": format_time(at)}
    entry = LedgerEntry("FellBack", "contained/1", at, "riskladder", {"intent": "1", "action": "Fallback", **times})
    text = shown(timeline_from(chain([ENTRIES[0], entry])), 120)
    assert "proved +1000 ms" in text
    assert "no pod left" not in text


@pytest.mark.parametrize("event", ["EscalationOpened", "DrillStarted", "TierRaised", "BreachedAgain"])
def test_reason_of_what_a_person_raised_is_shown_as_that_of_a_decision_is(event: str) -> None:
    detail = {"raisedBy": "olga", "role": "model-risk", "rationale": "Stop it", "tier": "high", "message": "raised"}
    [step] = timeline_from(chain([LedgerEntry(event, f"{UID}/x", OPENED, "riskladder", detail)])).steps
    found = {p.heading: p.text for p in step.particulars}
    assert (found["why"], found["raised by"]) == ("Stop it", "olga as model-risk")
    assert "Stop it" not in found.get("detail", "")


def test_words_that_stand_in_the_same_record_are_not_looked_for_elsewhere() -> None:
    told = [
        LedgerEntry(
            "Notified",
            f"{UID}/n/{role}",
            OPENED,
            "riskladder",
            {
                "notification": f"n/{role}",
                "role": role,
                "channel": "mail",
                "message": f"{role} was notified over mail: it is stopped",
            },
        )
        for role in ("legal", "security")
    ]
    first, second = timeline_from([record_object(NAMESPACE, NAMESPACE_UID, ESCALATION, told, None)]).steps
    assert first.says == "legal was notified over mail: it is stopped"
    assert second.says == "security was notified over mail: the words above"
