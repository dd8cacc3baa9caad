"""What `riskladder doctor` makes of what it has found: versions, options, exit codes, and how it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from riskladder.cli.doctor.command import without_repetitions
from riskladder.cli.doctor.report import Check, Outcome, bad, exit_code, ok, show, skipped, warn
from riskladder.cli.doctor.server import judge_version
from riskladder.cli.doctor.site import Options
from riskladder.cli.people.options import Form


@pytest.mark.parametrize(
    ("version", "outcome", "words"),
    [
        ("v1.29.15", Outcome.FAIL, "Kubernetes v1.29.15, and 1.30 or newer is needed"),
        ("v1.30.0", Outcome.OK, "not used, from 1.32: who decided"),
        ("v1.35.1-eks-3f9a", Outcome.OK, "not used, from 1.36: MutatingAdmissionPolicy v1"),
        ("v1.36.3", Outcome.OK, "Kubernetes v1.36.3"),
        ("v2.0.0", Outcome.OK, "Kubernetes v2.0.0"),
        ("banana", Outcome.SKIPPED, "its version is banana"),
        ("", Outcome.SKIPPED, "its version is not said"),
    ],
)
def test_version_of_the_api_server(version: str, outcome: Outcome, words: str) -> None:
    found = judge_version({"gitVersion": version})
    assert found.outcome is outcome
    assert words in found.what
    assert ("not used" in found.what) is ("not used" in words)


def deployment(args: list[str], env: dict[str, str] | None = None) -> dict[str, Any]:
    container = {"args": args, "env": [{"name": name, "value": value} for name, value in (env or {}).items()]}
    return {"spec": {"template": {"spec": {"containers": [container]}}}}


def test_options_of_an_operator_are_read_as_it_reads_them() -> None:
    args = ["operator", "--enable=keda", "--enable", "isolate", "-n", "models", "--namespace=risk", "--observe-only"]
    found = Options.of(deployment(args, {"RISKLADDER_ENABLE": "ray", "RISKLADDER_NOTIFY_HOSTS": "a.example b.example"}))
    assert found.enable == ("keda", "isolate"), "an option takes precedence over the environment"
    assert sorted(found.namespaces) == ["models", "risk"]
    assert found.hosts == ("a.example", "b.example")
    assert Options.of(deployment([])) == Options()


def test_exit_code() -> None:
    fine, failed, unseen = ok("a", "x"), bad("b", "y"), skipped("c", "z")
    assert [exit_code(c) for c in ([fine, unseen, warn("d", "w")], [fine, failed], [unseen])] == [0, 1, 2]


def test_what_a_check_has_said_the_ladders_do_not_say_again() -> None:
    kinds = bad("custom resources", "CustomResourcesOutdated: x lacks y")
    same = bad("ladders", "models/credit: Ready=False, CustomResourcesOutdated: x lacks y")
    other = bad("ladders", "models/credit: Ready=False, Invalid: x lacks y")
    assert without_repetitions([kinds, same, other]) == [kinds, other]


CHECKS = [
    ok("API server", "Kubernetes v1.36.3"),
    bad("ladders", "models/credit: Ready=False, Invalid: \x1b[31m\u202eevil " + "long " * 40, "kubectl edit \x07"),
    warn("leftovers", "x", "kubectl annotate crd " + "riskladder.dev/confirm-delete=escalationrecords.riskladder.dev"),
]


def shown(form: Form, capsys: pytest.CaptureFixture[str], checks: list[Check]) -> str:
    show(checks, form)
    return capsys.readouterr().out


def test_table_fits_eighty_columns_and_nothing_in_it_moves_the_cursor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(Form.TABLE, capsys, CHECKS)
    assert max(map(len, text.splitlines())) <= 80
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "\\x1b[31m\\u202eevil" in text
    assert text.endswith("1 ok, 1 to know, 1 to mend.\n")


def test_programs_get_all_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    as_json = shown(Form.JSON, capsys, CHECKS)
    as_yaml = shown(Form.YAML, capsys, CHECKS)
    assert json.loads(as_json) == yaml.safe_load(as_yaml)
    assert all(c == "\n" or c.isprintable() for c in as_json + as_yaml)
    found = json.loads(as_json)
    assert found["summary"] == {"ok": 1, "warn": 1, "fail": 1, "skipped": 0}
    assert found["checks"][0] == {"check": "API server", "outcome": "OK", "found": "Kubernetes v1.36.3", "remedy": None}
