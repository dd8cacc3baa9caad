"""The manifests on a real API server: accepted, least-privileged, and refusing what they promise to refuse."""

from __future__ import annotations

import copy
import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from riskladder.cluster import resources
from riskladder.cluster.grants import CLUSTER, NAMESPACED, NODE_LEASES, OWN_NAMESPACE, Grant
from tests.cluster import ControlPlane
from tests.cluster.install import FIELD_MANAGER, NAMESPACE, ROOT, kubectl, render, service_account_kubeconfig
from tests.patience import PATIENCE
from tests.refusals import DOCUMENTS, Document

OVERLAYS = ("default", "development", "namespaced", "without-mutating-admission")
POLICIES = {
    f"riskladder-{name}"
    for name in (
        "bindings",
        "decisions",
        "kinds",
        "lock",
        "lock-names",
        "operator",
        "raise",
        "records",
        "sources",
        "writes",
    )
}
OPERATOR = f"system:serviceaccount:{NAMESPACE}:riskladder"

GROUP = "riskladder.dev"
PLURALS = {
    "Escalation": "escalations",
    "EscalationDecision": "escalationdecisions",
    "EscalationLadder": "escalationladders",
    "EscalationRecord": "escalationrecords",
    "ModelRiskSignal": "modelrisksignals",
}
JSON, MERGE = "application/json", "application/merge-patch+json"
APPEND_ONLY = "an EscalationRecord is append-only"
ONLY_OPERATOR = f"only the operator, {OPERATOR}, "


@dataclass(frozen=True, slots=True)
class Answer:
    code: int
    body: Document
    headers: Mapping[str, str]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))

    def is_refused_by(self, policy: str, *words: str) -> bool:
        """Refused at admission by this policy, in these words."""
        says = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: "
        return self.code == 403 and all(word in self.message for word in (says, *words))


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody who sends requests: a connection, and perhaps whom it impersonates."""

    api: client.ApiClient
    headers: Mapping[str, str] = field(default_factory=dict)

    def impersonating(self, user: str, *, as_admin: bool = False) -> Caller:
        """Another user, with an administrator's permissions or without any that nobody gave it."""
        groups = {"Impersonate-Group": "system:masters"} if as_admin else {}
        return Caller(self.api, {"Impersonate-User": user, **groups})

    def request(self, method: str, where: str, body: Any = None, content: str = JSON) -> Answer:
        headers = {"Content-Type": content, "Accept": JSON, **self.headers}
        if token := self.api.configuration.get_api_key_with_prefix("BearerToken", alias="authorization"):
            headers["Authorization"] = token
        text = None if body is None else json.dumps(body)
        url = self.api.configuration.host + where
        response = self.api.rest_client.pool_manager.request(method, url, body=text, headers=headers)
        return Answer(response.status, json.loads(response.data), response.headers)

    def create(self, namespace: str, document: Document) -> Answer:
        body = {**document, "metadata": {**document["metadata"], "namespace": namespace}}
        return self.request("POST", collection(namespace, document["kind"]), body)

    def merge(self, namespace: str, document: Document, patch: Document, subresource: str = "") -> Answer:
        return self.request("PATCH", single(namespace, document, subresource), patch, MERGE)

    def may(self, verb: str, resource: str, namespace: str = "", *, name: str = "", group: str = "") -> bool:
        plural, _, subresource = resource.partition("/")
        attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource, "name": name}
        review = {"spec": {"resourceAttributes": attributes | {"namespace": namespace}}}
        answer = self.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", review)
        return bool(answer.body["status"]["allowed"])


def collection(namespace: str, kind: str) -> str:
    return f"/apis/{GROUP}/v1alpha1/namespaces/{namespace}/{PLURALS[kind]}"


def single(namespace: str, document: Document, subresource: str = "") -> str:
    parts = collection(namespace, document["kind"]), document["metadata"]["name"], subresource
    return "/".join(part for part in parts if part)


