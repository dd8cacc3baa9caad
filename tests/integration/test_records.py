"""Records on a real API server: who may redact, that nothing else ever changes, and which namespace they name."""

from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import yaml
from kubernetes import client, config
from typer.testing import CliRunner, Result

from riskladder.api.chain import verify_chains
from riskladder.api.commitments import open_fields
from riskladder.api.escalation import LedgerHead
from riskladder.api.record import MAX_DETAIL, OPEN_NAMES
from riskladder.cli.main import app
from riskladder.cluster.events import ObjectReference, Series, event_object
from riskladder.cluster.ledger import LedgerEntry, record_object
from tests.cluster import ControlPlane
from tests.cluster.install import NAMESPACE, ROOT
from tests.integration.test_manifests import APPEND_ONLY, Answer, Caller, collection, eventually, single, with_token
from tests.trails import OPENED, Document

OFFICER, PATCHER = "dana", "pat"
JSON_PATCH = "application/json-patch+json"
RATIONALE = "entries[0].open.rationale"
LESSONS = "entries[1].open.lessons"
ACTS = (
    LedgerEntry(
        "Commented", "u/decision/d1", OPENED, "ana", {"rationale": "the vendor, Eva Example, says so", "message": "m"}
    ),
    LedgerEntry("Reviewed", "u/decision/d2", OPENED, "ben", {"lessons": "ask Eva Example earlier", "role": "legal"}),
)


@pytest.fixture(scope="module")
def admin(installed: ControlPlane) -> Caller:
    return Caller(config.new_client_from_config(str(installed.kubeconfig)))


@pytest.fixture(scope="module")
def operator_account(admin: Caller) -> Caller:
    return with_token(admin, NAMESPACE, "riskladder")


