"""Who decides, and in which role, proved by a real API server: what it stamps and refuses, what the operator sees."""

from __future__ import annotations

import asyncio
import copy
import json
import re
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from demo.install import OVERLAY_BEFORE_1_36, fitting_overlay
from riskladder.api.decision import RAISE_VERB, DecidedBy, DecisionAction
from riskladder.cluster import authority, resources
from riskladder.cluster.authority import BINDINGS, POLICIES, POLICY, may, may_i, proof, who_am_i
from riskladder.cluster.client import ApiError, Client, Forbidden, NotFound, Object, Refused
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests.cluster import ControlPlane, LocalControlPlane, control_plane_kind
from tests.cluster.install import DEFAULT_OVERLAY, ROOT, install, kubectl, service_account_kubeconfig
from tests.integration.world import NAMESPACES
from tests.patience import PATIENCE
from tests.refusals import valid

MUTATING_BINDINGS = Resource(
    "admissionregistration.k8s.io", "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding"
)
UNSTAMPED = "riskladder.dev/test-without-identity"

ROLES = ("legal", "executive", "security", "model-risk", "data-science", "deputy-counsel", "ml-platform")
VERBS = (*(action.verb for action in DecisionAction), RAISE_VERB)
HELD = {
    "legal": {"acknowledge", "comment", "contain", "raise", "object", "acceptrisk", "resume", "close"},
    "executive": {"acknowledge", "comment", "contain", "escalate", "object", "acceptrisk", "resume", "close"},
    "security": {"acknowledge", "comment", "contain", "raise", "escalate"},
    "model-risk": {*VERBS},
    "data-science": {"acknowledge", "comment", "escalate"},
    "deputy-counsel": {"acknowledge", "comment", "contain", "raise", "object", "acceptrisk", "resume", "close"},
    "ml-platform": {"acknowledge", "comment", "escalate"},
}

As = Callable[..., Awaitable[Client]]


@asynccontextmanager
async def impersonated(kubeconfig: Path, user: str, *groups: str, uid: str = "") -> AsyncIterator[Client]:
    """Requests of somebody else, whom an administrator impersonates."""
    connection = await connect(str(kubeconfig), namespace="riskladder-system", agent="tests")
    headers = connection.session.headers
    headers.add("Impersonate-User", user)
    if uid:
        headers.add("Impersonate-Uid", uid)
    for group in groups:
        headers.add("Impersonate-Group", group)
    try:
        yield Client(connection)
    finally:
        await connection.close()


@pytest.fixture
async def as_user(installed: ControlPlane) -> AsyncIterator[As]:
    """Gives a client of any person."""
    async with AsyncExitStack() as stack:

        async def open_client(user: str, *groups: str, uid: str = "") -> Client:
            return await stack.enter_async_context(impersonated(installed.kubeconfig, user, *groups, uid=uid))

        yield open_client


async def until(what: str, check: Callable[[], Awaitable[Any]]) -> Any:
    """Wait for something; its value."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while not (found := await check()):
        assert asyncio.get_running_loop().time() < deadline, f"waited {PATIENCE:g} s in vain until {what}"
        await asyncio.sleep(0.05)
    return found


def example(namespace: str) -> list[Object]:
    text = (ROOT / "docs" / "examples" / "people-rbac.yaml").read_text()
    return list(yaml.safe_load_all(text.replace("namespace: models", f"namespace: {namespace}")))


async def stocked(admin: Client, kubeconfig: Path, as_user: As, labels: dict[str, str]) -> str:
    """A namespace with the example's people, whose permissions have arrived, and a monitor of its own."""
    name = f"authority-{uuid.uuid4().hex[:8]}"
    await admin.create(NAMESPACES, None, {"metadata": {"name": name, "labels": labels}})
    kubectl(kubeconfig, "apply", "-f", "-", given=yaml.safe_dump_all(example(name)))
    rule = {"apiGroups": ["riskladder.dev"], "resources": ["sources"], "resourceNames": ["fairness-monitor"]}
    signals = {"apiGroups": ["riskladder.dev"], "resources": ["modelrisksignals"]}
    role = {"rules": [rule | {"verbs": ["report"]}, signals | {"verbs": ["create", "get", "patch"]}]}
    rbac = "rbac.authorization.k8s.io"
    await admin.create(Resource(rbac, "v1", "roles", "Role"), name, {"metadata": {"name": "monitor"}} | role)
    await admin.create(
        Resource(rbac, "v1", "rolebindings", "RoleBinding"),
        name,
        {
            "metadata": {"name": "zz-monitor"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "monitor"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "monitor"}],
        },
    )
    for group in ROLES:
        person = await as_user("somebody", group)
        await until(f"{group} is bound", partial(may_i, person, name, ["comment"], [group]))
    return name


@pytest.fixture
async def namespace(admin: Client, installed: ControlPlane, as_user: As) -> AsyncIterator[str]:
    """A namespace on an installation with the default overlay."""
    name = await stocked(admin, installed.kubeconfig, as_user, {})
    yield name
    await admin.delete(NAMESPACES, None, name)


@pytest.fixture(scope="module")
async def narrowed(admin: Client, installed: ControlPlane) -> AsyncIterator[None]:
    """The mutating policy leaves namespaces with a certain label alone, and no other test has any."""
    exempt = {"matchExpressions": [{"key": UNSTAMPED, "operator": "DoesNotExist"}]}
    where = f"{MUTATING_BINDINGS.path()}/riskladder-identity"

    async def patch(match: Object | None) -> None:
        body = {"spec": {"matchResources": match}}
        content = "application/merge-patch+json"
        await admin.request("PATCH", where, verb="patch", resource="", body=body, content_type=content)

    await patch({"namespaceSelector": exempt})
    yield
    await patch(None)