def eventually(what: str, check: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not check():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE:.0f} s in vain until {what}")
        time.sleep(0.05)


@pytest.fixture(scope="module")
def admin(installed: ControlPlane) -> Caller:
    return Caller(config.new_client_from_config(str(installed.kubeconfig)))


def with_token(admin: Caller, namespace: str, name: str) -> Caller:
    """A service account, with a token of its own and without any certificate."""
    core: Any = client.CoreV1Api(admin.api)
    answer = core.create_namespaced_service_account_token(name, namespace, {"spec": {"expirationSeconds": 3600}})
    own = client.Configuration(host=admin.api.configuration.host)
    own.ssl_ca_cert = admin.api.configuration.ssl_ca_cert
    own.api_key = {"authorization": answer.status.token}
    own.api_key_prefix = {"authorization": "Bearer"}
    return Caller(client.ApiClient(own))


@pytest.fixture(scope="module")
def operator_account(admin: Caller) -> Caller:
    return with_token(admin, NAMESPACE, "riskladder")


@pytest.fixture
def namespace(admin: Caller) -> Iterator[str]:
    core: Any = client.CoreV1Api(admin.api)
    name = f"manifests-{uuid.uuid4().hex[:8]}"
    core.create_namespace({"metadata": {"name": name}})
    yield name
    if admin.request("GET", f"/api/v1/namespaces/{name}").code == 200:
        core.delete_namespace(name)


# --- What is rendered -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rendered() -> list[Document]:
    return render()


def rules(documents: list[Document], kind: str, name: str) -> list[Document]:
    found: list[Document]
    (found,) = (d["rules"] for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)
    return found


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlay_is_accepted_without_a_warning(installed: ControlPlane, namespace: str, overlay: str) -> None:
    documents = render(f"manifests/overlays/{overlay}")
    for document in documents:
        if document["metadata"].get("namespace") == "models":
            document["metadata"]["namespace"] = namespace
    kubectl(
        installed.kubeconfig,
        *("apply", "--server-side", "--dry-run=server", "--force-conflicts", f"--field-manager={FIELD_MANAGER}"),
        *("--warnings-as-errors", "-f", "-"),
        given=yaml.safe_dump_all(documents),
    )


def test_namespaced_overlay_binds_in_its_namespace_only() -> None:
    documents = render("manifests/overlays/namespaced")
    everywhere = [d["roleRef"]["name"] for d in documents if d["kind"] == "ClusterRoleBinding"]
    assert everywhere == ["riskladder-policies"]
    bindings = {d["metadata"]["namespace"]: d["roleRef"]["kind"] for d in documents if d["kind"] == "RoleBinding"}
    assert bindings == {"models": "ClusterRole", NAMESPACE: "Role", resources.NODE_LEASES: "Role"}
    (deployment,) = (d for d in documents if d["kind"] == "Deployment")
    assert "--namespace=models" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]


def test_overlay_for_older_clusters_differs_in_the_mutating_policy_only(rendered: list[Document]) -> None:
    without = render("manifests/overlays/without-mutating-admission")
    lacking = [d for d in rendered if d not in without]
    assert {d["kind"] for d in lacking} == {"MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"}


def test_image_is_set_in_one_place(rendered: list[Document], tmp_path: Path) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    relative = Path(*[".."] * len(overlay.resolve().relative_to("/").parts)) / ROOT.relative_to("/")
    (overlay / "kustomization.yaml").write_text(
        f"resources: [{relative / 'manifests/overlays/default'}]\n"
        "images: [{name: riskladder, newName: registry.bank.example/riskladder, newTag: 9.9.9}]\n"
    )
    images = [
        [c["image"] for c in d["spec"]["template"]["spec"]["containers"]]
        for d in yaml.safe_load_all(kubectl(None, "kustomize", str(overlay)))
        if d["kind"] == "Deployment"
    ]
    assert images == [["registry.bank.example/riskladder:9.9.9"]]


