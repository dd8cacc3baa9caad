"""A stolen token of the operator on a real API server: what it still can do is what containing a model takes.

The operator's permissions are widened to those of an administrator: nothing but the policy stands in the way.
"""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from riskladder.cluster import resources
from riskladder.cluster.authority import BINDINGS, POLICIES
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from riskladder.workloads.network import NETWORKPOLICIES
from riskladder.workloads.privileges import gained, privileges
from riskladder.workloads.runtimes.statefulset import STATEFULSET
from tests.cluster import LocalControlPlane
from tests.integration.world import SERVICES, TestNamespace, deployment, ladder, signal

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
CLUSTERROLEBINDINGS = Resource("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding")
SERVICEACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
PODS = Resource("", "v1", "pods", "Pod")
CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob")
SECRETS = resources.SECRETS
BOUNDS = "The policy riskladder-operator bounds system:serviceaccount:riskladder-system:riskladder"
Edit = Callable[[Object], object]


@pytest.fixture(scope="module")
async def owner(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """An administrator, who has been careless: the operator's account is bound to cluster-admin."""
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    client = Client(connection)
    subject = {"kind": "ServiceAccount", "name": "riskladder", "namespace": "riskladder-system"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    body = {"metadata": {"name": "careless"}, "roleRef": role, "subjects": [subject]}
    await client.create(CLUSTERROLEBINDINGS, None, body)
    yield client
    await connection.close()


@pytest.fixture(scope="module")
async def thief(owner: Client, account: Path) -> AsyncIterator[Client]:
    """Somebody with the operator's token, from when on the policy is in force."""
    connection = await connect(str(account), agent="thief")
    client = Client(connection)
    for _ in range(600):
        try:
            await client.create(SERVICEACCOUNTS, "default", {"metadata": {"name": f"x-{uuid.uuid4().hex[:8]}"}})
        except Forbidden as error:
            if BOUNDS in error.message:
                break
        await asyncio.sleep(0.05)
    else:
        pytest.fail("the policy is not in force")
    yield client
    await connection.close()


@pytest.fixture
async def room(owner: Client) -> AsyncIterator[TestNamespace]:
    async with TestNamespace(owner, f"bound-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh


async def said(work: Any) -> str:
    """Return what the policy says to a request that it refuses."""
    with pytest.raises(Forbidden) as caught:
        await work
    assert "ValidatingAdmissionPolicy 'riskladder-operator'" in caught.value.message
    assert BOUNDS in caught.value.message
    return caught.value.message


async def test_nothing_that_rules_the_cluster_is_written_however_rbac_is_widened(
    thief: Client, owner: Client, room: TestNamespace
) -> None:
    where, name = room.namespace, {"metadata": {"name": "taken"}}
    rules = {"rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]}
    pod = {"spec": {"containers": [{"name": "c", "image": "x"}]}}
    bodies: list[tuple[Resource, str | None, Object]] = [
        (SECRETS, where, name | {"stringData": {"a": "b"}}),
        (SECRETS, "kube-system", name | {"stringData": {"a": "b"}}),
        (ROLES, where, name | rules),
        (
            CLUSTERROLEBINDINGS,
            None,
            {
                **name,
                "roleRef": {"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"},
            },
        ),
        (SERVICEACCOUNTS, where, name),
        (PODS, where, name | pod),
        (resources.DEPLOYMENTS, where, deployment("new")),
        (resources.LADDERS, where, ladder("own")),
        (resources.SIGNALS, where, signal("own", "scorer", 0.3)),
    ]
    for resource, namespace, body in bodies:
        found = await said(thief.create(resource, namespace, body))
        assert f"the operator does not create {resource.group}/{resource.plural}" in found
    await owner.create(SECRETS, where, {"metadata": {"name": "database"}, "stringData": {"password": "x"}})
    assert "does not delete /secrets" in await said(thief.delete(SECRETS, where, "database"))
    with pytest.raises(Forbidden):  # by this policy or by riskladder-kinds: which one says so is up to the API server
        await thief.delete(CRDS, None, "escalationrecords.riskladder.dev")


async def test_deployment_is_not_deleted_nor_scaled_elsewhere(thief: Client, room: TestNamespace) -> None:
    await room.apply(deployment("scorer"))
    assert "does not delete apps/deployments" in await said(
        thief.delete(resources.DEPLOYMENTS, room.namespace, "scorer")
    )


@pytest.mark.parametrize("namespace", ["kube-system", "riskladder-system", "kube-public"])
async def test_nothing_in_namespaces_of_the_cluster(thief: Client, owner: Client, namespace: str) -> None:
    await owner.create(resources.DEPLOYMENTS, namespace, deployment("dns", replicas=0))
    try:
        patch = {"spec": {"replicas": 0}}
        found = await said(thief.merge_patch(resources.DEPLOYMENTS, namespace, "dns", patch))
        assert f"changes no apps/deployments in namespace {namespace}" in found
    finally:
        await owner.delete(resources.DEPLOYMENTS, namespace, "dns")


CONTAINER = {"name": "model", "image": "registry.example/model:1"}


def container(**fields: Any) -> Object:
    return {"containers": [{**CONTAINER, **fields}]}


def volume(**source: Any) -> Object:
    return {"volumes": [{"name": "v", **source}]}


GAINS: list[tuple[Object, str]] = [
    ({"serviceAccountName": "admin"}, "service account admin"),
    ({"automountServiceAccountToken": True}, "a service account token"),
    ({"hostNetwork": True}, "hostNetwork"),
    ({"hostPID": True}, "hostPID"),
    ({"hostIPC": True}, "hostIPC"),
    (volume(hostPath={"path": "/"}), "hostPath /"),
    (volume(secret={"secretName": "database"}), "Secret database"),
    (volume(csi={"driver": "secrets-store.csi.k8s.io"}), "CSI driver secrets-store.csi.k8s.io"),
    (volume(projected={"sources": [{"secret": {"name": "database"}}]}), "Secret database"),
    (
        volume(projected={"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}),
        "a token for audience vault",
    ),
    (container(securityContext={"privileged": True}), "a privileged container"),
    (container(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}), "capability NET_ADMIN"),
    (
        container(env=[{"name": "P", "valueFrom": {"secretKeyRef": {"name": "database", "key": "p"}}}]),
        "Secret database",
    ),
    (container(envFrom=[{"secretRef": {"name": "database"}}]), "Secret database"),
    ({"initContainers": [{"name": "i", "image": "x", "securityContext": {"privileged": True}}]}, "a privileged"),
]
HARMLESS: list[Object] = [
    container(image="registry.example/model:0"),
    container(securityContext={"capabilities": {"drop": ["ALL"]}}),
    volume(emptyDir={}),
    volume(secret={"secretName": "settings-7k2hm4t56b"}),
    volume(configMap={"name": "settings"}),
    {"nodeSelector": {"disk": "ssd"}},
]
BASE: Object = {
    "automountServiceAccountToken": False,
    "containers": [{**CONTAINER, "envFrom": [{"secretRef": {"name": "settings-2456789bcd"}}]}],
}


@pytest.mark.parametrize("subject", ["deployments", "statefulsets"])
async def test_pod_template_gains_nothing_and_policy_and_planning_agree(
    thief: Client, room: TestNamespace, subject: str
) -> None:
    resource = next(r for r in (resources.DEPLOYMENTS, STATEFULSET.resource) if r.plural == subject)
    body = deployment("scorer")
    body |= {"kind": resource.kind}
    body["spec"]["template"]["spec"] = copy.deepcopy(BASE)
    if resource is STATEFULSET.resource:
        body["spec"]["serviceName"] = "scorer"
    stored = await room.client.create(resource, room.namespace, body)
    for change, gain in [*GAINS, *((harmless, "") for harmless in HARMLESS)]:
        template = copy.deepcopy(stored["spec"]["template"])
        template["spec"] |= change
        patch = [{"op": "replace", "path": "/spec/template", "value": template}]
        more = gained(privileges(stored["spec"]["template"]), privileges(template))
        assert (gain in more) if gain else more == "", f"planning says of {change}: {more or 'nothing'}"
        if gain:
            found = await said(thief.json_patch(resource, room.namespace, "scorer", patch))
            assert f"the pods of apps/{subject} scorer would gain: " in found
            assert gain in found
        else:
            await dry_run(thief, resource, room.namespace, "scorer", patch)


async def dry_run(thief: Client, resource: Resource, namespace: str, name: str, patch: list[Object]) -> None:
    await thief.request(
        "PATCH",
        resource.path(namespace, name),
        verb="patch",
        resource=resource.title,
        body=patch,
        params={"dryRun": "All"},
        content_type="application/json-patch+json",
    )


@pytest.mark.parametrize(
    ("patch", "names"),
    [
        ({"spec": {"progressDeadlineSeconds": 1}}, "progressDeadlineSeconds"),
        ({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": None}}}, "strategy"),
        ({"metadata": {"labels": {"riskladder.dev/ladder": "lax"}}}, "riskladder.dev/ladder"),
        ({"metadata": {"labels": {"riskladder.dev/ladder": None}}}, "riskladder.dev/ladder"),
        ({"metadata": {"annotations": {"owner": "nobody"}}}, "owner"),
        ({"metadata": {"finalizers": ["example.dev/never"]}}, "finalizers"),
        (
            {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0"}]}},
            "ownerReferences",
        ),
    ],
)
async def test_of_a_workload_nothing_else_is_changed(
    thief: Client, room: TestNamespace, patch: Object, names: str
) -> None:
    body = deployment("scorer")
    body["metadata"]["annotations"] = {"owner": "risk"}
    await room.client.create(resources.DEPLOYMENTS, room.namespace, body)
    assert names in await said(thief.merge_patch(resources.DEPLOYMENTS, room.namespace, "scorer", patch))


async def test_what_an_admission_plugin_adds_keeps_no_model_from_being_stopped(
    thief: Client, room: TestNamespace
) -> None:
    await room.apply(deployment("scorer", replicas=2))
    added = {"metadata": {"annotations": {"example.dev/stamp": "today"}}, "spec": {"replicas": 0, "paused": True}}
    stored = await thief.merge_patch(resources.DEPLOYMENTS, room.namespace, "scorer", added)
    assert stored["spec"]["replicas"] == 0


async def test_services_network_policies_and_companions(thief: Client, room: TestNamespace) -> None:
    where, ports = room.namespace, [{"port": 80}]
    await room.client.create(
        SERVICES, where, {"metadata": {"name": "scorer"}, "spec": {"selector": {"app": "scorer"}, "ports": ports}}
    )
    await thief.merge_patch(SERVICES, where, "scorer", {"spec": {"selector": {"app": "rules"}}})
    assert "externalName" in await said(
        thief.merge_patch(SERVICES, where, "scorer", {"spec": {"type": "ExternalName", "externalName": "evil.example"}})
    )
    opened = {"annotations": {"example.dev/public": "true"}}
    assert "example.dev/public" in await said(thief.merge_patch(SERVICES, where, "scorer", {"metadata": opened}))

    closed = {"podSelector": {"matchLabels": {"app": "scorer"}}, "policyTypes": ["Ingress", "Egress"]}
    own = {"name": "riskladder-scorer-1", "labels": {"riskladder.dev/escalation": "scorer-1"}}
    await thief.create(NETWORKPOLICIES, where, {"metadata": own, "spec": closed})
    await thief.delete(NETWORKPOLICIES, where, own["name"])  # type: ignore[arg-type]
    for metadata, spec in (
        ({**own, "name": "other"}, closed),
        ({"name": own["name"]}, closed),
        (own, closed | {"ingress": [{}]}),
        (own, closed | {"podSelector": {}}),
    ):
        found = await said(thief.create(NETWORKPOLICIES, where, {"metadata": metadata, "spec": spec}))
        assert "the operator writes only those that it has made" in found
    await room.client.create(NETWORKPOLICIES, where, {"metadata": {"name": "deny-all"}, "spec": closed})
    await said(thief.delete(NETWORKPOLICIES, where, "deny-all"))

    template = {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [CONTAINER]}}}}
    job = {"metadata": {"name": "retrain"}, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": template}}
    await room.client.create(CRONJOBS, where, job)
    await thief.merge_patch(CRONJOBS, where, "retrain", {"spec": {"suspend": True}})
    assert "schedule" in await said(thief.merge_patch(CRONJOBS, where, "retrain", {"spec": {"schedule": "* * * * *"}}))


async def test_policy_compiles_for_every_kind_that_the_cluster_has(
    owner: Client, thief: Client, room: TestNamespace
) -> None:
    del thief

    async def checked() -> Object | None:
        found = await owner.get(POLICIES, None, "riskladder-operator")
        return found if found["status"]["observedGeneration"] == found["metadata"]["generation"] else None

    policy = await room.until(checked, "the policy to be type-checked")
    assert not policy["status"]["typeChecking"].get("expressionWarnings")
    assert (await owner.get(BINDINGS, None, "riskladder-operator"))["spec"]["validationActions"] == ["Deny"]