@pytest.fixture
async def unstamped(admin: Client, installed: ControlPlane, as_user: As, narrowed: None) -> AsyncIterator[str]:
    """A namespace as on a cluster without MutatingAdmissionPolicy: nobody fills in who the caller is."""
    name = await stocked(admin, installed.kubeconfig, as_user, {UNSTAMPED: "true"})

    async def left_alone() -> bool:
        dry = Client(admin._connection, dry_run=True)
        try:
            await dry.create(resources.DECISIONS, name, decision("Comment"))
        except Refused:
            return True
        return False

    await until("the namespace is left alone", left_alone)
    yield name
    await admin.delete(NAMESPACES, None, name)


def decision(action: str, role: str = "legal", **particulars: Any) -> Object:
    document = valid("EscalationDecision")
    document["metadata"] = {"generateName": "decision-"}
    document["spec"] |= {"action": action, "role": role, **particulars}
    return document


def manual(name: str, role: str | None = "legal", **particulars: Any) -> Object:
    document = valid("ModelRiskSignal")
    document["metadata"] = {"name": name}
    del document["spec"]["readings"]
    document["spec"]["manual"] = {"tier": "high", "rationale": "Complaints", **particulars}
    if role:
        document["spec"]["manual"]["role"] = role
    return document


def measured(name: str, source: str = "fairness-monitor") -> Object:
    document = valid("ModelRiskSignal")
    document["metadata"] = {"name": name}
    document["spec"]["source"] = source
    return document


async def decide(client: Client, namespace: str, document: Object) -> Object:
    return await client.create(resources.DECISIONS, namespace, document)


async def write(client: Client, namespace: str, document: Object) -> Object:
    return await client.create(resources.SIGNALS, namespace, document)


async def change(client: Client, namespace: str, name: str, spec: Object) -> Object:
    return await client.merge_patch(resources.SIGNALS, namespace, name, {"spec": spec})


# --- Decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", ROLES)
async def test_example_lets_each_group_act_in_its_role_only(as_user: As, namespace: str, group: str) -> None:
    person = await as_user("somebody", group)
    assert await may_i(person, namespace, VERBS, ROLES) == {(verb, group) for verb in HELD[group]}
    particulars: dict[str, Object] = {
        "Escalate": {"tier": "critical"},
        "AcceptRisk": {"until": "2026-12-24T00:00:00Z"},
        "Close": {"resolution": "Remediated"},
        "Review": {"review": {"policyUpdated": False, "satisfaction": 3}},
    }
    for action in DecisionAction:
        document = decision(action, group, **particulars.get(action, {}))
        if action.verb in HELD[group]:
            await decide(person, namespace, document)
        else:
            with pytest.raises(Forbidden, match=f'somebody may not {action.verb} as "{group}"'):
                await decide(person, namespace, document)


async def test_role_that_the_caller_does_not_hold_is_refused(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "data-science")
    with pytest.raises(Forbidden) as refused:
        await decide(ana, namespace, decision("Acknowledge"))
    assert refused.value.message.endswith(
        f"ValidatingAdmissionPolicy '{POLICY}' with binding '{POLICY}' denied request: ana may not acknowledge as "
        f'"legal" in namespace {namespace}: bind a Role that allows the verb "acknowledge" on resource "stakeholders" '
        'of apiGroup "riskladder.dev" with resourceName "legal"'
    )


async def test_author_is_stamped_whatever_the_client_wrote(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "legal", "staff", uid="u-1")
    forged = {"username": "the-general-counsel", "uid": "u-0", "groups": ["executive", "system:masters"]}
    me = await who_am_i(ana)
    assert me == DecidedBy(username="ana", uid="u-1", groups=("legal", "staff", "system:authenticated"))
    for document in (decision("Acknowledge"), decision("Acknowledge", decidedBy=forged)):
        stored = await decide(ana, namespace, document)
        assert stored["spec"]["decidedBy"] == me.to_api()


async def test_author_without_uid_is_stamped_too(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "legal")
    stored = await decide(ana, namespace, decision("Acknowledge", decidedBy={"username": "bob", "uid": "u-0"}))
    assert stored["spec"]["decidedBy"] == (await who_am_i(ana)).to_api()
    assert stored["spec"]["decidedBy"]["uid"] == ""


async def test_credential_is_stamped_and_not_made_up(installed: ControlPlane, as_user: As, namespace: str) -> None:
    async with impersonated(installed.kubeconfig, "ana", "legal") as ana:
        ana._connection.session.headers.add(
            "Impersonate-Extra-authentication.kubernetes.io%2fcredential-id", "JTI=0b1c"
        )
        forged = {"username": "ana", "credentialID": "JTI=another"}
        stored = await decide(ana, namespace, decision("Acknowledge", decidedBy=forged))
        assert stored["spec"]["decidedBy"]["credentialID"] == "JTI=0b1c"
        assert (await who_am_i(ana)).credential_id == "JTI=0b1c"


async def test_decision_can_be_applied_again(as_user: As, admin: Client, namespace: str) -> None:
    document = decision("Acknowledge")
    document["metadata"] = {"name": "mine"}
    first = await admin.apply(resources.DECISIONS, namespace, document, manager="tests")
    assert await admin.apply(resources.DECISIONS, namespace, document, manager="tests") == first
    # By somebody else too, since nothing changes; but nobody takes it over.
    executive = await as_user("eve", "executive", "system:masters")
    again = await executive.apply(resources.DECISIONS, namespace, document, manager="eve")
    assert again["spec"] == first["spec"]
    with pytest.raises(Refused, match="a decision is immutable"):
        await executive.merge_patch(
            resources.DECISIONS, namespace, "mine", {"spec": {"decidedBy": {"username": "eve"}}}
        )
    labelled = await executive.merge_patch(resources.DECISIONS, namespace, "mine", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["spec"] == first["spec"]


async def test_decision_is_neither_changed_nor_deleted_by_who_made_it(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "legal")
    name = (await decide(ana, namespace, decision("Acknowledge")))["metadata"]["name"]
    with pytest.raises(Forbidden, match='cannot patch resource "escalationdecisions"'):
        await ana.merge_patch(resources.DECISIONS, namespace, name, {"metadata": {"labels": {"a": "b"}}})
    with pytest.raises(Forbidden, match='cannot delete resource "escalationdecisions"'):
        await ana.delete(resources.DECISIONS, namespace, name)


async def test_role_is_granted_only_by_who_holds_it(as_user: As, admin: Client, namespace: str) -> None:
    rbac = "rbac.authorization.k8s.io"
    bindings, roles = Resource(rbac, "v1", "rolebindings", "RoleBinding"), Resource(rbac, "v1", "roles", "Role")
    local = await as_user("local-admin")
    await admin.create(
        bindings,
        namespace,
        {
            "metadata": {"name": "local-admin"},
            "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "admin"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": "local-admin"}],
        },
    )
    role = {
        "metadata": {"name": "mine"},
        "rules": [{"apiGroups": ["riskladder.dev"], "resources": ["stakeholders"], "verbs": ["close"]}],
    }
    binding = {
        "metadata": {"name": "mine"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "stakeholder-legal"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "local-admin"}],
    }

    async def is_local_admin() -> bool:
        try:
            return bool(await local.list(bindings, namespace))
        except Forbidden:
            return False

    await until("the namespace has its administrator", is_local_admin)
    for resource, document in ((roles, role), (bindings, binding)):
        with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
            await local.create(resource, namespace, document)


