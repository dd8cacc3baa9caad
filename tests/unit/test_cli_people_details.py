"""What `status` and `show` look like, and what the commands say where there is no cluster to ask."""

from __future__ import annotations

import io
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console, RenderableType
from typer.testing import CliRunner, Result

from riskladder.api.decision import DecidedBy
from riskladder.api.reasons import Reason
from riskladder.cli.main import app
from riskladder.cli.output import write_json
from riskladder.cli.people import options
from riskladder.cli.people.details import details
from riskladder.cli.people.show import facts
from riskladder.cli.people.status import as_json, in_order, table
from riskladder.people.case import Case, read_case
from riskladder.people.choices import choices
from riskladder.people.view import View
from tests.people import NAME, NAMESPACE, NOW, ROOT, at, condition, decided, escalation, notified

HOSTILE = "\x1b[31m[bold]x[/bold]\u202e"
ANN = DecidedBy(username="ann", credential_id="JTI=0b1c")
EVERYTHING = {(verb, "legal") for verb in ("acknowledge", "resume", "comment")}


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def text(renderable: RenderableType, width: int = 160) -> str:
    to = Console(file=io.StringIO(), width=width, markup=False, emoji=False, highlight=False)
    to.print(renderable)
    found: str = to.file.getvalue()  # type: ignore[attr-defined]
    return found


def lines(renderable: RenderableType) -> list[str]:
    return [" ".join(line.split()) for line in text(renderable).splitlines()]


def named(name: str, **changes: Any) -> Case:
    raw = escalation(**changes)
    raw["metadata"]["name"] = name
    return read_case(raw)


# --- status -------------------------------------------------------------------------------------------------------


def test_status_is_one_line_each_and_what_is_due_first_comes_first() -> None:
    late, soon, never = (
        named("late", nextDeadline=at(12)),
        named("soon", contained=False, tier="moderate", waitingOn=[]),
        named("never", nextDeadline=None, conditions=[]),
    )
    assert [case.name for case in in_order([never, soon, late])] == ["late", "soon", "never"]
    assert lines(table([late, soon, never], "namespace models", NOW)) == [
        "NAME TIER TARGET CONTAINED WAITING ON DUE AGE",
        "late high Deployment/credit-scorer yes executive, legal 8 min late 20 min",
        "soon moderate Deployment/credit-scorer no nobody in 40 min 20 min",
        "never high Deployment/credit-scorer in progress executive, legal - 20 min",
        "",
        "3 escalations open.",
    ]
    assert lines(table([late], "the cluster", NOW, everywhere=True))[1].startswith("models late high")
    assert lines(table([], "namespace models", NOW)) == ["No escalation is open in namespace models."]


def test_drills_are_marked() -> None:
    raw = escalation()
    raw["spec"]["drill"] = True
    shown = lines(table([read_case(raw)], "x", NOW))
    assert "high (drill)" in shown[1]
    assert shown[-1] == "1 escalation open, 1 drill among them."
    assert "DRILL: the model is not touched" in text(details(View(read_case(raw), ()), NOW))


def test_status_for_programs() -> None:
    assert as_json(read_case(escalation())) == {
        "namespace": NAMESPACE,
        "name": NAME,
        "tier": "high",
        "drill": False,
        "target": {"kind": "Deployment", "name": "credit-scorer"},
        "contained": "yes",
        "suspended": False,
        "waitingOn": ["executive", "legal"],
        "dueAt": at(60),
        "openedAt": at(),
    }


# --- show ---------------------------------------------------------------------------------------------------------


def full() -> Case:
    return read_case(
        escalation(
            notifications=[
                notified("legal", "legal-pager"),
                notified("security", "soc-pager", "Failed", attempts=5, lastError="HTTP 503"),
                notified("executive", "exec-email", "Pending", doneAt=None),
            ],
            decisions=[
                decided("Acknowledge", "legal", "ann", minutes=4),
                decided("Resume", "model-risk", "max"),
                decided(
                    "Resume", "legal", "olga", counted=False, reason="ModelOwner", refusedBecause="olga owns the model"
                ),
            ],
            clocks=[
                {"name": "ai-act-art-73", "role": "legal", "startedAt": at(), "dueAt": at(60 * 24 * 15)},
                {"name": "gdpr", "role": "legal", "startedAt": at(), "dueAt": at(60), "metAt": at(10)},
            ],
        )
    )