def test_roles_are_the_table_of_grants(rendered: list[Document]) -> None:
    assert rules(rendered, "ClusterRole", "riskladder") == [grant.to_rule() for grant in NAMESPACED]
    assert rules(rendered, "ClusterRole", "riskladder-policies") == [grant.to_rule() for grant in CLUSTER]
    assert rules(rendered, "Role", "riskladder") == [grant.to_rule() for grant in OWN_NAMESPACE]
    assert rules(rendered, "Role", "riskladder-nodes") == [grant.to_rule() for grant in NODE_LEASES]


def test_every_grant_has_its_reason_in_the_file() -> None:
    lines = (ROOT / "manifests" / "base" / "rbac.yaml").read_text().splitlines()
    text = " ".join(line.removeprefix("# ") for line in lines)
    assert [grant.why for grant in (*NAMESPACED, *CLUSTER, *OWN_NAMESPACE, *NODE_LEASES) if grant.why not in text] == []


def test_no_role_has_a_wildcard_or_a_way_to_more(rendered: list[Document]) -> None:
    every = [rule for d in rendered if d["kind"] in ("ClusterRole", "Role") for rule in d["rules"]]
    words = {word for rule in every for key in ("apiGroups", "resources", "verbs") for word in rule[key]}
    assert words.isdisjoint({"*", "escalate", "bind", "impersonate"})
    roles = (("ClusterRole", "riskladder"), ("ClusterRole", "riskladder-policies"), ("Role", "riskladder"))
    own = [rule for kind, name in roles for rule in rules(rendered, kind, name)]
    assert {verb for rule in own for verb in rule["verbs"]}.isdisjoint({"delete", "deletecollection"})
    assert [r["resourceNames"] for r in own if "secrets" in r["resources"]] == [["riskladder-channels"]]


# --- The operator's identity ------------------------------------------------------------------------------------------


def asked(grants: tuple[Grant, ...]) -> list[tuple[str, str, str, str]]:
    return [
        (verb, resource, grant.group, name)
        for grant in grants
        for resource in grant.resources
        for verb in grant.verbs
        for name in grant.names or ("",)
    ]


def test_operator_may_do_what_it_says_it_needs(operator_account: Caller, namespace: str) -> None:
    for where, grants in (
        (namespace, NAMESPACED),
        (NAMESPACE, OWN_NAMESPACE),
        (resources.NODE_LEASES, NODE_LEASES),
        ("", CLUSTER),
    ):
        refused = [q for q in asked(grants) if not operator_account.may(q[0], q[1], where, group=q[2], name=q[3])]
        assert refused == []


@pytest.mark.parametrize(
    ("verb", "resource", "group"),
    [
        ("get", "secrets", ""),
        ("list", "secrets", ""),
        ("watch", "secrets", ""),
        ("create", "pods", ""),
        ("delete", "pods", ""),
        ("get", "configmaps", ""),
        ("create", "serviceaccounts/token", ""),
        ("impersonate", "users", ""),
        ("delete", "deployments", "apps"),
        ("create", "deployments", "apps"),
        ("update", "deployments", "apps"),
        ("patch", "daemonsets", "apps"),
        ("patch", "replicasets", "apps"),
        ("delete", "cronjobs", "batch"),
        ("get", "leases", "coordination.k8s.io"),
        ("patch", "events", "events.k8s.io"),
        ("patch", "rolebindings", "rbac.authorization.k8s.io"),
        ("delete", "validatingadmissionpolicybindings", "admissionregistration.k8s.io"),
        ("list", "validatingadmissionpolicies", "admissionregistration.k8s.io"),
        ("create", "subjectaccessreviews", "authorization.k8s.io"),
        ("create", "escalationdecisions", GROUP),
        ("patch", "escalationdecisions", GROUP),
        ("delete", "escalationdecisions", GROUP),
        ("acknowledge", "stakeholders", GROUP),
        ("patch", "customresourcedefinitions", "apiextensions.k8s.io"),
        ("patch", "escalationladders", GROUP),
        ("create", "modelrisksignals", GROUP),
        ("patch", "modelrisksignals", GROUP),
        ("delete", "escalations", GROUP),
        ("patch", "escalationrecords", GROUP),
        ("delete", "escalationrecords", GROUP),
        ("redact", "escalationrecords/open", GROUP),
        ("list", "namespaces", ""),
        ("report", "sources", GROUP),
    ],
)
def test_operator_may_not(operator_account: Caller, namespace: str, verb: str, resource: str, group: str) -> None:
    assert not operator_account.may(verb, resource, namespace, group=group)