async def test_status_of_a_decision_is_written_by_the_operator_only(
    admin: Client, operator_client: Client, namespace: str
) -> None:
    name = (await decide(admin, namespace, decision("Acknowledge")))["metadata"]["name"]
    status = {"status": {"observedGeneration": 1}}
    with pytest.raises(Forbidden, match=r"riskladder-writes.*the status of ladders, signals, decisions and bindings"):
        await admin.merge_patch(resources.DECISIONS, namespace, name, status, subresource="status")
    await operator_client.merge_patch(resources.DECISIONS, namespace, name, status, subresource="status")


async def test_operator_decides_nothing(operator_client: Client, namespace: str) -> None:
    with pytest.raises(Forbidden, match='cannot create resource "escalationdecisions"'):
        await decide(operator_client, namespace, decision("Close", resolution="Remediated"))


async def test_without_stamping_only_the_truth_is_taken(as_user: As, unstamped: str) -> None:
    ana = await as_user("ana", "legal", "staff", uid="u-1")
    with pytest.raises(Refused, match=r"spec\.decidedBy is missing.*write who you are, ana, with"):
        await decide(ana, unstamped, decision("Acknowledge"))
    me = (await who_am_i(ana)).to_api()
    wrongs: tuple[Object, ...] = (
        {"username": "bob"},
        {"uid": "u-2"},
        {"uid": ""},
        {"groups": ["legal", "staff"]},
        {"groups": [*me["groups"], "executive"]},
        {"groups": []},
        {"credentialID": "JTI=another"},
    )
    for wrong in wrongs:
        said = (me | wrong)["username"]
        with pytest.raises(Forbidden, match=f"spec.decidedBy says {said}, and this is ana: nobody decides for another"):
            await decide(ana, unstamped, decision("Acknowledge", decidedBy=me | wrong))
    stored = await decide(ana, unstamped, decision("Acknowledge", decidedBy=me))
    assert stored["spec"]["decidedBy"] == me
    # An authenticator that looks groups up may give them in another order next time.
    await decide(ana, unstamped, decision("Acknowledge", decidedBy=me | {"groups": me["groups"][::-1]}))
    with pytest.raises(Forbidden, match='ana may not acknowledge as "executive"'):
        await decide(ana, unstamped, decision("Acknowledge", "executive", decidedBy=me))


# --- Manual signals ---------------------------------------------------------------------------------------------------


async def test_who_raises_is_stamped_with_each_change(as_user: As, namespace: str) -> None:
    ana, ben = await as_user("ana", "legal"), await as_user("ben", "legal")
    raised = await write(ana, namespace, manual("stop", raisedBy="bob"))
    assert raised["spec"]["manual"]["raisedBy"] == "ana"
    # What is no change of the spec is nobody's raising.
    labelled = await ben.merge_patch(resources.SIGNALS, namespace, "stop", {"metadata": {"labels": {"a": "b"}}})
    assert labelled["spec"] == raised["spec"]
    for spec in ({"manual": {"rationale": "Still"}}, {"manual": {"raisedBy": "bob"}}):
        changed = await change(ben, namespace, "stop", spec)
        assert changed["spec"]["manual"]["raisedBy"] == "ben"


async def test_raising_needs_the_verb_on_the_role(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "legal")
    with pytest.raises(Forbidden, match=r'riskladder-raise.*ana may not raise as "security" in namespace.*"security"'):
        await write(ana, namespace, manual("stop", "security"))
    with pytest.raises(
        Forbidden, match=r"ana may not raise without a role.*without resourceNames, or give the role in"
    ):
        await write(ana, namespace, manual("stop", None))
    await write(ana, namespace, manual("stop"))
    with pytest.raises(Forbidden, match='ana may not raise as "security"'):
        await change(ana, namespace, "stop", {"manual": {"role": "security"}})
    with pytest.raises(Forbidden, match="ana may not raise without a role"):
        await change(ana, namespace, "stop", {"manual": {"role": None}})


async def test_role_may_be_left_out_by_who_holds_every_role(admin: Client, namespace: str) -> None:
    raised = await write(admin, namespace, manual("stop", None, containment="ScaleToZero"))
    assert raised["spec"]["manual"]["raisedBy"] == (await who_am_i(admin)).username


async def test_stop_button_needs_contain_as_well(as_user: As, admin: Client, namespace: str) -> None:
    legal, ops = await as_user("ana", "legal"), await as_user("ops", "raise-only")
    await grant(admin, namespace, "raise-only", "raise", "ml-platform")
    await until("ops may raise", lambda: may_i(ops, namespace, ["raise"], ["ml-platform"]))
    await write(legal, namespace, manual("stop", containment="ScaleToZero"))
    await write(ops, namespace, manual("look", "ml-platform"))
    stop = {"manual": {"containment": "ScaleToZero"}}
    with pytest.raises(
        Forbidden, match=r'ops may not contain as "ml-platform".*leave spec\.manual\.containment out, or'
    ):
        await change(ops, namespace, "look", stop)
    with pytest.raises(Forbidden, match='ops may not contain as "ml-platform"'):
        await write(ops, namespace, manual("stop-too", "ml-platform", containment="ScaleToZero"))