def test_page_names_all_owners_and_those_that_match_nobody_who_has_called() -> None:
    subject = read_case(escalation(owners=["group:science", "oidc:otto"]))
    shown = lines(details(View(subject, (), unseen_owners=("oidc:otto",)), NOW))
    assert "Owners olga, group:science, oidc:otto" in shown
    assert any(line.startswith("Not seen yet oidc:otto: has neither decided nor raised") for line in shown)
    assert not any(line.startswith("Not seen yet") for line in lines(details(View(subject, ()), NOW)))


def test_page_says_everything() -> None:
    subject = full()
    shown = lines(details(View(subject, choices(subject, EVERYTHING, ANN)), NOW))
    for line in (
        "models/credit-scorer-3f9a1c2b",
        "Model credit-scorer, version 2026.11.3",
        "Reading demographic_parity_difference = 0.27 (moderate above 0.1, high above 0.2)",
        "Rung 1, tier high, since 2026-11-24 06:00:03 UTC (20 min ago) (EscalationOpened)",
        "Acknowledged yes; the deadline was 2026-11-24 06:10:03 UTC",
        "Decide by 2026-11-24 07:00:03 UTC (in 40 min); otherwise the model stays contained, and "
        "model-risk is notified",
        "Waiting on executive and legal (or deputy-counsel)",
        "legal notified over legal-pager, delivered 2026-11-24 06:00:04 UTC (20 min ago) (EscalationOpened)",
        "security NOT notified over soc-pager, failed 2026-11-24 06:00:04 UTC (20 min ago) after 5 attempts: HTTP 503 "
        "(EscalationOpened)",
        "executive on its way over exec-email, queued 2026-11-24 06:00:03 UTC (20 min ago) (EscalationOpened)",
        "legal acknowledged by ann, 2026-11-24 06:04:03 UTC (16 min ago)",
        "Contained yes (ScaledToZero)",
        "Applied 32 ms after the intent",
        "Resume max as model-risk, 2026-11-24 06:05:03 UTC (15 min ago)",
        "Resume olga as legal, 2026-11-24 06:05:03 UTC (15 min ago); refused (ModelOwner): olga owns the model",
        "Resume 1 of 2: max for model-risk; still needed: legal (or deputy-counsel)",
        "AcceptRisk 0 of 2; still needed: legal (or deputy-counsel) and executive",
        "Close 0 of 2; still needed: legal (or deputy-counsel) and model-risk",
        "ai-act-art-73 legal: due 2026-12-09 06:00:03 UTC (in 15 d)",
        "gdpr legal: met 2026-11-24 06:10:03 UTC (10 min ago)",
    ):
        assert line in shown
    assert f"kubectl riskladder resume {NAME} -n models --role legal --rationale '…'" in text(
        details(View(subject, choices(subject, EVERYTHING, ANN)), NOW)
    )


def test_page_says_that_the_ladder_is_suspended_and_so_does_the_list() -> None:
    raw = escalation()
    raw["status"]["conditions"].append(
        condition("LadderActive", False, "LadderSuspended", "EscalationLadder x is suspended")
    )
    subject = read_case(raw)
    shown = lines(details(View(subject, ()), NOW))
    assert "Suspended EscalationLadder x is suspended; decisions count, and a Resume restores" in shown
    listed = lines(table([subject], "namespace models", NOW))
    assert "suspended" in listed[1]
    assert "no deadline has its effect" in listed[-1]
    assert as_json(subject)["suspended"]


