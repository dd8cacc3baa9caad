"""`riskladder lint`, and the advice it gives on a policy."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner, Result

from riskladder.api.base import API_VERSION, format_time
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.reasons import Reason
from riskladder.api.signal import ModelRiskSignalSpec, SignalStatus
from riskladder.cli import files
from riskladder.cli import lint as command
from riskladder.cli.main import app
from riskladder.policy.signals.evaluate import evaluate
from riskladder.policy.snapshot import Signal, pin
from riskladder.workloads.registry import Runtimes
from tests import yaml_text
from tests.trails import Document, chain, escalation, listed

ROOT = Path(__file__).parents[2]
LADDER = ROOT / "examples" / "ladders" / "credit-scoring.yaml"
SIGNAL = ROOT / "examples" / "monitor" / "signal-breach.yaml"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)

Change = Callable[[Document], Any]


def run(*arguments: object, stdin: str | None = None) -> Result:
    """Lint as of a fixed time, so that no result depends on the day of the test."""
    return CliRunner().invoke(app, ["lint", "--at", format_time(NOW), *map(str, arguments)], input=stdin)


def load(file: Path) -> Document:
    document: Document = files.read(str(file))[0].value
    return document


def changed(file: Path, *changes: Change) -> Document:
    document = load(file)
    for change in changes:
        change(document["spec"])
    return document


# --- The command --------------------------------------------------------------------------------------------------


def write(file: Path, *documents: Document) -> Path:
    file.write_text(yaml_text.dump_all(documents, sort_keys=False))
    return file


def test_good_files(tmp_path: Path) -> None:
    result = run(LADDER, SIGNAL)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1] == "2 objects checked: 0 errors, 0 warnings."


def test_error_says_where_and_what(tmp_path: Path) -> None:
    text = LADDER.read_text().replace("within: 24h", "within: 24x").replace("lock: true", "lokc: true")
    (tmp_path / "x.yaml").write_text(text)
    lines = text.splitlines()
    first, second = (1 + next(n for n, line in enumerate(lines) if part in line) for part in ("24x", "lokc"))
    result = run(tmp_path / "x.yaml")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        f"{tmp_path}/x.yaml:{first}: EscalationLadder/credit-scoring: error: spec.tiers[0].decide.within: "
        'found "24x", expected a duration such as 90s, 30m, 24h, 15d or 1h30m',
        f"{tmp_path}/x.yaml:{second}: EscalationLadder/credit-scoring: error: spec.tiers[1].containment.lokc: "
        "unknown field: it would be dropped without effect; check the spelling",
        "1 object checked: 2 errors, 0 warnings.",
    ]


def test_only_tier_that_is_wrong_is_still_one(tmp_path: Path) -> None:
    def spoil(spec: Document) -> None:
        spec["tiers"] = spec["tiers"][:1]
        spec["tiers"][0]["acknowledge"] = {"within": 30}

    result = run(write(tmp_path / "x.yaml", changed(LADDER, spoil)))
    assert "found 30, expected a duration such as 90s, 30m, 24h" in result.stdout
    assert "expected at least 1 item" not in result.stdout
    empty = run(write(tmp_path / "y.yaml", changed(LADDER, lambda spec: spec.update(tiers=[]))))
    assert "spec.tiers: found 0 items, expected at least 1 item" in empty.stdout


def test_error_about_a_tier_names_its_line(tmp_path: Path) -> None:
    text = LADDER.read_text()
    name = load(LADDER)["spec"]["tiers"][1]["name"]
    indicator = load(LADDER)["spec"]["tiers"][1]["triggers"][0]["indicator"]
    head, _, tail = text.partition(f"name: {name}")
    file = tmp_path / "x.yaml"
    file.write_text(head + f"name: {name}" + tail.replace(indicator, "unheard-of", 1))
    result = run(file)
    line = 1 + next(n for n, found in enumerate(text.splitlines()) if f"name: {name}" in found)
    assert f"{file}:{line}: EscalationLadder/" in result.stdout
    assert f"tier {name}: triggers names the unknown indicator unheard-of" in result.stdout


def test_warnings_are_errors_if_strict(tmp_path: Path) -> None:
    file = write(tmp_path / "x.yaml", changed(LADDER, lambda s: s["tiers"][1]["containment"].update(lock=False)))
    relaxed, strict = run(file), run(file, "--strict")
    assert (relaxed.exit_code, strict.exit_code) == (0, 1)
    assert relaxed.stdout == strict.stdout
    assert "warning: spec.tiers[1].containment.lock: " in relaxed.stdout
    assert "[lock-off]" in relaxed.stdout


def test_documents_are_distinguished_and_others_are_noted(tmp_path: Path) -> None:
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "x"}}
    foreign = {"apiVersion": "pagerduty.example/v1", "kind": "Escalation", "metadata": {"name": "y"}}
    signal = changed(SIGNAL, lambda s: s.pop("source"))
    file = write(tmp_path / "x.yaml", service, load(LADDER), signal, foreign)
    result = run(file)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == f"{file}:1: Service/x: note: not checked: not of group riskladder.dev"
    assert "ModelRiskSignal/credit-scorer-fairness (document 3): error: spec.source: is required" in lines[1]
    assert "Escalation/y (document 4): note: not checked" in lines[2]
    assert lines[3] == "2 objects checked: 1 error, 0 warnings. 2 other objects not checked."


def test_stop_is_compared_with_the_components_that_the_operator_runs_with(tmp_path: Path) -> None:
    def stop(spec: Document) -> None:
        spec["tiers"][1]["containment"] = {"action": "ScaleToZero", "lock": True}

    file = write(tmp_path / "x.yaml", changed(LADDER, stop))
    unknown = run(file, "--strict")
    assert unknown.exit_code == 0, "a note is no advice"
    assert "note: spec.tiers[1].containment.grace: not checked whether pods end within 5s" in unknown.stdout
    assert unknown.stdout.splitlines()[-1] == "1 object checked: 0 errors, 0 warnings."
    missing = run(file, "--enable", "", "--strict")
    assert missing.exit_code == 1
    assert "warning: spec.tiers[1].containment.grace: this operator ends no pods" in missing.stdout
    assert "terminationGracePeriodSeconds" in missing.stdout
    assert "[prompt-stop-missing]" in missing.stdout
    there = run(file, "--enable", "prompt-stop", "--strict")
    assert (there.exit_code, there.stdout) == (0, "1 object checked: 0 errors, 0 warnings.\n")
    assert run(file, "--enable", "prompt-stopp").exit_code == 2


def test_what_takes_a_component_is_compared_with_those_of_the_operator(tmp_path: Path) -> None:
    file = write(tmp_path / "x.yaml", changed(LADDER, lambda s: s["tiers"][1]["containment"].update(action="Isolate")))
    assert "[not-enabled]" not in run(file).stdout
    assert "[not-enabled]" in run(file, "--enable", "fallback").stdout
    assert "[not-enabled]" not in run(file, "--enable", "isolate").stdout


def test_directories_lists_and_stdin(tmp_path: Path) -> None:
    (tmp_path / "sub" / ".hidden").mkdir(parents=True)
    (tmp_path / "sub" / ".hidden" / "x.yaml").write_text("[")
    (tmp_path / "sub" / "notes.txt").write_text("[")
    (tmp_path / "sub" / "list.json").write_text(json.dumps(listed(load(LADDER), load(SIGNAL)), indent=1))
    assert run(tmp_path).stdout == "2 objects checked: 0 errors, 0 warnings.\n"
    assert run("-", stdin=LADDER.read_text()).exit_code == 0
    broken = run("-", stdin=json.dumps(listed(load(LADDER), {"apiVersion": API_VERSION, "kind": "ModelRiskSignal"})))
    assert (
        "standard input:1: ModelRiskSignal/(no name) (document 1, item 2): error: metadata: is required"
        in broken.stdout
    )


def test_time_is_what_it_is_told_to_be() -> None:
    def said(at: str) -> list[str]:
        return [f["rule"] for f in json.loads(run(LADDER, SIGNAL, "--at", at, "-o", "json").stdout)["findings"]]

    assert said("2026-11-24T12:00:00Z") == []
    assert {"review-overdue", "observed-too-long-ago"} <= {*said("2036-11-24T12:00:00Z")}
    wrong = run(LADDER, "--at", "tomorrow")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("error: --at: ")


def test_what_holds_nothing_to_check_names_what_it_holds(tmp_path: Path) -> None:
    found = run(write(tmp_path / "x.yaml", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}))
    assert found.exit_code == 2
    assert found.stderr.endswith("; found Pod\n")


def test_signal_is_checked_against_the_ladder_of_its_namespace(tmp_path: Path) -> None:
    def lint(ladder: str | None, signal: str | None, name: str = "credit-scoring") -> list[str]:
        documents = [load(LADDER), changed(SIGNAL, lambda s: s.update(ladder=name, source="script"))]
        for document, namespace in zip(documents, (ladder, signal), strict=True):
            del document["metadata"]["namespace"]
            document["metadata"] |= {"namespace": namespace} if namespace else {}
        answer = json.loads(run(write(tmp_path / "x.yaml", *documents), "-o", "json").stdout)
        return [finding["rule"] for finding in answer["findings"]]

    assert lint("models", "models") == lint(None, "models") == lint("models", None) == ["source-untrusted"]
    assert lint("models", "models", "other") == ["ladder-missing"]
    assert lint("other", "models") == []  # The ladders at hand are those of another namespace.
    assert [f["rule"] for f in json.loads(run(SIGNAL, "-o", "json").stdout)["findings"]] == []


def test_ladder_with_errors_gives_no_advice_on_itself_or_its_signals(tmp_path: Path) -> None:
    ladder = changed(LADDER, lambda s: s.pop("charter"), lambda s: s["tiers"][0].update(onTimeout="Never"))
    result = run(write(tmp_path / "x.yaml", ladder, changed(SIGNAL, lambda s: s.update(source="script"))))
    assert result.stdout.splitlines()[-1] == "2 objects checked: 1 error, 0 warnings."


def test_records_and_escalations_are_checked_too(tmp_path: Path) -> None:
    records = chain()
    records[0]["spec"]["sequence"] = 0
    assert "spec.sequence" in run(write(tmp_path / "x.yaml", *records)).stdout
    assert run(write(tmp_path / "x.yaml", escalation(records))).exit_code == 1  # Only what verify needs of one.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("kind: EscalationLadder\nmetadata: {name: x}\nspec: {}\n", "apiVersion: is required, for example riskladder"),
        ("apiVersion: riskladder.dev/v1alpha1\n", "kind: is required"),
        ("apiVersion: risk.dev/v1\nkind: EscalationLadder\n", 'apiVersion: found "risk.dev/v1", expected riskladder'),
        ("apiVersion: riskladder.dev/v1alpha1\nkind: Ladder\n", 'kind: found "Ladder", expected one of'),
        ("just text\n", 'error: found "just text", expected a Kubernetes object'),
    ],
)
def test_what_is_no_object_of_ours_but_meant_to_be(text: str, says: str) -> None:
    result = run("-", stdin=text)
    assert result.exit_code == 1
    assert says in result.stdout


def test_what_cannot_be_read_does_not_hide_the_rest(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: [\n")
    result = run(tmp_path / "none.yaml", tmp_path / "bad.yaml", LADDER)
    assert result.exit_code == 2
    assert [line.split(": ")[1].rpartition("/")[2] for line in result.stderr.splitlines()] == [
        "none.yaml",
        "bad.yaml, line 2, column 1",
    ]
    assert "1 object checked" in result.stdout
    assert json.loads(run(tmp_path / "bad.yaml", LADDER, "-o", "json").stdout)["ok"] is False


@pytest.mark.parametrize("name", ["empty", "other.yaml"])
def test_nothing_to_check(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.yaml").write_text("apiVersion: v1\nkind: Service\n")
    result = run(tmp_path / name)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)


def test_json_output(tmp_path: Path) -> None:
    file = write(tmp_path / "x.yaml", changed(LADDER, lambda s: s.pop("charter")))
    answer = json.loads(run(file, "-o", "json").stdout)
    assert (answer["ok"], answer["checked"]) == (True, 1)
    [found] = answer["findings"]
    assert found == {
        "severity": "warning",
        "file": str(file),
        "document": 1,
        "item": None,
        "line": 6,
        "kind": "EscalationLadder",
        "namespace": "models",
        "name": "credit-scoring",
        "path": "spec",
        "message": "nobody answers for the policy: a rung that stalls has no owner to be notified",
        "remedy": "add charter: {owner: …} with a stakeholder role",
        "rule": "no-charter",
    }


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit_the_terminal(tmp_path: Path, width: int) -> None:
    hostile = changed(LADDER, lambda s: s.update({"[red]x\x1b[31m": 1}), lambda s: s["tiers"][0].pop("decide"))
    documents = files.read(str(write(tmp_path / "x.yaml", copy.deepcopy(hostile))))
    documents = [type(d)("ladders/x.yaml", d.index, d.line, d.value, d.node) for d in documents]
    to = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, highlight=False)
    command.show(to, list(command.check(documents, NOW)), 1)
    text = to.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    assert r"[red]x\x1b[31m" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("file", sorted((ROOT / "examples").rglob("*.yaml")), ids=lambda file: file.name)
def test_examples_have_no_errors(file: Path) -> None:
    findings = list(command.check(files.read(str(file)), NOW))
    assert not [finding for finding in findings if finding.severity is command.Severity.ERROR]


# --- What the operator would refuse -------------------------------------------------------------------------------


def said_of(signal: Document, now: datetime, runtimes: Runtimes | None = None) -> dict[str, str]:
    """What is said of a signal that is read together with its ladder, by rule."""
    documents = [*files.read(str(LADDER)), replace(files.read(str(SIGNAL))[0], value=signal)]
    found = command.check(documents, now, runtimes)
    return {f.rule: f.message for f in found if f.document.value is signal and f.severity is not command.Severity.ERROR}


@given(minutes=st.integers(-120 * 24 * 60, 366 * 24 * 60), manual=st.booleans())
def test_time_of_a_signal_is_judged_as_the_operator_judges_it(minutes: int, manual: bool) -> None:
    signal, now = load(SIGNAL), NOW
    signal["spec"]["observedAt"] = f"{now + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%SZ}"
    if manual:
        del signal["spec"]["readings"]
        signal["spec"]["manual"] = {"tier": "high", "rationale": "x"}
    ladder = EscalationLadderSpec.model_validate(load(LADDER)["spec"])
    obj = Signal("models", "s", "u", 1, SignalStatus(), ModelRiskSignalSpec.model_validate(signal["spec"]))
    [verdict] = evaluate(pin(ladder), [obj], now).values()
    said = {"observed-in-the-future", "observed-too-long-ago"} & set(said_of(signal, now))
    assert bool(said) is (verdict.reason in (Reason.INVALID_READING, Reason.READING_TOO_OLD)), (said, verdict)


@pytest.mark.parametrize(
    ("kind", "enabled", "is_said"),
    [
        ("Deployment", None, False),
        ("Rollout", None, False),
        ("DaemonSet", None, True),
        ("Deployment", [], False),
        ("Rollout", [], True),
        ("Rollout", ["argo-rollouts"], False),
        ("DaemonSet", ["argo-rollouts"], True),
    ],
)
def test_kind_of_target_that_the_operator_would_not_support_is_named(
    kind: str, enabled: list[str] | None, is_said: bool
) -> None:
    signal = load(SIGNAL)
    signal["spec"]["target"]["kind"] = kind
    said = said_of(signal, NOW, None if enabled is None else Runtimes(enabled))
    assert (kind in said.get("target-unsupported", "")) is is_said, said
