"""The code of Argo CD's interpreter and of Flux, run on objects of every state and on the expressions of the page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.install import ROOT
from tests.conftest import progress
from tests.gitops.argo import health, script
from tests.gitops.programs import ask, ensure_programs
from tests.gitops.states import NAMES, NO_STATUS, STATES

PAGE = ROOT / "docs" / "gitops.md"


@pytest.fixture(scope="module")
def programs(request: pytest.FixtureRequest) -> Path:
    return ensure_programs(progress(request.config))


def examples(kind: str) -> Iterator[dict[str, Any]]:
    """The objects of that kind on the page."""
    for block in re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL):
        for document in yaml.safe_load_all(block):
            if document and document.get("kind") == kind:
                yield document


def expressions() -> dict[str, dict[str, str]]:
    """The health check expressions of the page, by kind."""
    found = [e for k in examples("Kustomization") for e in k.get("spec", {}).get("healthCheckExprs", ())]
    fields = ("current", "failed", "inProgress")
    return {e["kind"]: {field: e[field] for field in fields if field in e} for e in found}


def test_argocd_health_with_the_interpreter_of_argocd(programs: Path) -> None:
    questions = [{"script": script(s.document["kind"]), "object": s.document} for s in STATES]
    answers = ask(programs / "health", questions)
    found = {name: (a.get("status"), a.get("message")) for name, a in zip(NAMES, answers, strict=True)}
    assert found == {name: health(state.document) for name, state in zip(NAMES, STATES, strict=True)}


def test_interpreter_has_no_library_that_argocd_keeps_away(programs: Path) -> None:
    [answer] = ask(programs / "health", [{"script": "return {status = ('x'):upper()}", "object": {}}])
    assert "error" in answer


def test_kstatus_of_every_state(programs: Path) -> None:
    answers = ask(programs / "kstatus", [{"object": state.document} for state in STATES])
    found = {name: a.get("status", a) for name, a in zip(NAMES, answers, strict=True)}
    assert found == {name: state.kstatus for name, state in zip(NAMES, STATES, strict=True)}


def test_health_check_expressions_of_the_page(programs: Path) -> None:
    given = expressions()
    assert set(given) == {"EscalationLadder", "EscalationDecision"}
    answers = ask(
        programs / "kstatus", [{"object": s.document, "exprs": given.get(s.document["kind"])} for s in STATES]
    )
    found = {name: a.get("status", NO_STATUS) for name, a in zip(NAMES, answers, strict=True)}
    assert found == {name: state.checked for name, state in zip(NAMES, STATES, strict=True)}


def test_kstatus_takes_a_contained_deployment_for_current(programs: Path) -> None:
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "scorer", "generation": 3},
        "spec": {"replicas": 0},
        "status": {
            "observedGeneration": 3,
            "conditions": [{"type": "Available", "status": "True"}, {"type": "Progressing", "status": "True"}],
        },
    }
    [answer] = ask(programs / "kstatus", [{"object": deployment}])
    assert answer["status"] == "Current"