def test_end_of_the_watch_after_a_resume_is_no_deadline_and_a_breach_ends_it() -> None:
    resume = {"intent": 1, "at": at(5), "by": ["ann"], "appliedAt": at(6), "watchUntil": at(10), "tier": "high"}
    over = text(details(View(read_case(escalation(resume=resume)), ()), NOW))
    assert "was watched until 2026-11-24 06:10:03 UTC" in over
    assert "late" not in over.partition("Resumed")[2].partition("\n")[0]
    raw = escalation(resume=resume)
    raw["status"]["containments"][0]["intent"]["id"] = 2
    again = text(details(View(read_case(raw), ()), NOW))
    assert "it is contained again since" in again
    assert "watched until" not in again


def test_page_says_that_nothing_is_on_record_and_whom_nothing_waits_for() -> None:
    raw = escalation()
    raw["status"]["waitingOn"] = []
    assert "Waiting on nobody" in lines(details(View(read_case(raw), ()), NOW))
    raw["status"] = {}
    shown = lines(details(View(read_case(raw), ()), NOW))
    assert any(line.startswith("Rung none yet: nothing is on record, and nobody was notified") for line in shown)
    assert "Tier high" in shown
    assert not any(line.startswith("Waiting on") for line in shown), "nobody knows yet"


def test_duty_that_was_met_late_says_by_how_much() -> None:
    met = {"name": "art-73", "role": "legal", "startedAt": at(), "dueAt": at(5), "metAt": at(5.2)}
    shown = lines(details(View(read_case(escalation(clocks=[met])), ()), NOW))
    assert any(line.startswith("art-73 legal: met ") and line.endswith(", 12 s late") for line in shown), shown


def test_page_shows_what_put_it_in_its_tier_and_why_people_decided() -> None:
    raw = escalation(decisions=[decided("Comment", "legal", "ann")])
    risen: dict[str, Any] = {"name": "fairness", "uid": "u3", "observedAt": at(10)}
    risen["readings"] = [{"indicator": "demographic_parity_difference", "value": 0.31}]
    raw["spec"]["signal"]["readings"][0]["value"] = 0.12
    raw["status"]["containments"][0]["intent"] |= {"signal": risen, "intendedAt": at(11)}
    raw["status"]["rung"] |= {"number": 2, "enteredAt": at(11)}
    subject, name = read_case(raw), raw["status"]["decisions"][0]["name"]
    found = text(details(View(subject, (), rationales={name: "two complaints\nso far"}), NOW), width=300)
    shown = [" ".join(line.split()) for line in found.splitlines()]
    limits = "(moderate above 0.1, high above 0.2)"
    assert (
        f"Reading demographic_parity_difference = 0.12 {limits}, observed 2026-11-24 05:59:03 UTC (21 min ago), which "
        "opened it"
    ) in shown
    assert (
        f"Reading demographic_parity_difference = 0.31 {limits}, observed 2026-11-24 06:10:03 UTC (10 min ago), which "
        "put it in tier high"
    ) in shown
    assert "“two complaints so far”" in shown


def test_page_after_resume_acceptance_and_close() -> None:
    resumed = read_case(
        escalation(
            resume={"intent": 1, "at": at(10), "by": ["ann", "max"], "appliedAt": at(11), "watchUntil": at(71)},
            riskAcceptance={"tier": "high", "acceptedAt": at(12), "until": at(60 * 24), "by": ["ann"]},
        )
    )
    shown = "\n".join(lines(details(View(resumed, ()), NOW)))
    assert "Resumed by ann and max, 2026-11-24 06:10:03 UTC (10 min ago); restored" in shown
    assert "Risk accepted up to tier high until 2026-11-25 06:00:03 UTC (in 23 h 40 min), by ann" in shown
    closed = read_case(
        escalation(
            conditions=[condition("Closed", True, "Remediated")],
            resolution="Remediated",
            closedAt=at(15),
            review={"by": "ann", "at": at(16), "policyUpdated": True, "satisfaction": 4},
        )
    )
    shown = "\n".join(lines(details(View(closed, ()), NOW)))
    assert "Closed 2026-11-24 06:15:03 UTC (5 min ago) as Remediated" in shown
    assert "by ann: policy changed, satisfaction 4 of 5" in shown
    assert "Agreement" not in shown


