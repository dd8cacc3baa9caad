"""``riskladder lint`` on bindings: what is wrong with one, and what a reviewer would ask."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder.api.binding import MonitorBindingSpec, MonitorFormat
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.monitors.advice import advise_binding
from riskladder.monitors.check import problems
from tests.monitors.tables import spec
from tests.monitors.test_bind import LADDER, binding
from tests.unit.test_cli_lint import run

POLL = {"endpoint": "main", "query": "up", "every": "60s"}


def ladder(**indicator: Any) -> EscalationLadderSpec:
    """The example ladder, with one indicator changed, and with triggers of its own where these are given."""
    content = yaml.safe_load(LADDER.read_text())["spec"]
    trigger = indicator.pop("trigger", None)
    content["indicators"][1].update(indicator)
    if trigger is not None:
        content["tiers"][0]["triggers"][1] = {"indicator": "population_stability_index", **trigger}
    return EscalationLadderSpec.model_validate(content)


def bound(reading: dict[str, Any] | None = None, **more: Any) -> MonitorBindingSpec:
    changed = {"source": "drift-monitor", **more}
    if "poll" in changed:
        changed["sender"] = None
    name = MonitorFormat(changed.pop("format", "Generic" if "poll" in changed else "Evidently"))
    return spec(name, {"indicator": "population_stability_index", **(reading or {})}, **changed)


def advice(found: MonitorBindingSpec, against: EscalationLadderSpec | None) -> list[str]:
    return [one.id for one in advise_binding(found, against, has_ladders=True)]


# --- Errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "path", "said"),
    [
        ({"where": "entry.name ==="}, "spec.readings[0].where", "is not CEL"),
        (
            {"where": "entry.nmae == 'x'"},
            "spec.readings[0].where",
            "found entry.nmae, expected one of entry.path, entry.name",
        ),
        ({"pick": "entires.value"}, "spec.readings[0].pick", "found entires, which is neither a function nor"),
        ({"pick": "fetch('http://x')"}, "spec.readings[0].pick", "found fetch, which is neither a function nor"),
    ],
)
def test_expression_that_cannot_work_is_a_problem(reading: dict[str, Any], path: str, said: str) -> None:
    [problem] = problems(bound(reading))
    assert problem.path == path
    assert said in problem.message


@pytest.mark.parametrize(
    "expression",
    [
        "entry.labels.model == 'entry.nonsense'",
        "entry.fields.any.thing > 1 || entry.value > 0.0",
        "double(entry.annotations.value)",
        "body.alerts.size() == 1 && has(entry.fields.x)",
        "entry.name.startsWith('x')",
        "entry.value < 0.0 ? -entry.value : entry.value",
    ],
)
def test_expression_that_may_work_is_none(expression: str) -> None:
    assert problems(bound({"pick": expression})) == []


def test_unknown_time_zone_is_a_problem_and_heartbeat_and_time_are_looked_at() -> None:
    found = problems(
        bound(timeZone="Mars/Olympus", heartbeat="entry.x", observedAt={"from": "Expression", "cel": "entry.y"})
    )
    assert [problem.path for problem in found] == ["spec.observedAt.cel", "spec.heartbeat", "spec.timeZone"]


def test_lint_has_errors_and_advice_with_their_lines(tmp_path: Path) -> None:
    result = run(binding(tmp_path, readings=[{"indicator": "x", "where": "entry.nmae == ''"}]), LADDER)
    assert result.exit_code == 1
    assert "error: spec.readings[0].where: found entry.nmae" in result.stdout
    result = run(binding(tmp_path, readings=[{"indicator": "x"}], source="nobody", ladder="credit-scoring"), LADDER)
    assert result.exit_code == 0
    assert "[source-untrusted]" in result.stdout
    assert "[indicator-unknown]" in result.stdout
    assert "[ladder-missing]" in run(binding(tmp_path, ladder="other"), LADDER).stdout
    assert run(binding(tmp_path)).stdout == "1 object checked: 0 errors, 0 warnings.\n"


# --- Advice -----------------------------------------------------------------------------------------------------------


def test_good_bindings_need_no_advice() -> None:
    assert advice(bound({"where": "entry.name == 'ValueDrift' && entry.method == 'psi'"}), ladder()) == []
    assert advice(bound(poll=POLL), ladder()) == []


@pytest.mark.parametrize("query", ["x or vector(0)", "sum(x) OR  on() vector (0)", "x or on (a) (vector(1))"])
def test_quiet_zero_of_a_query_is_seen(query: str) -> None:
    assert advice(bound(poll=POLL | {"query": query}), None)[0] == "silence-hidden"


def test_staleness_between_two_polls_is_seen() -> None:
    assert advice(bound(poll=POLL | {"every": "2h"}), ladder(staleAfter="1h")) == ["stale-between-polls"]


@pytest.mark.parametrize(
    ("reading", "trigger", "is_suspicious"),
    [
        ({"where": "entry.method == 'ks'"}, {"above": 0.2}, True),
        ({"where": "entry.method == 'ks'"}, {"below": 0.05}, False),
        ({"where": "entry.name == 'ValueDrift' && entry.method == 'psi'"}, {"below": 0.2}, True),
        ({"where": "entry.name == 'Accuracy'"}, {"above": 0.9}, True),
        ({"where": "entry.name == 'Accuracy'", "scale": -1}, {"above": -0.9}, False),
        ({"where": "entry.name == 'trustyai_spd'"}, {"above": 0.1}, True),
        ({"where": "entry.name == 'trustyai_spd'", "pick": "-entry.value"}, {"above": 0.1}, False),
        ({"where": "entry.column == 'ks'"}, {"above": 0.2}, False),
        ({"where": "entry.method == 'ks'", "as": "Breach"}, {"above": 0.5}, False),
    ],
)
def test_direction_against_the_method_is_seen(
    reading: dict[str, Any], trigger: dict[str, Any], is_suspicious: bool
) -> None:
    found = advice(bound(reading), ladder(range=None, trigger=trigger))
    assert ("direction-suspicious" in found) is is_suspicious


def test_direction_of_a_query_is_seen() -> None:
    found = bound(poll=POLL | {"query": 'trustyai_spd{modelId="m"}'})
    assert "direction-suspicious" in advice(found, ladder())


@pytest.mark.parametrize(
    ("reading", "changes", "found"),
    [
        ({"where": "entry.method == 'hellinger'"}, {"range": {"min": 0, "max": 100}}, ["scale-suspicious"]),
        ({"where": "entry.method == 'hellinger'", "scale": 100}, {"range": {"min": 0, "max": 1}}, ["scale-suspicious"]),
        ({"where": "entry.method == 'hellinger'", "scale": 100}, {"range": {"min": 0, "max": 100}}, []),
        ({"where": "entry.method == 'hellinger'"}, {"trigger": {"above": 20}}, ["threshold-unreachable"]),
        ({"where": "entry.method == 'psi'"}, {"trigger": {"above": 20}}, []),
    ],
)
def test_scale_and_range_that_do_not_fit_are_seen(
    reading: dict[str, Any], changes: dict[str, Any], found: list[str]
) -> None:
    assert advice(bound(reading), ladder(**changes)) == found


def test_format_without_a_time_needs_another_source_of_it() -> None:
    reading = {"where": "entry.name == 'distance'"}
    assert advice(bound(reading, format="AlibiDetect"), ladder()) == ["no-time"]
    assert advice(bound(reading, format="AlibiDetect", observedAt={"from": "Received"}), ladder()) == []


def test_registry_measures_nothing() -> None:
    assert advice(bound(format="MLflow"), ladder()) == ["no-measurement"]