@pytest.fixture
def namespace(admin: Caller) -> Iterator[str]:
    """A namespace in which dana may redact, and pat may patch only."""
    core: Any = client.CoreV1Api(admin.api)
    rbac: Any = client.RbacAuthorizationV1Api(admin.api)
    name = f"records-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    role, binding = yaml.safe_load_all((ROOT / "docs/examples/redact-rbac.yaml").read_text())
    role["metadata"]["namespace"] = binding["metadata"]["namespace"] = name
    rbac.create_namespaced_role(name, role)
    rbac.create_namespaced_role_binding(name, binding)
    rules = [{"apiGroups": ["riskladder.dev"], "resources": ["escalationrecords"], "verbs": ["*"]}]
    rbac.create_namespaced_role(name, {"metadata": {"name": "patch"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patch"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": PATCHER}
    rbac.create_namespaced_role_binding(
        name, {"metadata": {"name": "zz-patch"}, "roleRef": reference, "subjects": [user]}
    )
    eventually(
        "dana may redact", lambda: officer(admin).may("redact", "escalationrecords/open", name, group="riskladder.dev")
    )
    eventually("pat may patch", lambda: patcher(admin).may("patch", "escalationrecords", name, group="riskladder.dev"))
    yield name
    if admin.request("GET", f"/api/v1/namespaces/{name}").code == 200:
        core.delete_namespace(name)


def officer(admin: Caller) -> Caller:
    return Caller(admin.api, {"Impersonate-User": OFFICER, "Impersonate-Group": "privacy-officers"})


def patcher(admin: Caller) -> Caller:
    return admin.impersonating(PATCHER)


def uid_of(admin: Caller, namespace: str) -> str:
    return str(admin.request("GET", f"/api/v1/namespaces/{namespace}").body["metadata"]["uid"])


def written(admin: Caller, operator: Caller, namespace: str, head: LedgerHead | None = None) -> Document:
    """A record of two entries with personal text, as stored."""
    answer = operator.create(namespace, record_object(namespace, uid_of(admin, namespace), "scorer-1", ACTS, head))
    assert answer.code == 201, answer.message
    return answer.body


def redaction(*paths: str, by: str = OFFICER, **other: Any) -> list[Document]:
    """The patch that removes these values and says so."""
    removals = [
        {"op": "remove", "path": "/spec/" + path.replace("[", "/").replace("]", "").replace(".", "/")} for path in paths
    ]
    said = {"at": "2026-12-01T09:00:00Z", "by": by, "reason": "Art. 17", "fields": list(paths), **other}
    return [*removals, {"op": "add", "path": "/spec/redactions", "value": [said]}]


def patch(caller: Caller, namespace: str, record: Document, operations: list[Document]) -> Answer:
    return caller.request("PATCH", single(namespace, record), operations, JSON_PATCH)


def again(operations: list[Document]) -> list[Document]:
    """The same where a redaction is there already."""
    *others, last = operations
    return [*others, {"op": "add", "path": "/spec/redactions/-", "value": last["value"][0]}]


def test_holder_of_the_verb_redacts_one_value_after_the_other_and_the_chain_verifies(
    admin: Caller, operator_account: Caller, namespace: str
) -> None:
    record = written(admin, operator_account, namespace)
    head = LedgerHead(sequence=1, hash=record["spec"]["hash"])
    second = written(admin, operator_account, namespace, head)
    answer = patch(officer(admin), namespace, record, redaction(RATIONALE))
    assert answer.code == 200, answer.message
    answer = patch(officer(admin), namespace, record, again(redaction(LESSONS, reason="Art. 17, too")))
    assert answer.code == 200, answer.message
    stored = answer.body
    assert "Eva Example" not in str(stored)
    assert record["spec"]["entries"][0]["open"]["rationale"]["salt"] not in str(stored)
    assert [r["by"] for r in stored["spec"]["redactions"]] == [OFFICER, OFFICER]
    kept = {k: v for k, v in stored["metadata"].items() if k not in ("managedFields", "resourceVersion", "generation")}
    assert {k: record["metadata"][k] for k in kept} == kept
    [result] = verify_chains([stored, second])
    assert (result.intact, result.length, result.redacted) == (True, 2, 2)


def test_nobody_else_redacts_and_nobody_for_another(admin: Caller, operator_account: Caller, namespace: str) -> None:
    record = written(admin, operator_account, namespace)
    refused = patch(patcher(admin), namespace, record, redaction(RATIONALE, by=PATCHER))
    assert refused.is_refused_by(
        "riskladder-records", f"{PATCHER} may not redact escalationrecords/scorer-1-000001", 'the verb "redact"'
    ), refused.message
    refused = patch(officer(admin), namespace, record, redaction(RATIONALE, by="somebody"))
    assert refused.is_refused_by("riskladder-records", f"says by somebody, and this is {OFFICER}"), refused.message
    assert patch(operator_account, namespace, record, redaction(RATIONALE, by="x")).code == 403
    assert admin.request("GET", single(namespace, record)).body == record


@pytest.mark.parametrize(
    ("operation", "words"),
    [
        ({"op": "replace", "path": "/spec/entries/0/actor", "value": "nobody"}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/entries/0/event", "value": "Counted"}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/entries/0/at", "value": "2026-01-01T00:00:00Z"}, "a record is immutable"),
        ({"op": "add", "path": "/spec/entries/1/detail/role", "value": "other"}, "a record is immutable"),
        ({"op": "add", "path": "/spec/entries/1/detail/more", "value": "x"}, "a record is immutable"),
        ({"op": "remove", "path": "/spec/entries/0/commitments/rationale"}, "a record is immutable"),
        ({"op": "remove", "path": "/spec/entries/0/commitments"}, "a record is immutable"),
        (
            {"op": "replace", "path": "/spec/entries/0/commitments/rationale", "value": "0" * 64},
            "a record is immutable",
        ),
        ({"op": "remove", "path": "/spec/entries/1"}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/hash", "value": "1" * 64}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/previousHash", "value": "1" * 64}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/namespaceUid", "value": "other"}, "a record is immutable"),
        ({"op": "remove", "path": "/spec/namespaceUid"}, "a record is immutable"),
        ({"op": "replace", "path": "/spec/entries/0/open/message/value", "value": "x"}, "never added or changed"),
        ({"op": "replace", "path": "/spec/entries/0/open/message/salt", "value": "0" * 32}, "never added or changed"),
        (
            {"op": "add", "path": "/spec/entries/0/open/more", "value": {"salt": "0" * 32, "value": "x"}},
            "never added or changed",
        ),
        ({"op": "remove", "path": "/spec/entries/0/open/message"}, "expected exactly those that it removes"),
        (
            {"op": "add", "path": "/spec/redactions/0/fields/-", "value": LESSONS},
            "expected exactly those that it removes",
        ),
        ({"op": "add", "path": "/spec/redactions/0/fields/-", "value": "entries[9].open.x"}, "expected exactly those"),
        (
            {
                "op": "add",
                "path": "/spec/redactions/-",
                "value": {"at": "2026-12-01T09:00:00Z", "by": OFFICER, "reason": "r", "fields": [LESSONS]},
            },
            "a redaction appends one entry",
        ),
        ({"op": "remove", "path": "/spec/redactions"}, "a redaction appends one entry"),
        ({"op": "replace", "path": "/spec/redactions/0/reason", "value": ""}, "at least 1 chars"),
        ({"op": "add", "path": "/metadata/labels/more", "value": "x"}, APPEND_ONLY),
        ({"op": "add", "path": "/metadata/annotations", "value": {"more": "x"}}, APPEND_ONLY),
        ({"op": "add", "path": "/metadata/finalizers", "value": ["example.com/mine"]}, APPEND_ONLY),
    ],
    ids=lambda value: f"{value['op']}-{value['path']}" if isinstance(value, dict) else "",
)
def test_redaction_that_changes_anything_else_is_refused(
    admin: Caller, operator_account: Caller, namespace: str, operation: Document, words: str
) -> None:
    record = written(admin, operator_account, namespace)
    for caller, by in ((officer(admin), OFFICER), (admin, who(admin))):
        asked = [*redaction(RATIONALE, by=by), operation]
        answer = patch(caller, namespace, record, asked)
        assert answer.code in (403, 422), answer.body
        assert words in answer.message, answer.message
    assert admin.request("GET", single(namespace, record)).body == record


def who(caller: Caller) -> str:
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    answer = caller.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", review)
    return str(answer.body["status"]["userInfo"]["username"])


def test_what_was_redacted_is_not_added_again(admin: Caller, operator_account: Caller, namespace: str) -> None:
    record = written(admin, operator_account, namespace)
    value = record["spec"]["entries"][0]["open"]["rationale"]
    stored = patch(officer(admin), namespace, record, redaction(RATIONALE)).body
    back = {"op": "add", "path": "/spec/entries/0/open/rationale", "value": value}
    for operations in (
        [back],
        [back, {"op": "remove", "path": "/spec/redactions"}],
        [*again(redaction(LESSONS)), back],
    ):
        answer = patch(officer(admin), namespace, record, operations)
        assert answer.code == 422, answer.message
        assert "never added or changed" in answer.message
    reverted = patch(officer(admin), namespace, record, [{"op": "remove", "path": "/spec/redactions"}])
    assert reverted.code == 422
    assert admin.request("GET", single(namespace, record)).body == stored


def test_removal_without_a_redaction_is_refused(admin: Caller, operator_account: Caller, namespace: str) -> None:
    record = written(admin, operator_account, namespace)
    answer = patch(officer(admin), namespace, record, redaction(RATIONALE)[:1])
    assert answer.code == 422
    assert "a redaction appends one entry to redactions" in answer.message


def test_holder_of_the_verb_deletes_nothing(admin: Caller, operator_account: Caller, namespace: str) -> None:
    record = written(admin, operator_account, namespace)
    assert patch(officer(admin), namespace, record, redaction(RATIONALE)).code == 200
    assert officer(admin).request("DELETE", single(namespace, record)).code == 403
    for caller in (patcher(admin), admin):
        refused = caller.request("DELETE", single(namespace, record))
        assert refused.is_refused_by("riskladder-records", APPEND_ONLY), refused.message


def test_record_names_the_namespace_as_it_is_now(admin: Caller, operator_account: Caller, namespace: str) -> None:
    stale = record_object(namespace, "uid-of-before", "scorer-1", ACTS, None)
    refused = operator_account.create(namespace, stale)
    says = 'spec.namespaceUid is "uid-of-before", expected the uid of namespace ' + namespace
    assert refused.code == 422, refused.body
    assert says in refused.message, refused.message
    without = copy.deepcopy(stale)
    del without["spec"]["namespaceUid"]
    assert 'spec.namespaceUid is ""' in operator_account.create(namespace, without).message
    assert written(admin, operator_account, namespace)["spec"]["namespaceUid"] == uid_of(admin, namespace)
    assert len(admin.request("GET", collection(namespace, "EscalationRecord")).body["items"]) == 1


def test_operator_reads_a_namespace_by_name_only(admin: Caller, operator_account: Caller, namespace: str) -> None:
    assert operator_account.request("GET", f"/api/v1/namespaces/{namespace}").code == 200
    assert operator_account.request("GET", "/api/v1/namespaces").code == 403


def test_binding_in_one_namespace_grants_to_read_that_one(admin: Caller, namespace: str) -> None:
    """The namespaced overlay binds the ClusterRole by a RoleBinding in each namespace."""
    rbac: Any = client.RbacAuthorizationV1Api(admin.api)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "riskladder"}
    user = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "confined"}
    rbac.create_namespaced_role_binding(
        namespace, {"metadata": {"name": "confined"}, "roleRef": reference, "subjects": [user]}
    )
    confined = admin.impersonating("confined")
    where = "/api/v1/namespaces/"
    eventually("the binding is in force", lambda: confined.request("GET", where + namespace).code == 200)
    assert confined.request("GET", where + "default").code == 403