def test_operator_reads_one_secret_and_no_other(admin: Caller, operator_account: Caller, namespace: str) -> None:
    core: Any = client.CoreV1Api(admin.api)
    for name in ("riskladder-channels", "database"):
        core.create_namespaced_secret(namespace, {"metadata": {"name": name}, "stringData": {"key": "value"}})
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    assert operator_account.request("GET", f"{secrets}/riskladder-channels").code == 200
    assert operator_account.request("GET", f"{secrets}/database").code == 403
    assert operator_account.request("GET", secrets).code == 403


def test_kubeconfig_of_the_operator_is_its_service_account(installed: ControlPlane, tmp_path: Path) -> None:
    file = service_account_kubeconfig(installed.kubeconfig, tmp_path / "operator.kubeconfig")
    assert file.stat().st_mode & 0o077 == 0
    assert json.loads(kubectl(file, "auth", "whoami", "-o", "json"))["status"]["userInfo"]["username"] == OPERATOR
    assert yaml.safe_load(file.read_text())["contexts"][0]["context"]["namespace"] == NAMESPACE


def test_requests_of_the_operator_have_seats_of_their_own(admin: Caller, operator_account: Caller) -> None:
    api = "/apis/flowcontrol.apiserver.k8s.io/v1"
    schema = admin.request("GET", f"{api}/flowschemas/riskladder").body["metadata"]["uid"]
    level = admin.request("GET", f"{api}/prioritylevelconfigurations/riskladder").body["metadata"]["uid"]

    def answered_by() -> tuple[str | None, str | None]:
        headers = operator_account.request("GET", f"/apis/{GROUP}/v1alpha1/escalations?limit=1").headers
        return headers.get("X-Kubernetes-PF-FlowSchema-UID"), headers.get("X-Kubernetes-PF-PriorityLevel-UID")

    eventually("the FlowSchema is in force", lambda: answered_by() == (schema, level))
    elsewhere = admin.impersonating("ana").request("GET", "/version").headers
    assert elsewhere.get("X-Kubernetes-PF-FlowSchema-UID") != schema


# --- The pod ----------------------------------------------------------------------------------------------------------


def test_pod_is_admitted_where_restricted_is_enforced(admin: Caller, rendered: list[Document]) -> None:
    (deployment,) = (d for d in rendered if d["kind"] == "Deployment")
    pods = f"/api/v1/namespaces/{NAMESPACE}/pods?dryRun=All"
    pod: Document = {
        "metadata": {"name": f"try-{uuid.uuid4().hex[:8]}"},
        "spec": deployment["spec"]["template"]["spec"],
    }
    # The quota of the namespace has to be counted once before anything is admitted by it.
    eventually(
        "the quota is counted", lambda: "status unknown for quota" not in admin.request("POST", pods, pod).message
    )
    answer = admin.request("POST", pods, pod)
    assert answer.code == 201, answer.message
    assert "Warning" not in answer.headers

    lax = copy.deepcopy(pod)
    del lax["spec"]["containers"][0]["securityContext"]
    answer = admin.request("POST", pods, lax)
    assert answer.code == 403
    assert 'violates PodSecurity "restricted:latest"' in answer.message


def test_deployment_gets_its_pods(admin: Caller) -> None:
    apps: Any = client.AppsV1Api(admin.api)

    def replicas() -> int:
        return apps.read_namespaced_deployment("riskladder", NAMESPACE).status.replicas or 0

    eventually("two pods were admitted", lambda: replicas() == 2)


