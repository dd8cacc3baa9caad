"""The workflows for GitHub, which nothing here can run: actionlint, and what it does not look at."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.build import ensure_programs
from tests.cluster.versions import ACTIONLINT
from tests.release.conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yaml"))
PINNED = re.compile(r"- (?:id: \S+\s+)?uses: ([\w./-]+)@([0-9a-f]{40})  # (v\d+\.\d+\.\d+)$", re.MULTILINE)

each_workflow = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    actionlint = ensure_programs(ACTIONLINT) / "actionlint"
    return subprocess.run([actionlint, "-no-color", *files], cwd=ROOT, capture_output=True, text=True, check=False)


def test_actionlint_finds_nothing_in_them_and_something_in_what_is_wrong(tmp_path: Path) -> None:
    linted = lint(*WORKFLOWS)
    assert (linted.returncode, linted.stdout) == (0, "")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(WORKFLOWS[0].read_text("utf-8").replace("github.ref", "github.nothing"), "utf-8")
    linted = lint(wrong)
    assert linted.returncode == 1
    assert 'property "nothing" is not defined' in linted.stdout


@each_workflow
def test_every_action_is_pinned_to_one_commit_of_a_version(file: Path) -> None:
    text = file.read_text("utf-8")
    assert text.count("uses: ") == len(PINNED.findall(text)) > 0


def test_an_action_has_the_same_pin_everywhere() -> None:
    pins = {
        match.groups() for file in WORKFLOWS for match in re.finditer(r"uses: (\S+)@(\S+)  # (\S+)", file.read_text())
    }
    assert len(pins) == len({name for name, *_ in pins})


@each_workflow
def test_permissions_are_given_to_jobs_one_by_one(file: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(file.read_text("utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), "what somebody else wrote is not to become part of a script"


@each_workflow
def test_targets_of_make_exist(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:run: |&& )make ([a-z-]+)", file.read_text("utf-8")))
    assert set() < named <= targets