async def grant(admin: Client, namespace: str, group: str, verb: str, role: str) -> None:
    """The verb on a role, and to write signals, for a group."""
    rbac = "rbac.authorization.k8s.io"
    rules = [
        {"apiGroups": ["riskladder.dev"], "resources": ["stakeholders"], "resourceNames": [role], "verbs": [verb]},
        {"apiGroups": ["riskladder.dev"], "resources": ["modelrisksignals"], "verbs": ["create", "get", "patch"]},
    ]
    await admin.create(Resource(rbac, "v1", "roles", "Role"), namespace, {"metadata": {"name": group}, "rules": rules})
    await admin.create(
        Resource(rbac, "v1", "rolebindings", "RoleBinding"),
        namespace,
        {
            "metadata": {"name": group},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": group},
            "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}],
        },
    )


async def test_what_somebody_raised_is_replaced_only_in_the_same_role(as_user: As, namespace: str) -> None:
    ana, sec = await as_user("ana", "legal"), await as_user("sec", "security")
    await write(ana, namespace, manual("stop"))
    with pytest.raises(Forbidden, match=r'sec may not replace what ana raised as "legal" in namespace.*another name'):
        await change(sec, namespace, "stop", {"manual": {"role": "security", "tier": "moderate"}})
    both = await as_user("both", "legal", "security")
    changed = await change(both, namespace, "stop", {"manual": {"role": "security"}})
    assert changed["spec"]["manual"]["raisedBy"] == "both"


async def test_person_who_may_raise_cannot_speak_for_a_monitor(as_user: As, namespace: str) -> None:
    ana, monitor = await as_user("ana", "legal"), await as_user("monitor")
    with pytest.raises(Forbidden, match=r'riskladder-sources.*ana may not report as source "fairness-monitor"'):
        await write(ana, namespace, measured("forged"))
    await until("the monitor may report", lambda: reported(monitor, namespace))
    before = (await monitor.get(resources.SIGNALS, namespace, "fairness"))["spec"]

    turned = {"manual": manual("x")["spec"]["manual"], "readings": None}
    newer = {"readings": [measured("x")["spec"]["readings"][0] | {"value": 0.0}]}
    moved = {"source": "ana-monitor"}
    for spec, why in (
        (turned, "may not replace what source"),
        (turned | moved, "may not replace what source"),
        (newer, "may not report as source"),
        (moved, "may not report as source"),
    ):
        with pytest.raises(Forbidden, match=f"riskladder-sources.*ana {why}"):
            await change(ana, namespace, "fairness", spec)
    assert (await change(ana, namespace, "fairness", {}))["spec"] == before

    # Nor does a manual signal become a way to report.
    await write(ana, namespace, manual("stop"))
    with pytest.raises(Forbidden, match="ana may not report as source"):
        await change(ana, namespace, "stop", {"manual": None, **newer})


GONE = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "00000000-0000-0000-0000-000000000001"}]
AWAY = ({"ownerReferences": GONE}, {"finalizers": ["example.com/mine"]})
"""By what somebody gets rid of an object, or keeps others from it, other than deleting it."""


async def delete_all(client: Client, namespace: str) -> None:
    where = resources.SIGNALS.path(namespace)
    await client.request("DELETE", where, verb="deletecollection", resource="modelrisksignals")


@pytest.fixture
async def janitor(admin: Client, as_user: As, namespace: str) -> Client:
    """Somebody with every right on signals, and none to report or raise: as the built-in role edit is."""
    rbac, rule = "rbac.authorization.k8s.io", {"apiGroups": ["riskladder.dev"], "resources": ["modelrisksignals"]}
    role = {"metadata": {"name": "janitor"}, "rules": [rule | {"verbs": ["*"]}]}
    await admin.create(Resource(rbac, "v1", "roles", "Role"), namespace, role)
    await admin.create(
        Resource(rbac, "v1", "rolebindings", "RoleBinding"),
        namespace,
        {
            "metadata": {"name": "janitor"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "janitor"},
            "subjects": [{"apiGroup": rbac, "kind": "User", "name": name} for name in ("janitor", "monitor", "ana")],
        },
    )
    client = await as_user("janitor")

    async def is_bound() -> bool:
        with suppress(Forbidden):
            return bool(await client.list(resources.SIGNALS, namespace)) or True
        return False

    await until("the janitor is bound", is_bound)
    return client


async def test_only_who_may_report_gets_rid_of_what_a_source_reported(
    admin: Client, as_user: As, janitor: Client, namespace: str
) -> None:
    monitor = await as_user("monitor")
    await until("the monitor may report", lambda: reported(monitor, namespace))
    before = await monitor.get(resources.SIGNALS, namespace, "fairness")
    refused = 'riskladder-sources.*janitor may not {} what source "fairness-monitor" reported in namespace.*"report"'
    for removing in (janitor.delete(resources.SIGNALS, namespace, "fairness"), delete_all(janitor, namespace)):
        with pytest.raises(Forbidden, match=refused.format("delete")):
            await removing
    for metadata in AWAY:
        with pytest.raises(Forbidden, match=refused.format("change the owner references or finalizers of")):
            await janitor.merge_patch(resources.SIGNALS, namespace, "fairness", {"metadata": metadata})
    assert await monitor.get(resources.SIGNALS, namespace, "fairness") == before
    await janitor.merge_patch(resources.SIGNALS, namespace, "fairness", {"metadata": {"labels": {"a": "b"}}})

    for metadata in (*AWAY[1:], {"finalizers": None}):
        await monitor.merge_patch(resources.SIGNALS, namespace, "fairness", {"metadata": metadata})
    await monitor.delete(resources.SIGNALS, namespace, "fairness")
    # What its own monitor has given an owner, the garbage collector deletes with it.
    owned = measured("owned")
    owned["metadata"]["ownerReferences"] = GONE
    await write(monitor, namespace, owned)

    async def is_collected() -> bool:
        return not await admin.list(resources.SIGNALS, namespace)

    await until("it is collected", is_collected)