def test_page_says_what_a_review_has_taught() -> None:
    reviewed = decided("Review", "model-risk", "max")
    closed = {"conditions": [condition("Closed", True, "Remediated")], "resolution": "Remediated", "closedAt": at(15)}
    subject = read_case(escalation(decisions=[reviewed], **closed))
    taught = {reviewed["name"]: "Two quiet\nchannels"}
    assert "Lessons “Two quiet channels”" in lines(details(View(subject, (), lessons=taught), NOW))


def test_page_says_why_another_safe_state_than_the_tier_names_was_chosen() -> None:
    raw = escalation()
    intent = raw["status"]["containments"][0]["intent"]
    why = "no NetworkPolicy is enforced here"
    intent |= {"action": "ScaleToZero", "reason": "IsolateImpossible", "message": why}
    raw["spec"]["policy"]["tiers"][1]["containment"] = {"action": "Isolate"}
    assert f"instead of Isolate: {why}" in lines(details(View(read_case(raw), ()), NOW))
    raw["spec"]["policy"]["tiers"][1]["containment"] = {"action": "ScaleToZero"}
    assert not any(line.startswith("instead of") for line in lines(details(View(read_case(raw), ()), NOW)))


def test_page_of_a_reader_without_options_says_so() -> None:
    subject = full()
    shown = lines(details(View(subject, (), why_none="none, because rita holds no role"), NOW))
    assert shown.index("none, because rita holds no role") == shown.index("Options for you") + 1
    assert "For others" in shown


def test_page_of_a_rollback_and_of_a_drill() -> None:
    raw = escalation(resume={"intent": 1, "at": at(10), "by": ["ann"]})
    raw["status"]["containments"][0]["intent"] |= {"action": "Rollback", "revision": "3"}
    shown = lines(details(View(read_case(raw), ()), NOW))
    assert "No pod left of revision 4, which was taken out of service: 600 ms after the intent" in shown
    raw["spec"]["drill"] = True
    shown = lines(details(View(read_case(raw), ()), NOW))
    assert "Applied 32 ms after the intent, as a dry run: nothing was changed" in shown
    assert "being restored" not in "".join(shown)


def test_page_of_a_closed_one_says_how_it_ended() -> None:
    agreed = [
        decided("Close", role, by, resolution="Remediated") for role, by in (("legal", "ann"), ("executive", "eve"))
    ]
    closed = [condition("Closed", True, "Remediated")]
    subject = read_case(escalation(conditions=closed, resolution="Remediated", closedAt=at(15), decisions=agreed))
    assert "Closed 2026-11-24 06:15:03 UTC (5 min ago) as Remediated, by ann and eve" in lines(
        details(View(subject, ()), NOW)
    )


def test_options_say_what_an_objection_blocks() -> None:
    subject = read_case(escalation(decisions=[decided("Object", "executive", "eve")]))
    [resume, _] = [c for c in choices(subject, EVERYTHING, ANN) if c.action != "Acknowledge"]
    assert resume.what.endswith("(refused while the objection of executive stands)")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_text_of_others_breaks_out_of_the_page(width: int) -> None:
    raw = escalation()
    raw["spec"]["signal"] |= {"readings": [], "manual": {"tier": "high", "rationale": HOSTILE, "raisedBy": HOSTILE}}
    raw["spec"]["model"]["name"] = HOSTILE
    raw["status"]["notifications"] = [notified("legal", "legal-pager", "Failed", lastError=HOSTILE)]
    raw["status"]["decisions"] = [
        decided("Comment", "legal", "x", counted=False, refusedBecause=HOSTILE) | {"by": HOSTILE}
    ]
    shown = text(details(View(read_case(raw), ()), NOW), width)
    assert not {"\x1b", "\u202e"} & set(shown)
    assert max(map(len, shown.splitlines())) <= width
    assert "[bold]x" in "".join(shown.split())