def test_largest_record_is_taken_and_redacted_as_a_whole(
    admin: Caller, operator_account: Caller, namespace: str
) -> None:
    """The API server gives up a rule that costs too much: it must not be one of these."""
    said = dict.fromkeys(OPEN_NAMES, "ä" * 2000)
    detail = {f"reading.indicator_{number:03}": "0.123456789" * 20 for number in range(MAX_DETAIL - 1)}
    acts = [
        LedgerEntry("EscalationOpened", f"u/{number}", OPENED, "riskladder", {**detail, **said}) for number in range(16)
    ]
    body = record_object(namespace, uid_of(admin, namespace), "scorer-1", acts, None)
    assert len(json.dumps(body)) > 900_000
    answer = operator_account.create(namespace, body)
    assert answer.code == 201, answer.message
    paths = sorted(open_fields(answer.body["spec"]))
    assert len(paths) == 16 * len(OPEN_NAMES)
    one, *rest = paths
    answer = patch(officer(admin), namespace, answer.body, redaction(one))
    assert answer.code == 200, answer.message
    answer = patch(officer(admin), namespace, answer.body, again(redaction(*rest)))
    assert answer.code == 200, answer.message
    [result] = verify_chains([answer.body])
    assert (result.intact, result.redacted) == (True, len(paths))