async def test_only_who_may_raise_in_that_role_gets_rid_of_what_a_person_raised(
    as_user: As, janitor: Client, namespace: str
) -> None:
    ana = await as_user("ana", "legal")
    raised = await write(ana, namespace, manual("stop"))
    refused = 'riskladder-raise.*janitor may not {} what ana raised as "legal" in namespace.*"raise"'
    for removing in (janitor.delete(resources.SIGNALS, namespace, "stop"), delete_all(janitor, namespace)):
        with pytest.raises(Forbidden, match=refused.format("delete")):
            await removing
    for metadata in AWAY:
        with pytest.raises(Forbidden, match=refused.format("change the owner references or finalizers of")):
            await janitor.merge_patch(resources.SIGNALS, namespace, "stop", {"metadata": metadata})
    assert (await ana.get(resources.SIGNALS, namespace, "stop"))["spec"] == raised["spec"]
    await ana.delete(resources.SIGNALS, namespace, "stop")


async def reported(monitor: Client, namespace: str) -> bool:
    try:
        await write(monitor, namespace, measured("fairness"))
    except Forbidden:
        return False
    return True


async def test_monitor_cannot_speak_for_a_person(as_user: As, namespace: str) -> None:
    ana, monitor = await as_user("ana", "legal"), await as_user("monitor")
    await until("the monitor may report", lambda: reported(monitor, namespace))
    with pytest.raises(Forbidden, match=r'riskladder-raise.*monitor may not raise as "legal"'):
        await write(monitor, namespace, manual("stop"))
    with pytest.raises(Forbidden, match='monitor may not raise as "legal"'):
        await change(monitor, namespace, "fairness", {"manual": manual("x")["spec"]["manual"], "readings": None})
    raised = await write(ana, namespace, manual("stop"))
    for patch in ({"manual": None, "readings": measured("x")["spec"]["readings"]}, {"manual": {"tier": "moderate"}}):
        with pytest.raises(Forbidden, match=r"riskladder-raise.*monitor may not"):
            await change(monitor, namespace, "stop", patch)
    assert (await ana.get(resources.SIGNALS, namespace, "stop"))["spec"] == raised["spec"]


async def test_without_stamping_only_the_caller_raises(as_user: As, unstamped: str) -> None:
    ana, ben = await as_user("ana", "legal"), await as_user("ben", "legal")
    for forged in ({}, {"raisedBy": "ben"}):
        with pytest.raises(Forbidden, match=r"spec\.manual\.raisedBy must be who raises it, and this is ana"):
            await write(ana, unstamped, manual("stop", **forged))
    await write(ana, unstamped, manual("stop", raisedBy="ana"))
    with pytest.raises(Forbidden, match=r"spec\.manual\.raisedBy must be who raises it, and this is ben"):
        await change(ben, unstamped, "stop", {"manual": {"tier": "moderate"}})
    await change(ben, unstamped, "stop", {"manual": {"tier": "moderate", "raisedBy": "ben"}})


# --- Who reported -----------------------------------------------------------------------------------------------------

TOKEN = r"JTI=[0-9a-f-]{36}"
CERTIFICATE = r"X509SHA256=[0-9a-f]{64}"
SERVICE_ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
SOMETHING_ELSE = {"username": "the-general-counsel", "credentialID": "JTI=another"}


@asynccontextmanager
async def monitors(admin: Client, plane: ControlPlane, name: str, directory: Path) -> AsyncIterator[dict[str, Client]]:
    """The same monitor three times: by a token of its account, by a client certificate, and impersonated."""
    await admin.create(SERVICE_ACCOUNTS, name, {"metadata": {"name": "monitor"}})
    account = f"system:serviceaccount:{name}:monitor"
    rbac = "rbac.authorization.k8s.io"
    await admin.create(
        Resource(rbac, "v1", "rolebindings", "RoleBinding"),
        name,
        {
            "metadata": {"name": "zz-account"},
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "monitor"},
            "subjects": [{"kind": "ServiceAccount", "name": "monitor", "namespace": name}],
        },
    )
    token = service_account_kubeconfig(plane.kubeconfig, directory / f"{name}.kubeconfig", "monitor", name)
    assert isinstance(plane, LocalControlPlane)
    async with AsyncExitStack() as stack:
        found = {"impersonated": await stack.enter_async_context(impersonated(plane.kubeconfig, account))}
        for how, kubeconfig in (("token", token), ("certificate", plane.kubeconfig_for("monitor"))):
            connection = await connect(str(kubeconfig), agent="tests")
            stack.push_async_callback(connection.close)
            found[how] = Client(connection)
        for how, client in found.items():
            await until(f"{how} may report", partial(may_report, client, name))
        yield found


async def may_report(client: Client, namespace: str) -> bool:
    try:
        await Client(client._connection, dry_run=True).create(resources.SIGNALS, namespace, measured("try"))
    except Forbidden:
        return False
    return True