def test_page_for_programs_is_json() -> None:
    subject = full()
    found = json.loads(json.dumps(facts(View(subject, choices(subject, EVERYTHING, ANN)))))
    assert [option["action"] for option in found["options"]] == ["Resume", "Comment"]
    [resume] = [a for a in found["agreement"] if a["action"] == "Resume"]
    assert resume == {
        "action": "Resume",
        "resolution": None,
        "needed": 2,
        "given": 1,
        "by": [{"role": "model-risk", "person": "max"}],
        "missing": [{"role": "legal", "count": 1}],
    }


def test_json_is_safe_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"text": f"{HOSTILE}\x9b2J\U000e0041 äß — 日本"}
    write_json(value)
    shown = capsys.readouterr().out
    assert json.loads(shown) == value
    assert not set("\x1b\x9b\u202e\U000e0041") & set(shown)
    assert "äß — 日本" in shown


def test_ages_grow() -> None:
    shown = lines(table([read_case(escalation())], "x", NOW + timedelta(days=3)))
    assert shown[1].endswith("2 d 23 h late 3 d")


# --- Without a cluster --------------------------------------------------------------------------------------------


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(app, arguments, **options)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status", "-A", "-n", "x"], "give either --namespace or --all-namespaces"),
        (["accept-risk", "x", "-m", "y"], "--until is missing: expected a date such as 2026-12-01, a time such as"),
        (
            ["close", "x", "-m", "y"],
            "--resolution is missing: expected Remediated, FalsePositive, RiskAccepted or Retired",
        ),
        (
            ["close", "x", "-m", "y", "--resolution", "Won"],
            "expected Remediated, FalsePositive, RiskAccepted or Retired",
        ),
        (["review", "x", "-m", "y", "--policy-updated", "--satisfaction", "6"], "less than or equal to 5"),
        (["contain", "x", "-m", "y", "--action", "Isolate"], "expected ScaleToZero or Rollback"),
        (["ack"], "error: Missing argument 'name': see "),
        (["ack", "x", "--nope"], "error: No such option: --nope"),
        (["nope"], "error: No such command 'nope': see "),
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.startswith("error: ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [["status"], ["show", "x"], ["ack", "x", "-m", "y"], ["contain", "deployment/x", "-m", "y"]],
)
def test_no_cluster_is_exit_code_2_and_one_sentence(arguments: list[str], tmp_path: Path) -> None:
    result = run(*arguments, "--kubeconfig", str(tmp_path / "none"))
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert result.stderr.startswith("error: cannot load credentials from kubeconfig")


def test_no_kubeconfig_at_its_default_place_is_one_sentence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    result = run("status", env={"KUBECONFIG": str(tmp_path / "none"), "KUBERNETES_SERVICE_HOST": None})
    said = result.stderr + "".join(capfd.readouterr())
    assert (result.exit_code, result.stdout) == (2, "")
    assert said == (
        f"error: cannot load credentials from kubeconfig {tmp_path / 'none'}: there is no such file: name one with "
        "--kubeconfig or $KUBECONFIG\n"
    )


COMMANDS = ("status", "show", "ack", "comment", "contain", "escalate", "object", "accept-risk", "resume", "close")


@pytest.mark.parametrize("command", [*COMMANDS, "review", "drill"])
def test_help_has_an_example(command: str) -> None:
    result = run(command, "--help", env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"kubectl riskladder {command} " in result.stdout


def test_every_reason_for_a_refusal_is_explained_to_people() -> None:
    reasons = list(Reason)
    refusals = reasons[reasons.index(Reason.NOT_PROVED) : reasons.index(Reason.TOO_MANY_DECISIONS) + 1]
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "deciding.md").read_text("utf-8"), re.MULTILINE)
    assert explained == [str(reason) for reason in refusals]


def test_completion_is_silent_without_a_cluster(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Context:
        args: list[str] = []  # noqa: RUF012
        params = {"kubeconfig": str(tmp_path / "none"), "namespace": None}  # noqa: RUF012

    for names in (options.escalations, options.roles, options.ladders):
        assert names(Context(), "") == []  # type: ignore[arg-type]
    assert capfd.readouterr() == ("", "")