def test_event_with_a_series_is_taken(operator_account: Caller, namespace: str) -> None:
    about = ObjectReference("riskladder.dev/v1alpha1", "Escalation", namespace, "scorer-1", "uid")
    texts = {"reason": "Notified", "key": "k", "note": "legal was notified; security was notified", "instance": "tests"}
    last = OPENED + timedelta(seconds=2)
    event = event_object(about, at=OPENED, warning=False, series=Series(2, last), **texts)
    answer = operator_account.request("POST", f"/apis/events.k8s.io/v1/namespaces/{namespace}/events", event)
    assert answer.code == 201, answer.message
    assert answer.body["series"] == {"count": 2, "lastObservedTime": "2026-11-24T06:00:05.120417Z"}


# --- The command ------------------------------------------------------------------------------------------------------


def run(plane: ControlPlane, namespace: str, *arguments: str, user: str = OFFICER) -> Result:
    who_ = ("--as", user, "--as-group", "privacy-officers" if user == OFFICER else "nobody")
    where = ("-n", namespace, "--kubeconfig", str(plane.kubeconfig))
    return CliRunner().invoke(app, ["redact", *arguments, *where, *who_])


def test_command_shows_tries_and_erases(
    installed: ControlPlane, admin: Caller, operator_account: Caller, namespace: str
) -> None:
    record = written(admin, operator_account, namespace)
    name = record["metadata"]["name"]
    shown = run(installed, namespace, name)
    assert shown.exit_code == 0, shown.stderr
    assert f"{namespace}/{name}: 3 values in open, 0 redacted" in shown.stdout
    assert f"  {RATIONALE}  the vendor, Eva Example, says so" in shown.stdout

    erase = (name, "--field", "rationale", "--field", LESSONS, "--reason", "request 117")
    tried = run(installed, namespace, *erase, "--dry-run")
    assert tried.exit_code == 0, tried.stderr
    assert f"2 values to be erased for good, as {OFFICER}" in tried.stdout
    assert "The API server would take it; nothing was erased" in tried.stdout
    assert admin.request("GET", single(namespace, record)).body == record

    done = run(installed, namespace, *erase, "--output", "json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["by"], answer["fields"], answer["verifies"]) == (OFFICER, [RATIONALE, LESSONS], True)
    stored = admin.request("GET", single(namespace, record)).body
    assert "Eva Example" not in json.dumps(stored)
    [result] = verify_chains([stored])
    assert (result.intact, result.redacted) == (True, 2)

    again_ = run(installed, namespace, *erase)
    assert again_.exit_code == 2
    assert f"rationale is redacted already, by {OFFICER} at " in again_.stderr
    assert f"redacted, by {OFFICER}" in run(installed, namespace, name).stdout


def test_command_erases_the_copies_in_the_chain(
    installed: ControlPlane, admin: Caller, operator_account: Caller, namespace: str
) -> None:
    record = written(admin, operator_account, namespace)
    name, spec = record["metadata"]["name"], record["spec"]
    text = spec["entries"][0]["open"]["rationale"]["value"]
    head = LedgerHead(sequence=1, hash=spec["hash"])
    told = LedgerEntry("Notified", "u/9", OPENED, "riskladder", {"message": f"legal was notified: ana: {text}"})
    copy_ = record_object(namespace, uid_of(admin, namespace), "scorer-1", [told], head)
    assert operator_account.create(namespace, copy_).code == 201

    erase = (name, "--field", RATIONALE, "--reason", "request 117")
    tried = run(installed, namespace, *erase, "--dry-run")
    assert "The same text is in 1 more value of 1 record of the chain:" in tried.stdout
    assert "scorer-1-000002  entries[0].open.message  legal was notified: ana:" in tried.stdout
    assert "NOT erased: 1 copy of it" in tried.stdout
    done = run(installed, namespace, *erase, "--copies", "--output", "json")
    assert done.exit_code == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["record"], answer["fields"], answer["left"]) == (name, [RATIONALE], [])
    assert [(each["record"], each["fields"]) for each in answer["copies"]] == [
        ("scorer-1-000002", ["entries[0].open.message"])
    ]
    stored = [admin.request("GET", single(namespace, each)).body for each in (record, copy_)]
    assert text not in json.dumps(stored)
    [result] = verify_chains(stored)
    assert (result.intact, result.length, result.redacted) == (True, 2, 2)


def test_command_says_why_it_was_refused(
    installed: ControlPlane, admin: Caller, operator_account: Caller, namespace: str
) -> None:
    record = written(admin, operator_account, namespace)
    name = record["metadata"]["name"]
    erase = (name, "--field", "rationale", "--reason", "r")
    refused = run(installed, namespace, *erase, user=PATCHER)
    assert refused.exit_code == 1
    assert f"{PATCHER} may not redact escalationrecords/{name} in namespace {namespace}" in refused.stderr
    nobody = run(installed, namespace, *erase, user="eve")
    assert (nobody.exit_code, "eve" in nobody.stderr) == (2, True)
    assert run(installed, namespace, "none-000001", "--field", "rationale", "--reason", "r").exit_code == 2
    assert "say why with --reason" in run(installed, namespace, name, "--field", "rationale").stderr
    wrong = run(installed, namespace, name, "--field", "role", "--reason", "r")
    assert (
        f"record {namespace}/{name}: found no role in open; there is entries[0].open.message, {RATIONALE}, "
        in wrong.stderr
    )
    assert admin.request("GET", single(namespace, record)).body == record