async def test_who_reports_is_stamped_with_the_credential(
    admin: Client, installed: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    account = f"system:serviceaccount:{namespace}:monitor"
    expected = {"token": (account, TOKEN), "certificate": ("monitor", CERTIFICATE), "impersonated": (account, None)}
    async with monitors(admin, installed, namespace, tmp_path) as found:
        for how, (user, credential) in expected.items():
            for name, forged in ((how, {}), (f"{how}-forged", {"reportedBy": SOMETHING_ELSE})):
                document = measured(name)
                document["spec"] |= forged
                by = (await write(found[how], namespace, document))["spec"]["reportedBy"]
                assert by["username"] == user
                assert re.fullmatch(credential, by["credentialID"]) if credential else by.get("credentialID", "") == ""
            me = await who_am_i(found[how])
            assert (me.username, me.credential_id) == (user, by.get("credentialID", ""))
        # Whoever changes it next is stamped, with all that is said of them: nothing is left of who was before.
        for how, spec in (
            ("impersonated", {"heardAt": "2026-11-24T07:00:00Z"}),
            ("certificate", {"observedAt": "2026-11-24T06:30:00Z"}),
            ("impersonated", {"reportedBy": SOMETHING_ELSE}),
        ):
            changed = await change(found[how], namespace, "token", spec)
            user, credential = expected[how]
            by = changed["spec"]["reportedBy"]
            assert by["username"] == user
            assert bool(by.get("credentialID")) == bool(credential)


async def test_what_is_no_change_is_nobodys_report(
    admin: Client, installed: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    async with monitors(admin, installed, namespace, tmp_path) as found:
        document = measured("same")
        first = await found["token"].apply(resources.SIGNALS, namespace, document, manager="monitor")
        assert await found["token"].apply(resources.SIGNALS, namespace, document, manager="monitor") == first
        labelled = await admin.merge_patch(resources.SIGNALS, namespace, "same", {"metadata": {"labels": {"a": "b"}}})
        assert labelled["spec"] == first["spec"]


async def test_credential_is_made_up_by_nobody_who_may_only_impersonate_an_account(
    admin: Client, installed: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    """The extra of a user takes a permission of its own, which `edit` and `riskladder ingest` have not."""
    rbac = "rbac.authorization.k8s.io"
    role = {"rules": [{"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}]}
    await admin.create(Resource(rbac, "v1", "roles", "Role"), namespace, {"metadata": {"name": "acting"}} | role)
    subjects = [{"apiGroup": rbac, "kind": "User", "name": "ana"}]
    reference = {"apiGroup": rbac, "kind": "Role", "name": "acting"}
    binding = {"metadata": {"name": "acting"}, "roleRef": reference, "subjects": subjects}
    await admin.create(Resource(rbac, "v1", "rolebindings", "RoleBinding"), namespace, binding)
    assert isinstance(installed, LocalControlPlane)
    account = f"system:serviceaccount:{namespace}:monitor"
    async with (
        monitors(admin, installed, namespace, tmp_path),
        impersonated(installed.kubeconfig_for("ana"), account) as ana,
    ):
        await until("ana may act as the account", partial(may_report, ana, namespace))
        stored = await write(ana, namespace, measured("borrowed"))
        assert stored["spec"]["reportedBy"].get("credentialID", "") == ""
        extra = "Impersonate-Extra-authentication.kubernetes.io%2fcredential-id"
        ana._connection.session.headers.add(extra, "JTI=0b1c")
        with pytest.raises(Forbidden, match=r"userextras/authentication\.kubernetes\.io/credential-id"):
            await write(ana, namespace, measured("forged"))


async def test_without_stamping_who_reports_is_the_caller_or_left_out(
    admin: Client, installed: ControlPlane, unstamped: str, tmp_path: Path
) -> None:
    async with monitors(admin, installed, unstamped, tmp_path) as found:
        for how, client in found.items():
            me = await who_am_i(client)
            mine = {"username": me.username, "credentialID": me.credential_id}
            document = measured(f"{how}-left-out")
            assert "reportedBy" not in (await write(client, unstamped, document))["spec"]
            wrongs: list[Object] = [mine | {"username": "bob"}, mine | {"credentialID": "JTI=another"}]
            wrongs += [{"username": me.username}] if me.credential_id else []
            for wrong in wrongs:
                document = measured(f"{how}-wrong")
                document["spec"]["reportedBy"] = wrong
                said = (
                    f"spec.reportedBy says {wrong['username']}, and this is {me.username}: nobody reports for another"
                )
                with pytest.raises(Forbidden, match=re.escape(said)):
                    await write(client, unstamped, document)
            document = measured(f"{how}-true")
            document["spec"]["reportedBy"] = mine
            assert (await write(client, unstamped, document))["spec"]["reportedBy"] == mine
        # What somebody else has written down there has to be left out, or to be said anew.
        later = {"observedAt": "2026-11-24T07:00:00Z"}
        with pytest.raises(Forbidden, match=r"nobody reports for another\. Leave it out \(null"):
            await change(found["impersonated"], unstamped, "token-true", later)
        changed = await change(found["impersonated"], unstamped, "token-true", later | {"reportedBy": None})
        assert "reportedBy" not in changed["spec"]


async def test_who_raises_is_stamped_with_the_credential_too(
    as_user: As, installed: ControlPlane, namespace: str
) -> None:
    ana = await as_user("ana", "legal")
    raised = await write(ana, namespace, manual("stop"))
    assert (raised["spec"]["reportedBy"]["username"], raised["spec"]["manual"]["raisedBy"]) == ("ana", "ana")
    assert raised["spec"]["reportedBy"].get("credentialID", "") == ""
    assert isinstance(installed, LocalControlPlane)
    connection = await connect(str(installed.kubeconfig_for("ben", ["legal"])), agent="tests")
    try:
        changed = await change(Client(connection), namespace, "stop", {"manual": {"rationale": "Still"}})
    finally:
        await connection.close()
    assert changed["spec"]["reportedBy"]["username"] == changed["spec"]["manual"]["raisedBy"] == "ben"
    assert re.fullmatch(CERTIFICATE, changed["spec"]["reportedBy"]["credentialID"])


# --- What the operator asks -------------------------------------------------------------------------------------------


@pytest.fixture
async def operator_client(operator_kubeconfig: Path) -> AsyncIterator[Client]:
    connection = await connect(str(operator_kubeconfig), agent="tests")
    yield Client(connection)
    await connection.close()


async def test_operator_asks_about_whoever_decided(operator_client: Client, as_user: As, namespace: str) -> None:
    for group in ROLES:
        who = await who_am_i(await as_user("ana", "staff", group, uid="u-1"))
        held = {(v, r) for v in VERBS for r in ROLES if await may(operator_client, namespace, who, v, r)}
        assert held == {(verb, group) for verb in HELD[group]}
        assert not await may(operator_client, namespace, who, "raise", "")
    assert not await may(operator_client, namespace, DecidedBy(username="ana"), "comment", "legal")
    admin = DecidedBy(username="root", groups=("system:masters",))
    assert await may(operator_client, namespace, admin, "raise", "")


async def test_person_may_not_ask_about_others(as_user: As, namespace: str) -> None:
    ana = await as_user("ana", "legal")
    with pytest.raises(Forbidden, match="localsubjectaccessreviews"):
        await may(ana, namespace, DecidedBy(username="bob"), "comment", "legal")


async def test_who_am_i_knows_service_accounts(operator_client: Client) -> None:
    me = await who_am_i(operator_client)
    assert me.username == "system:serviceaccount:riskladder-system:riskladder"
    assert me.uid
    assert "system:serviceaccounts" in me.groups


async def test_operator_sees_that_the_policy_is_in_force(operator_client: Client, admin: Client) -> None:
    await until("the policy has been looked at", lambda: in_force(operator_client))
    found = await proof(operator_client)
    created = [await admin.get(resource, None, POLICY) for resource in (POLICIES, BINDINGS)]
    newest = max(datetime.fromisoformat(obj["metadata"]["creationTimestamp"]) for obj in created)
    assert found.since is not None
    assert newest + authority.PROPAGATION <= found.since <= datetime.now(UTC) + authority.PROPAGATION


async def in_force(client: Client) -> bool:
    return not (await proof(client)).missing


# --- A policy with a gap, on a plane of its own -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def plane(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """Its own: no other test is to meet a policy not in force. It has no mutating policies, as before 1.36."""
    kind = control_plane_kind(request.config.getoption("--cluster"))
    if kind != "local":
        pytest.skip(f"needs a control plane of its own, and --cluster={kind} has one for everybody")
    with LocalControlPlane(nodes=1, api_server_args=["--feature-gates=MutatingAdmissionPolicy=false"]) as own:
        yield own


@pytest.fixture(scope="module")
async def root(plane: ControlPlane) -> AsyncIterator[Client]:
    connection = await connect(str(plane.kubeconfig), namespace="default", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture
async def policy(root: Client) -> AsyncIterator[tuple[Object, Object]]:
    """The shipped policy and binding, created again."""
    documents = yaml.safe_load_all((ROOT / "manifests" / "policies" / "decisions.yaml").read_text())
    shipped, binding = list(documents)
    await remove_policy(root)
    for resource, document in ((POLICIES, shipped), (BINDINGS, binding)):
        await root.create(resource, None, document)
    await until("the policy has been looked at", lambda: in_force(root))
    yield shipped, binding
    await remove_policy(root)


async def remove_policy(root: Client) -> None:
    for resource in (POLICIES, BINDINGS):
        with suppress(NotFound):
            await root.delete(resource, None, POLICY)


def put(value: Any, *place: str) -> Callable[[Object], None]:
    def edit(spec: Object) -> None:
        *steps, last = place
        for step in steps:
            spec = spec.setdefault(step, {})
        spec[last] = value

    return edit


def rule(**changes: Any) -> Callable[[Object], None]:
    def edit(spec: Object) -> None:
        spec["matchConstraints"]["resourceRules"][0] |= changes

    return edit


SOME = {"matchLabels": {"trusted": "true"}}
ELSEWHERE = [{"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"], "operations": ["CREATE"]}]
PARAMS = {"name": "p", "parameterNotFoundAction": "Allow"}
GAPS = [
    (POLICIES, put("Ignore", "failurePolicy"), "has failurePolicy Ignore"),
    (
        POLICIES,
        put([{"name": "x", "expression": "request.userInfo.username != 'eve'"}], "matchConditions"),
        "has matchCon",
    ),
    (POLICIES, put({"apiVersion": "v1", "kind": "ConfigMap"}, "paramKind"), "has a paramKind"),
    (POLICIES, put(SOME, "matchConstraints", "namespaceSelector"), "has namespaceSelector in matchConstraints"),
    (POLICIES, put(SOME, "matchConstraints", "objectSelector"), "has objectSelector in matchConstraints"),
    (
        POLICIES,
        put(ELSEWHERE, "matchConstraints", "excludeResourceRules"),
        "has excludeResourceRules in matchConstraints",
    ),
    (POLICIES, rule(operations=["UPDATE"]), "does not match the creation of every EscalationDecision"),
    (POLICIES, rule(resources=["escalations"]), "does not match the creation"),
    (POLICIES, rule(apiGroups=["example.com"]), "does not match the creation"),
    (POLICIES, rule(apiVersions=["v1"]), "does not match the creation"),
    (POLICIES, rule(resourceNames=["mine"]), "does not match the creation"),
    (POLICIES, rule(scope="Cluster"), "does not match the creation"),
    (POLICIES, put([{"expression": "true"}], "validations"), "no longer compares spec.decidedBy with the caller"),
    (BINDINGS, put(["Warn", "Audit"], "validationActions"), "lacks Deny"),
    (BINDINGS, put({"namespaceSelector": SOME}, "matchResources"), "has namespaceSelector in matchResources"),
    (BINDINGS, put({"objectSelector": SOME}, "matchResources"), "has objectSelector in matchResources"),
    (BINDINGS, put({"resourceRules": ELSEWHERE}, "matchResources"), "has resourceRules in matchResources"),
    (
        BINDINGS,
        put({"excludeResourceRules": ELSEWHERE}, "matchResources"),
        "has excludeResourceRules in matchResources",
    ),
    (BINDINGS, put(PARAMS, "paramRef"), "has a paramRef"),
    (BINDINGS, put(["Deny", "Audit"], "validationActions"), "was changed after it was created (generation 2)"),
]


@pytest.mark.parametrize(
    ("resource", "edit", "gap"), GAPS, ids=[f"{r.kind.removeprefix('ValidatingAdmission')}-{g}" for r, _, g in GAPS]
)
async def test_gap_is_named_with_what_to_do(
    root: Client,
    policy: tuple[Object, Object],
    resource: Resource,
    edit: Callable[[Object], None],
    gap: str,
) -> None:
    stored = await root.get(resource, None, POLICY)
    edit(stored["spec"])
    await root.replace(resource, None, POLICY, stored)
    found = await proof(root)
    assert found.since is None
    assert found.missing.startswith(f"the {resource.kind} {POLICY} {gap}"), found.missing
    assert (
        f": delete it (kubectl delete {resource.kind.lower()} {POLICY}), and apply the manifests again" in found.missing
    )
    # Which does put it right.
    await root.delete(resource, None, POLICY)
    assert (await proof(root)).missing.startswith(f"there is no {resource.kind} {POLICY}: apply the manifests again")
    await root.create(resource, None, policy[resource is BINDINGS])
    await until("the policy is in force again", lambda: in_force(root))


async def test_binding_of_another_policy_is_none(root: Client, policy: tuple[Object, Object]) -> None:
    other = copy.deepcopy(policy[1])
    other["spec"]["policyName"] = "riskladder-writes"
    await root.delete(BINDINGS, None, POLICY)
    await root.create(BINDINGS, None, other)
    found = await proof(root)
    assert found.missing.startswith(f"the {BINDINGS.kind} {POLICY} binds the policy riskladder-writes: delete it")


async def test_exception_that_was_taken_back_still_shows(root: Client, policy: tuple[Object, Object]) -> None:
    before = (await proof(root)).since
    assert before is not None
    await asyncio.sleep(1.1)  # timestamps are whole seconds
    stored = await root.get(POLICIES, None, POLICY)
    stored["spec"]["matchConditions"] = [{"name": "x", "expression": "request.userInfo.username != 'eve'"}]
    generation = (await root.replace(POLICIES, None, POLICY, stored))["metadata"]["generation"]

    async def looked_at() -> Object | None:
        found = await root.get(POLICIES, None, POLICY)
        return found if (found.get("status") or {}).get("observedGeneration") == generation else None

    stored = await until("the exception has been looked at", looked_at)  # after that nothing else writes it
    await asyncio.sleep(1.1)
    lax_until = datetime.now(UTC).replace(microsecond=0)
    del stored["spec"]["matchConditions"]
    await root.replace(POLICIES, None, POLICY, stored)
    await until("the policy has been looked at", lambda: in_force(root))
    after = (await proof(root)).since
    assert after is not None
    assert after - before >= timedelta(seconds=2)
    assert after - authority.PROPAGATION >= lax_until


async def test_binding_that_was_missing_proves_only_what_comes_after(
    root: Client, policy: tuple[Object, Object]
) -> None:
    before = (await proof(root)).since
    await root.delete(BINDINGS, None, POLICY)
    assert (await proof(root)).missing.startswith(f"there is no {BINDINGS.kind} {POLICY}")
    await asyncio.sleep(1.1)
    missing_until = datetime.now(UTC).replace(microsecond=0)
    await root.create(BINDINGS, None, policy[1])
    after = (await proof(root)).since
    assert before is not None
    assert after is not None
    assert before < after
    assert after - authority.PROPAGATION >= missing_until


async def test_without_permission_the_missing_role_is_named(plane: ControlPlane, policy: tuple[Object, Object]) -> None:
    async with impersonated(plane.kubeconfig, "system:serviceaccount:riskladder-system:riskladder") as operator:
        found = await proof(operator)
    assert found.since is None
    assert found.missing.startswith(
        f"the operator may not get validatingadmissionpolicies.admissionregistration.k8s.io {POLICY}"
    )
    assert "bind the ClusterRole riskladder-policies" in found.missing


async def test_overlay_for_older_clusters_takes_the_caller_and_nobody_else(plane: ControlPlane, root: Client) -> None:
    install(plane.kubeconfig, OVERLAY_BEFORE_1_36)
    with pytest.raises(Refused, match=r"spec\.decidedBy is missing"):
        await decide(root, "default", decision("Acknowledge"))
    with pytest.raises(Forbidden, match="nobody decides for another"):
        await decide(root, "default", decision("Acknowledge", decidedBy={"username": "ana"}))
    me = (await who_am_i(root)).to_api()
    assert (await decide(root, "default", decision("Acknowledge", decidedBy=me)))["spec"]["decidedBy"] == me
    reports = measured("older")
    assert "reportedBy" not in (await write(root, "default", reports))["spec"]
    reports["metadata"], reports["spec"]["reportedBy"] = {"name": "forged"}, SOMETHING_ELSE
    with pytest.raises(Forbidden, match="nobody reports for another"):
        await write(root, "default", reports)
    reports["spec"]["reportedBy"] = {"username": me["username"], "credentialID": me["credentialID"]}
    assert (await write(root, "default", reports))["spec"]["reportedBy"] == reports["spec"]["reportedBy"]
    await until("the policy has been looked at", lambda: in_force(root))


@pytest.mark.parametrize(
    ("served", "overlay"),
    [
        (["mutatingadmissionpolicies", "validatingadmissionpolicies"], DEFAULT_OVERLAY),
        (["mutatingwebhookconfigurations", "validatingadmissionpolicies"], OVERLAY_BEFORE_1_36),
    ],
)
def test_overlay_fits_what_the_api_server_knows(
    monkeypatch: pytest.MonkeyPatch, served: list[str], overlay: str
) -> None:
    answer = json.dumps({"resources": [{"name": name} for name in served]})
    monkeypatch.setattr("demo.install.kubectl", lambda *arguments: answer)
    assert fitting_overlay(Path("kubeconfig")) == overlay


async def test_no_answer_is_no_proof(root: Client) -> None:
    unreachable = Client(type(root._connection)("https://127.0.0.1:1", root._connection.session, "default"))
    with pytest.raises(ApiError):
        await proof(unreachable)