# --- Policies ---------------------------------------------------------------------------------------------------------


def test_policies_type_check_and_all_but_the_lock_of_names_fail_closed(admin: Caller, rendered: list[Document]) -> None:
    api = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    names = {d["metadata"]["name"] for d in rendered if d["kind"] == "ValidatingAdmissionPolicy"}
    assert names == POLICIES
    assert {d["spec"]["policyName"] for d in rendered if d["kind"] == "ValidatingAdmissionPolicyBinding"} == names
    for name in names:
        where = f"{api}/{name}"

        def is_checked(where: str = where) -> bool:
            policy = admin.request("GET", where).body
            return bool(policy.get("status", {}).get("observedGeneration") == policy["metadata"]["generation"])

        eventually(f"{name} is type-checked", is_checked)
        policy = admin.request("GET", where).body
        assert not policy["status"]["typeChecking"].get("expressionWarnings")
        assert policy["spec"]["failurePolicy"] == ("Ignore" if name == "riskladder-lock-names" else "Fail")


@pytest.fixture
def record(admin: Caller, namespace: str) -> Document:
    """A record of an escalation that no operator in the same cluster knows of."""
    document = copy.deepcopy(DOCUMENTS["EscalationRecord"])
    document["metadata"]["name"] = "elsewhere-000001"
    uid = admin.request("GET", f"/api/v1/namespaces/{namespace}").body["metadata"]["uid"]
    document["spec"] |= {"escalation": "elsewhere", "sequence": 1, "namespaceUid": uid}
    return document


def test_record_is_created_by_the_operator_only(
    admin: Caller, operator_account: Caller, namespace: str, record: Document
) -> None:
    refused = admin.create(namespace, record)
    assert refused.is_refused_by("riskladder-records", ONLY_OPERATOR, "run it as that service account"), refused.message
    assert operator_account.create(namespace, record).code == 201


def test_record_stays_as_it_is_for_everybody(
    admin: Caller, operator_account: Caller, namespace: str, record: Document
) -> None:
    stored = operator_account.create(namespace, record).body
    all_powerful_operator = admin.impersonating(OPERATOR, as_admin=True)
    for caller in (admin, all_powerful_operator):
        for attempt in (
            caller.merge(namespace, record, {"metadata": {"labels": {"reviewed": "true"}}}),
            caller.merge(namespace, record, {"metadata": {"finalizers": ["example.com/mine"]}}),
            caller.merge(namespace, record, {"metadata": {"ownerReferences": [owner(stored)]}}),
            caller.request("DELETE", single(namespace, record)),
            caller.request("DELETE", single(namespace, record) + "?gracePeriodSeconds=0&propagationPolicy=Foreground"),
            caller.request("DELETE", collection(namespace, "EscalationRecord")),
        ):
            assert attempt.is_refused_by("riskladder-records", APPEND_ONLY, "riskladder-records first"), attempt.message
        # Before any policy is asked, the schema itself refuses another spec.
        assert caller.merge(namespace, record, {"spec": {"previousHash": "1" * 64}}).code == 422
    assert operator_account.merge(namespace, record, {"metadata": {"labels": {"a": "b"}}}).code == 403
    assert admin.request("GET", single(namespace, record)).body == stored


