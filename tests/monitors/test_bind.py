"""``riskladder bind``: a binding from a sample, what each value becomes, and what it needs to be allowed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from riskladder.api.validation import validate
from riskladder.cli.main import app
from tests.monitors.tables import SAMPLES, samples

ROOT = Path(__file__).parents[2]
EXAMPLES, LADDER = ROOT / "examples" / "monitor", ROOT / "examples" / "ladders" / "credit-scoring.yaml"
NOW = ("--received-at", "2026-11-30T00:00:00Z")
CHOSEN = ("--name", "b", "--ladder", "credit-scoring", "--target", "credit-scorer", "--source", "drift-monitor")
NOTHING = {
    *("synthetic-event-grid-own-schema.json", "synthetic-sns-envelope.json", "synthetic-alias-created.http"),
    *("synthetic-version-created.json", "synthetic-alarm-insufficient-data.json"),
    *("mlflow-3.17-alias-created.http", "mlflow-3.17-version-created.http"),
}


def run(*arguments: object, width: int = 80) -> Result:
    return CliRunner(env={"COLUMNS": str(width)}).invoke(app, ["bind", *map(str, arguments)])


def binding(tmp_path: Path, **changes: Any) -> Path:
    spec = {
        "format": "Generic",
        "ladder": "credit-scoring",
        "target": {"kind": "Deployment", "name": "credit-scorer"},
        "source": "drift-monitor",
        "serviceAccount": "drift-monitor",
        "sender": {"audienceToken": {}},
        "readings": [{"indicator": "population_stability_index"}],
    }
    document = {
        "apiVersion": "riskladder.dev/v1alpha1",
        "kind": "MonitorBinding",
        "metadata": {"name": "b"},
        "spec": {key: value for key, value in {**spec, **changes}.items() if value is not None},
    }
    file = tmp_path / "binding.yaml"
    file.write_text(yaml.safe_dump(document))
    return file


def payload(tmp_path: Path, body: Any) -> Path:
    file = tmp_path / "payload.json"
    file.write_text(body if isinstance(body, str) else json.dumps(body))
    return file


# --- from -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", samples(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_is_written_from_a_sample_can_be_tried_on_it(tmp_path: Path, path: Path) -> None:
    result = run("from", path, *CHOSEN)
    if path.name in NOTHING:
        assert (result.exit_code, result.stdout) == (2, "")
        return
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout.replace("timeZone: CHANGE-ME", "timeZone: Europe/Berlin").replace(
        "CHANGE_ME", "DriftCoefficient"
    )
    document = yaml.safe_load(text)
    assert validate("MonitorBinding", document, unknown_fields=True) == []
    (tmp_path / "b.yaml").write_text(text)
    tried = run("test", tmp_path / "b.yaml", path, *NOW)
    assert tried.exit_code in (0, 1), tried.stderr
    assert "is not CEL" not in tried.stdout
    assert "found no entry of this indicator" not in tried.stdout


def test_what_is_not_chosen_is_marked_and_refused(tmp_path: Path) -> None:
    sample = SAMPLES / "evidently/evidently-0.7-nan.json"
    result = run("from", sample)
    assert result.stdout.count("CHANGE-ME") == 5
    (tmp_path / "b.yaml").write_text(result.stdout)
    tried = run("test", tmp_path / "b.yaml", sample)
    assert tried.exit_code == 2
    assert "CHANGE-ME" in tried.stderr


def test_comments_say_what_the_format_knows() -> None:
    drift = run("from", SAMPLES / "evidently/evidently-0.7-report-with-tests.json").stdout
    assert "# metrics[1].value: bad when high; at least 0" in drift
    assert "# metrics[2].value: bad when low; from 0 to 1" in drift
    assert "an estimate without the truth" in run("from", SAMPLES / "nannyml/nannyml-0.13-cbpe.records.json").stdout
    assert "fair at 1, bad on both sides" in run("from", SAMPLES / "trustyai/python-service-metrics.txt").stdout
    alerts = run("from", SAMPLES / "alertmanager/synthetic-group-mixed-truncated.json").stdout
    assert "narrow where by entry.labels (instance, model)" in alerts


def test_hostile_text_of_a_sample_stays_text(tmp_path: Path) -> None:
    hostile = 'x"\n  - indicator: y\x1b[31m \u202e\ufffd\'"'
    metric = {"id": hostile, "config": {"type": hostile, "column": hostile, "method": hostile}, "value": {hostile: 1.5}}
    file = payload(tmp_path, {"metrics": [metric | {"metric_name": hostile}], "tests": []})
    result = run("from", file, *CHOSEN)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    [reading] = yaml.safe_load(result.stdout)["spec"]["readings"]
    (tmp_path / "b.yaml").write_text(result.stdout)
    tried = run("test", tmp_path / "b.yaml", file, *NOW)
    assert (tried.exit_code, "\x1b" in tried.stdout) == (0, False)
    assert "1.5" in tried.stdout
    assert reading["indicator"].isascii()


def test_format_can_be_chosen_and_file_must_be_there(tmp_path: Path) -> None:
    file = payload(tmp_path, {"value": 1})
    assert "format: Generic" in run("from", file).stdout
    assert "found nothing, expected" in run("from", file, "--format", "Alertmanager").stderr
    assert run("from", tmp_path / "none.json").exit_code == 2


# --- test -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("example", "sample", "readings"),
    [
        ("binding-evidently.yaml", "evidently/credit-drift.json", ["population_stability_index  0.563425"]),
        (
            "binding-nannyml.yaml",
            "nannyml/credit-cbpe.json",
            ["estimated_roc_auc  0.899432", "estimated_roc_auc  0.911953"],
        ),
        (
            "binding-fairlearn.yaml",
            "generic/credit-fairlearn-difference.json",
            ["demographic_parity_difference  0.240878"],
        ),
    ],
)
def test_example_reads_what_the_program_writes(example: str, sample: str, readings: list[str]) -> None:
    result = run(
        "test", EXAMPLES / example, SAMPLES / sample, "--header", "X-Observed-At: 2026-11-24T06:00:00Z", *NOW, width=200
    )
    assert result.exit_code == 0
    assert [line[: len(one)] for line, one in zip(result.stdout.splitlines()[1:], readings, strict=False)] == readings
    assert f"{len(readings)} reading" in result.stdout.splitlines()[-1]


def test_readings_are_a_table_that_fits_a_terminal(tmp_path: Path) -> None:
    file = payload(tmp_path, {"value": 0.25, "observedAt": "2026-11-24T06:00:00Z"})
    result = run("test", binding(tmp_path), file, *NOW)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "INDICATOR                   VALUE  OBSERVED AT           TARGET         PATH",
        "population_stability_index  0.25   2026-11-24T06:00:00Z  credit-scorer  body",
        "b: 1 reading, 0 refused, 0 not bound.",
    ]
    assert max(map(len, result.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"value": NaN, "observedAt": "2026-11-24T06:00:00Z"}', "found nan, expected a finite number (NoReading)"),
        ({"value": 0.25}, "found no time of the measurement in the payload"),
        ({"value": 0.25, "observedAt": "2026-11-24T06:00:00"}, "which names no time zone"),
        ("{", "found no JSON at line 1"),
        ([], "0 readings, 0 refused"),
    ],
)
def test_what_is_refused_is_named_and_ends_with_1(tmp_path: Path, body: Any, said: str) -> None:
    result = run("test", binding(tmp_path), payload(tmp_path, body), *NOW, width=200)
    assert result.exit_code == 1
    assert said in result.stdout


def test_ladder_refuses_what_is_out_of_range_of_too_few_samples_or_unknown(tmp_path: Path) -> None:
    at = {"observedAt": "2026-11-24T06:00:00Z"}
    for body, indicator, said in (
        ({"value": -1, **at}, "population_stability_index", "(OutOfRange)"),
        ({"value": 0.1, "samples": 3, **at}, "population_stability_index", "(TooFewSamples)"),
        ({"value": 0.1, **at}, "psi", "the ladder has no indicator psi (UnknownIndicator)"),
    ):
        file = binding(tmp_path, readings=[{"indicator": indicator}])
        result = run("test", file, payload(tmp_path, body), "--ladder", LADDER, *NOW, width=200)
        assert result.exit_code == 1
        assert said in result.stdout


def test_headers_come_from_the_command_line(tmp_path: Path) -> None:
    file = binding(tmp_path, observedAt={"from": "Header", "header": "X-Observed-At"})
    body = payload(tmp_path, {"value": 0.1})
    assert run("test", file, body, *NOW).exit_code == 1
    assert run("test", file, body, "--header", "x-observed-at: 2026-11-24T06:00:00Z", *NOW).exit_code == 0
    assert "expected 'Name: value'" in run("test", file, body, "--header", "nothing", *NOW).stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"source": "Wrong Name"}, "spec.source"),
        ({"timeZone": "Mars/Olympus"}, "spec.timeZone: found no time zone 'Mars/Olympus'"),
        ({"readings": [{"indicator": "i", "pick": "entry.valeu"}]}, "found entry.valeu, expected one of entry.path"),
    ],
)
def test_binding_that_cannot_be_used_ends_with_2(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    result = run("test", binding(tmp_path, **changes), payload(tmp_path, {"value": 1}), *NOW)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(
    ("name", "sample", "more", "readings"),
    [
        (
            "evidently",
            "evidently/evidently-0.7-report-with-tests.json",
            ("--header", "X-Observed-At: 2026-11-29T00:00:00Z"),
            1,
        ),
        ("nannyml", "nannyml/nannyml-0.13-cbpe.records.json", (), 2),
    ],
)
def test_bindings_of_the_examples_read_what_monitors_send(
    name: str, sample: str, more: tuple[str, ...], readings: int
) -> None:
    result = run("test", EXAMPLES / f"binding-{name}.yaml", SAMPLES / sample, *more, *NOW)
    assert result.exit_code == 0, result.stdout
    assert f"{readings} reading" in result.stdout


def test_binding_of_the_example_reads_an_alert_and_hears_the_watchdog(tmp_path: Path) -> None:
    body = json.loads((SAMPLES / "alertmanager/am-0.34-firing.json").read_text())
    fired = body["alerts"][0] | {
        "labels": {"alertname": "DemographicParity", "model": "credit-scorer"},
        "annotations": {"value": "0.27"},
    }
    body["alerts"] = [fired, body["alerts"][0] | {"labels": {"alertname": "Watchdog"}}]
    result = run("test", EXAMPLES / "binding-alertmanager.yaml", payload(tmp_path, body), "--ladder", LADDER, *NOW)
    assert result.exit_code == 0, result.stdout
    assert "0.27" in result.stdout
    assert "Heartbeats\n  alerts[1]" in result.stdout


# --- rbac -------------------------------------------------------------------------------------------------------------


def granted(*arguments: object) -> list[tuple[str, str, str, set[tuple[str, str, str, str]]]]:
    """Who is granted what: account, its namespace, the namespace of the grant, and group, resource, verb and name."""
    result = run("rbac", *arguments)
    assert result.exit_code == 0, result.stderr
    documents = list(yaml.safe_load_all(result.stdout))
    roles = {(d["metadata"]["namespace"], d["metadata"]["name"]): d for d in documents if d["kind"] == "Role"}
    found = []
    for document in documents:
        if document["kind"] == "RoleBinding":
            where = document["metadata"]["namespace"]
            [subject] = document["subjects"]
            rules = roles.pop((where, document["roleRef"]["name"]))["rules"]
            what = {
                (group, resource, verb, name)
                for rule in rules
                for group in rule["apiGroups"]
                for resource in rule["resources"]
                for verb in rule["verbs"]
                for name in rule.get("resourceNames", ["*"])
            }
            found.append((subject["name"], subject["namespace"], where, what))
    assert roles == {}
    return found


ACCOUNT = {
    ("riskladder.dev", "modelrisksignals", "create", "*"),
    ("riskladder.dev", "modelrisksignals", "patch", "*"),
    ("riskladder.dev", "sources", "report", "drift-monitor"),
}
ON_SIGNALS = {
    ("riskladder.dev", "modelrisksignals", "impersonate-on:serviceaccount:create", "*"),
    ("riskladder.dev", "modelrisksignals", "impersonate-on:serviceaccount:patch", "*"),
}
AS_ACCOUNT = {("authentication.k8s.io", "serviceaccounts", "impersonate:serviceaccount", "drift-monitor")}


def test_ingest_may_act_as_the_account_for_signals_only(tmp_path: Path) -> None:
    assert granted(binding(tmp_path), "-n", "models") == [
        ("riskladder-ingest", "riskladder-system", "models", AS_ACCOUNT | ON_SIGNALS),
        ("drift-monitor", "models", "models", ACCOUNT),
    ]


def test_account_in_a_namespace_of_its_own_is_acted_as_there(tmp_path: Path) -> None:
    file = binding(tmp_path, serviceAccountNamespace="monitors", sender={"hmac": {"secretKey": "k"}})
    assert granted(file, "-n", "models", "--ingest-namespace", "rl") == [
        ("riskladder-ingest", "rl", "monitors", AS_ACCOUNT),
        ("riskladder-ingest", "rl", "models", ON_SIGNALS),
        ("drift-monitor", "monitors", "models", ACCOUNT),
    ]


def test_poll_is_who_acts_for_a_binding_that_asks(tmp_path: Path) -> None:
    file = binding(tmp_path, sender=None, poll={"endpoint": "main", "query": "up"})
    assert [who for who, *_ in granted(file, "-n", "models")] == ["riskladder-poll", "drift-monitor"]


def test_legacy_verb_is_wider_and_says_so(tmp_path: Path) -> None:
    file = binding(tmp_path)
    assert granted(file, "-n", "models", "--legacy")[0][3] == {("", "serviceaccounts", "impersonate", "drift-monitor")}
    assert "in everything that this account may do" in run("rbac", file, "-n", "models", "--legacy").stdout


def test_namespace_has_to_be_known(tmp_path: Path) -> None:
    assert "give --namespace" in run("rbac", binding(tmp_path)).stderr


def test_example_of_permissions_grants_what_rbac_writes() -> None:
    documents = list(yaml.safe_load_all((ROOT / "docs/examples/monitor-rbac.yaml").read_text()))
    [role] = [document for document in documents if document["kind"] == "Role"]
    printed = yaml.safe_load_all(run("rbac", EXAMPLES / "binding-alertmanager.yaml").stdout)
    assert role["rules"] in [document.get("rules") for document in printed]