def owner(document: Document) -> Document:
    metadata = document["metadata"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": metadata["uid"]}


def test_record_may_be_stored_again_unchanged(
    admin: Caller, operator_account: Caller, namespace: str, record: Document
) -> None:
    stored = operator_account.create(namespace, record).body
    assert admin.request("PUT", single(namespace, record), stored).code == 200
    # As the storage version migrator does it: an apply patch that says nothing but what to store.
    identity = {key: stored["metadata"][key] for key in ("name", "namespace", "uid", "resourceVersion")}
    nothing = {"apiVersion": stored["apiVersion"], "kind": stored["kind"], "metadata": identity}
    where = single(namespace, record) + "?fieldManager=storage-version-migrator-controller&force=true"
    assert admin.request("PATCH", where, nothing, "application/apply-patch+yaml").code == 200
    assert admin.request("GET", single(namespace, record)).body == stored


def test_namespace_with_records_can_be_deleted(
    admin: Caller, operator_account: Caller, namespace: str, record: Document
) -> None:
    for number in range(1, 4):
        record["metadata"]["name"], record["spec"]["sequence"] = f"elsewhere-{number:06}", number
        assert operator_account.create(namespace, record).code == 201
    where = f"/api/v1/namespaces/{namespace}"
    assert admin.request("DELETE", where).code == 200
    eventually("the namespace is gone", lambda: admin.request("GET", where).code == 404)


def test_escalation_is_written_by_the_operator_only(admin: Caller, operator_account: Caller, namespace: str) -> None:
    escalation = DOCUMENTS["Escalation"]
    assert admin.create(namespace, escalation).is_refused_by("riskladder-writes", ONLY_OPERATOR)
    assert operator_account.create(namespace, escalation).code == 201

    lock = {"metadata": {"labels": {"riskladder.dev/containment": "ScaleToZero"}}}
    for patch, subresource in (
        (lock, ""),
        ({"metadata": {"annotations": {"approved": "yes"}}}, ""),
        ({"status": {"tier": "baseline"}}, "status"),
    ):
        attempt = admin.merge(namespace, escalation, patch, subresource)
        assert attempt.is_refused_by("riskladder-writes", ONLY_OPERATOR, "Change the EscalationLadder"), attempt.message
    assert operator_account.merge(namespace, escalation, lock).code == 200
    assert operator_account.merge(namespace, escalation, {"status": {"tier": "high"}}, "status").code == 200

    # What the garbage collector has to write, and what RBAC alone decides.
    finalizer = {"metadata": {"finalizers": ["example.com/wait"]}}
    assert admin.merge(namespace, escalation, finalizer).code == 200
    assert admin.request("DELETE", single(namespace, escalation)).code == 200
    assert admin.merge(namespace, escalation, {"metadata": {"finalizers": []}}).code == 200
    assert admin.request("GET", single(namespace, escalation)).code == 404


def example_monitor(namespace: str) -> list[Document]:
    text = (ROOT / "docs" / "examples" / "monitor-rbac.yaml").read_text()
    return list(yaml.safe_load_all(text.replace("namespace: models", f"namespace: {namespace}")))


MONITORS = "monitors"
"""The namespace of the example's service account: not that of the models."""


@pytest.fixture
def monitor(installed: ControlPlane, admin: Caller, namespace: str) -> Caller:
    """The example's fairness monitor, with permissions that have arrived."""
    kubectl(installed.kubeconfig, "apply", "-f", "-", given=yaml.safe_dump_all(example_monitor(namespace)))
    caller = with_token(admin, MONITORS, "fairness-monitor")
    eventually(
        "the monitor may report",
        lambda: caller.may("report", "sources", namespace, name="fairness-monitor", group=GROUP),
    )
    return caller


def reported_by(source: str) -> Document:
    document = copy.deepcopy(DOCUMENTS["ModelRiskSignal"])
    document["metadata"]["name"] = document["spec"]["source"] = source
    return document


def test_monitor_reports_as_itself_only(admin: Caller, monitor: Caller, namespace: str) -> None:
    assert monitor.create(namespace, reported_by("fairness-monitor")).code == 201
    borrowed = monitor.create(namespace, reported_by("drift-monitor"))
    assert borrowed.is_refused_by(
        "riskladder-sources",
        f'system:serviceaccount:{MONITORS}:fairness-monitor may not report as source "drift-monitor"',
        'resourceName "drift-monitor"',
    ), borrowed.message
    renamed = monitor.merge(namespace, reported_by("fairness-monitor"), {"spec": {"source": "drift-monitor"}})
    assert renamed.is_refused_by("riskladder-sources", "may not report as source"), renamed.message

    drift = reported_by("drift-monitor")
    assert admin.create(namespace, drift).code == 201
    silenced = monitor.merge(namespace, drift, {"spec": {"source": "fairness-monitor"}})
    assert silenced.is_refused_by("riskladder-sources", "may not replace what source"), silenced.message
    newer = monitor.merge(namespace, drift, {"spec": {"observedAt": "2026-11-24T07:00:00Z"}})
    assert newer.is_refused_by("riskladder-sources", "may not report as source"), newer.message
    assert monitor.merge(namespace, drift, {"metadata": {"labels": {"team": "risk"}}}).code == 200


def test_person_who_may_edit_still_needs_to_be_the_source_or_hold_a_role(admin: Caller, namespace: str) -> None:
    ana = bind(admin, namespace, "edit")
    signal = reported_by("fairness-monitor")
    signal["spec"]["manual"] = {"tier": "high", "rationale": "A customer complained"}
    del signal["spec"]["readings"]
    eventually("ana may edit", lambda: ana.may("create", "modelrisksignals", namespace, group=GROUP))
    assert ana.create(namespace, signal).is_refused_by("riskladder-raise", "may not raise without a role")
    del signal["spec"]["manual"]
    signal["spec"]["readings"] = reported_by("fairness-monitor")["spec"]["readings"]
    assert ana.create(namespace, signal).is_refused_by("riskladder-sources", "may not report as source")


def test_status_is_written_by_the_operator_only(
    admin: Caller, operator_account: Caller, monitor: Caller, namespace: str
) -> None:
    signal = reported_by("fairness-monitor")
    assert monitor.create(namespace, signal).code == 201
    status = {"status": {"tier": "high"}}
    assert admin.merge(namespace, signal, status, "status").is_refused_by("riskladder-writes", ONLY_OPERATOR)
    assert operator_account.merge(namespace, signal, status, "status").code == 200
    assert monitor.merge(namespace, signal, {"spec": {"observedAt": "2026-11-24T07:00:00Z"}}).code == 200


# --- People -----------------------------------------------------------------------------------------------------------


def bind(admin: Caller, namespace: str, role: str) -> Caller:
    """A person with one of the roles that every cluster has, in one namespace."""
    user = f"{role}-{uuid.uuid4().hex[:8]}"
    binding = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
    }
    rbac: Any = client.RbacAuthorizationV1Api(admin.api)
    rbac.create_namespaced_role_binding(namespace, binding)
    return admin.impersonating(user)


READ, WRITE = {"get", "list", "watch"}, {"create", "update", "patch", "delete", "deletecollection"}


@pytest.mark.parametrize(("role", "written"), [("view", set()), ("edit", WRITE), ("admin", WRITE)])
def test_usual_roles_include_the_kinds(admin: Caller, namespace: str, role: str, written: set[str]) -> None:
    person = bind(admin, namespace, role)
    eventually(f"{role} is aggregated", lambda: person.may("get", "escalationrecords", namespace, group=GROUP))

    def verbs(resource: str) -> set[str]:
        return {v for v in READ | WRITE if person.may(v, resource, namespace, group=GROUP)}

    eventually(f"{role} is complete", lambda: verbs("modelrisksignals") == READ | written)
    assert verbs("escalationladders") == READ | written
    assert verbs("escalations") == verbs("escalationrecords") == READ
    # Whoever holds a stakeholder role may create them with it; nobody changes or deletes one.
    assert verbs("escalationdecisions") == READ | (written & {"create"})
    for kind in ("escalationladders", "modelrisksignals", "escalations", "escalationdecisions"):
        assert verbs(f"{kind}/status") == set()
    assert not person.may("acknowledge", "stakeholders", namespace, name="legal", group=GROUP)
    assert not person.may("report", "sources", namespace, name="fairness-monitor", group=GROUP)
