"""`riskladder doctor` and kinds of another version, from before the installation to after it, on a plane of their own.

The tests follow the life of one installation, in order.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from riskladder.api.resource import Resource
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Forbidden, NotFound, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.definitions import CRDS, Definitions, State
from riskladder.cluster.policies import POLICIES
from tests.cluster import LocalControlPlane
from tests.cluster.install import NAMESPACE, ROOT, install, kubectl, service_account_kubeconfig
from tests.integration.conftest import needs_local
from tests.integration.doctor import Doctor, commands, failed, of, run
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, condition, ladder, signal
from tests.patience import PATIENCE

ESCALATIONS = "escalations.riskladder.dev"
OLDER = {ESCALATIONS: "state", "modelrisksignals.riskladder.dev": "tier", "escalationladders.riskladder.dev": "storm"}
"""Kinds, and a field of the status of each that an older version had not."""
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


@pytest.fixture(scope="module")
def bare(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """A control plane on which nothing is installed."""
    needs_local(request.config)
    with LocalControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
def there(bare: LocalControlPlane) -> LocalControlPlane:
    """The same, installed."""
    install(bare.kubeconfig)
    return bare


@pytest.fixture(scope="module")
def account(there: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return service_account_kubeconfig(there.kubeconfig, tmp_path_factory.mktemp("account") / "operator.kubeconfig")


@pytest.fixture(scope="module")
async def root(bare: LocalControlPlane) -> AsyncIterator[Client]:
    connection = await connect(str(bare.kubeconfig), namespace=NAMESPACE, agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture(scope="module")
def doctor(bare: LocalControlPlane) -> Doctor:
    return Doctor(bare.kubeconfig)


# --- Before the installation ------------------------------------------------------------------------------------------


async def test_before_the_installation_it_says_that_an_administrator_may_install(doctor: Doctor) -> None:
    code, checks = await doctor("--preflight")
    assert code == 0, checks
    assert of(checks, "API server")[0][0] == "OK"
    assert of(checks, "installer") == [("OK", "you may create everything that an installation contains")]
    assert of(checks, "custom resources") == [("OK", "none is installed yet")]


async def test_who_may_not_create_policies_is_told_before_trying(doctor: Doctor, bare: LocalControlPlane) -> None:
    code, checks = await doctor("--preflight", kubeconfig=bare.kubeconfig_for("mallory"))
    assert code == 1
    assert "create validatingadmissionpolicies.admissionregistration.k8s.io" in failed(checks)["installer"]
    assert "escalate clusterroles.rbac.authorization.k8s.io" in failed(checks)["installer"]


async def test_without_an_installation_nothing_fails_but_what_is_missing(doctor: Doctor) -> None:
    code, checks = await doctor()
    assert code == 1
    assert failed(checks).keys() == {"custom resources", "admission policies", "operator"}
    assert of(checks, "ladders") == [("SKIPPED", "the kinds are not installed")]


async def test_cluster_that_does_not_answer_and_wrong_use_are_one_line(doctor: Doctor, tmp_path: Path) -> None:
    closed = yaml.safe_load(doctor.kubeconfig.read_text())
    closed["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "closed").write_text(yaml.safe_dump(closed))
    code, text = await doctor.text(kubeconfig=tmp_path / "closed")
    assert (code, text.count("\n")) == (2, 1)
    assert "the cluster does not answer" in text
    for arguments in (("--preflight", "--uninstall"), ("--exported", "x")):
        code, text = await doctor.text(*arguments)
        assert (code, text.count("\n")) == (2, 1)


# --- Installed --------------------------------------------------------------------------------------------------------


async def test_installed_kinds_are_as_shipped_whatever_the_api_server_fills_in(
    there: LocalControlPlane, root: Client
) -> None:
    del there
    assert {one.state for one in await Definitions(root).look()} == {State.CURRENT}


@pytest.fixture(scope="module")
def operator(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    with OperatorProcess(account, tmp_path_factory.mktemp("operator")) as process:
        process.wait_until_leading()
        yield process


@pytest.fixture
async def world(root: Client, operator: OperatorProcess) -> AsyncIterator[TestNamespace]:
    del operator
    async with TestNamespace(root, f"doctor-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh


@pytest.fixture
def alone(operator: OperatorProcess) -> Iterator[None]:
    """Without the operator of the module, for tests that start one."""
    operator.stop()
    yield
    operator.start()


async def test_installation_without_an_operator_that_leads(there: LocalControlPlane, doctor: Doctor) -> None:
    del there
    code, checks = await doctor()
    assert code == 1
    assert failed(checks) == {"operator": f"nobody leads: there is no Lease riskladder in namespace {NAMESPACE}"}


async def test_all_is_well_and_fits_eighty_columns(world: TestNamespace, doctor: Doctor) -> None:
    await world.apply(ladder())
    await world.ladder_ready()
    code, checks = await doctor()
    assert failed(checks) == {}
    assert code == 0
    assert [c["check"] for c in checks if c["outcome"] == "WARN"] == ["components", "roles"]
    code, text = await doctor.text()
    assert code == 0
    assert max(map(len, text.splitlines())) <= 80, text
    code, text = await doctor.text("-o", "yaml")
    assert yaml.safe_load(text)["summary"]["fail"] == 0


async def test_roles_that_nobody_holds_are_named_until_somebody_is_bound(world: TestNamespace, doctor: Doctor) -> None:
    await world.apply(ladder())
    title = f"{world.namespace}/credit"
    _, checks = await doctor("-n", world.namespace)
    nobody = "nobody holds {}, but for who may do everything in the cluster"
    assert of(checks, "roles") == [("WARN", f"{title}: {nobody.format('legal, data-science')}")]
    rule = {"apiGroups": ["riskladder.dev"], "resources": ["stakeholders"], "resourceNames": ["legal"]}
    role = {"metadata": {"name": "legal"}, "rules": [{**rule, "verbs": ["resume"]}]}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "legal"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "legal"}]
    await world.client.create(ROLES, world.namespace, role)
    bound = {"metadata": {"name": "legal"}, "roleRef": reference, "subjects": subjects}
    await world.client.create(ROLE_BINDINGS, world.namespace, bound)
    _, checks = await doctor("-n", world.namespace)
    assert of(checks, "roles") == [("WARN", f"{title}: {nobody.format('data-science')}")]


async def test_who_may_see_nothing_gets_no_traceback(
    world: TestNamespace, doctor: Doctor, there: LocalControlPlane
) -> None:
    await world.apply(ladder())
    code, checks = await doctor(kubeconfig=there.kubeconfig_for("mallory"))
    assert code == 0
    assert {c["outcome"] for c in checks if c["check"] not in ("API server", "clock")} == {"SKIPPED"}
    assert ("SKIPPED", "you may not list escalationladders.riskladder.dev") in of(checks, "ladders")


async def test_what_ladders_ask_for_and_is_not_enabled_is_said_as_they_say_it(
    world: TestNamespace, doctor: Doctor
) -> None:
    isolating = ladder(action="Isolate")
    await world.apply(isolating)

    async def said() -> str:
        found = condition(await world.get(resources.LADDERS, "credit"), "Ready")
        return str(found["message"]) if found["reason"] == "NotEnabled" else ""

    message = await world.until(said, "the ladder to say what is not enabled")
    code, checks = await doctor("-n", world.namespace)
    assert code == 1
    assert failed(checks) == {"components": f"{world.namespace}/credit: {message}"}


@asynccontextmanager
async def changed(
    client: Client, resource: Resource, name: str, change: Callable[[Object], None]
) -> AsyncIterator[None]:
    """Have an object of the cluster otherwise for a while."""
    before = await client.get(resource, None, name)
    after = json.loads(json.dumps(before))
    change(after)
    part = "rules" if "rules" in before else "spec"

    async def put(obj: Object) -> None:
        """That part alone, whatever controllers write into the status meanwhile."""
        await client.json_patch(resource, None, name, [{"op": "replace", "path": f"/{part}", "value": obj[part]}])

    await put(after)
    try:
        yield
    finally:
        await put(before)


async def test_altered_policy_and_missing_permission_are_named_with_the_words_of_the_conditions(
    world: TestNamespace, doctor: Doctor, account: Path
) -> None:
    def gut(policy: Object) -> None:
        policy["spec"]["validations"] = [{"expression": "true"}]

    def take(role: Object) -> None:
        role["rules"] = [
            r for r in role["rules"] if r["resources"] != ["deployments", "statefulsets"] or "get" in r["verbs"]
        ]

    async with (
        changed(world.client, POLICIES, "riskladder-lock", gut),
        changed(world.client, CLUSTER_ROLES, "riskladder", take),
    ):
        await world.until(lambda: may_not(account, "patch", "deployments.apps"), "the permission to be gone")
        code, checks = await doctor("-n", world.namespace)
    assert code == 1
    assert (
        "PolicyAltered: riskladder-lock is altered (validations): apply the manifests"
        in failed(checks)["admission policies"]
    )
    assert "the operator may not patch deployments.apps in all namespaces" in failed(checks)["operator permissions"]


async def test_second_installation_is_named(world: TestNamespace, doctor: Doctor) -> None:
    [first] = await world.client.list(resources.DEPLOYMENTS, NAMESPACE, labels="app.kubernetes.io/component=operator")
    spec = {**first["spec"], "replicas": 0}
    labels = first["metadata"]["labels"]
    metadata = {"name": "riskladder", "labels": labels}
    await world.client.create(resources.DEPLOYMENTS, world.namespace, {"metadata": metadata, "spec": spec})
    code, checks = await doctor()
    assert code == 1
    assert f"{world.namespace} and {NAMESPACE}" in failed(checks)["one installation"]
    await world.client.delete(resources.DEPLOYMENTS, world.namespace, "riskladder")


async def test_namespaces_that_are_missing(world: TestNamespace, doctor: Doctor) -> None:
    code, checks = await doctor("-n", "nowhere", "--operator-namespace", "nowhere")
    assert code == 0, "the operator is found where it is"
    assert of(checks, "ladders") == [("OK", "there is none")]
    del world


# --- Kinds of another version -----------------------------------------------------------------------------------------


def fields(crd: Object, part: str) -> Object:
    found: Object = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part]["properties"]
    return found


def patched(operator: OperatorProcess, resource: str) -> dict[str, float]:
    """How often a status was to be written, by what came of it."""
    _, text = operator.get("/metrics")
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            about = {"verb": "patch", "resource": f"{resource}/status"}
            if sample.name == "riskladder_api_requests_total" and about.items() <= sample.labels.items():
                found[sample.labels["result"]] = sample.value
    return found


async def test_older_kind_is_said_with_the_command_stops_nothing_and_loses_nothing(
    alone: None, root: Client, account: Path, doctor: Doctor, tmp_path: Path
) -> None:
    del alone
    for name, field in OLDER.items():
        crd = await root.get(CRDS, None, name)
        del fields(crd, "status")[field]
        crd["spec"]["versions"][0]["additionalPrinterColumns"] = []
        await root.replace(CRDS, None, name, crd)
    async with TestNamespace(root, "older") as world:
        with OperatorProcess(account, tmp_path) as operator:
            operator.wait_until_leading()
            said = operator.wait_for("custom resources", reason="CustomResourcesOutdated")
            for name, field in OLDER.items():
                assert f"{name} lacks status.{field} (edited since it was applied)" in said["message"]
            status, why = operator.get("/readyz")
            assert (status, why.strip()) == (503, said["message"]), "no replacement for replicas that are ready"
            await world.apply(ladder())
            await world.serve("scorer")
            await world.apply(signal("scorer", "scorer", 0.31))
            await world.stopped("scorer")

            async def not_ready() -> Object | None:
                found = condition(await world.get(resources.LADDERS, "credit"), "Ready")
                return found if found["reason"] == "CustomResourcesOutdated" else None

            found = await world.until(not_ready, "the ladder to say that a kind is outdated")
            assert found["status"] == "False"
            code, checks = await doctor("-n", "older")
            assert code == 1
            assert failed(checks)["custom resources"] == f"CustomResourcesOutdated: {found['message']}"
            assert of(checks, "ladders") == [], "what is said once is not said again"
            _, metrics = operator.get("/metrics")
            assert f'riskladder_custom_resources{{name="{ESCALATIONS}",state="Outdated"}} 1.0' in metrics

            # A status with a field dropped is not written at all, and so not over and over.
            for kind in (ESCALATIONS, "modelrisksignals.riskladder.dev"):

                async def is_refused(kind: str = kind) -> bool:
                    return bool(patched(operator, kind))

                await world.until(is_refused, f"the status of {kind} to be refused")
                assert patched(operator, kind).keys() == {"Invalid"}
                assert patched(operator, kind)["Invalid"] <= 20
            assert patched(operator, "escalationladders.riskladder.dev")["ok"] <= 20
            [escalation] = await world.escalations("scorer")
            assert not escalation.get("status")

            command = found["message"].rpartition(": ")[2]
            run(command, doctor.kubeconfig, ROOT)
            await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
            await world.until(lambda: is_ready(world), "the ladder to be in force again")
            await world.tier("scorer", "high")
            [escalation] = await world.escalations("scorer")
            assert escalation["status"]["state"] == "Contained"
            records = await world.verified(escalation)
            opened = [record for record in records if record["spec"]["event"] == "EscalationOpened"]
            assert len(opened) == 1
            assert operator.get("/readyz") == (200, "ok\n")
    await world.gone()


async def is_ready(world: TestNamespace) -> bool:
    return bool(condition(await world.get(resources.LADDERS, "credit"), "Ready")["status"] == "True")


async def test_newer_kind_is_said_in_other_words_and_the_ladder_stays_in_force(
    alone: None, root: Client, account: Path, doctor: Doctor, tmp_path: Path
) -> None:
    del alone

    def newer(crd: Object) -> None:
        fields(crd, "status")["added"] = {"type": "string"}

    async with changed(root, CRDS, ESCALATIONS, newer), TestNamespace(root, "newer") as world:
        with OperatorProcess(account, tmp_path) as operator:
            operator.wait_until_leading()
            said = operator.wait_for("custom resources", reason="CustomResourcesNewer")["message"]
            assert f"{ESCALATIONS} has status.added, which version" in said
            assert operator.get("/readyz") == (200, "ok\n")
            await world.apply(ladder())
            stored = await world.ladder_ready()
            assert condition(stored, "CustomResourcesCurrent")["message"] == said
            _, checks = await doctor("-n", "newer")
            assert of(checks, "custom resources") == [("WARN", f"CustomResourcesNewer: {said}")]
            assert failed(checks) == {}


async def test_operator_that_may_not_look_says_unknown_and_works(
    alone: None, root: Client, account: Path, tmp_path: Path
) -> None:
    del alone

    def take(role: Object) -> None:
        role["rules"] = [rule for rule in role["rules"] if "customresourcedefinitions" not in rule["resources"]]

    async with changed(root, CLUSTER_ROLES, "riskladder-policies", take), TestNamespace(root, "unseen") as world:
        await world.until(lambda: may_not(account, "get", f"crd/{ESCALATIONS}"), "the permission to be gone")
        with OperatorProcess(account, tmp_path) as operator:
            operator.wait_until_leading()
            operator.wait_for("custom resources", reason="CustomResourcesUnknown")
            assert operator.get("/readyz") == (200, "ok\n")
            await world.apply(ladder())
            stored = await world.ladder_ready()
            assert condition(stored, "CustomResourcesCurrent")["status"] == "Unknown"
            await world.serve("scorer")
            await world.apply(signal("scorer", "scorer", 0.31))
            await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.gone()


async def may_not(kubeconfig: Path, verb: str, what: str) -> bool:
    """Whether the API server refuses it, which hears of a change of roles after a moment."""
    command = ["kubectl", "--kubeconfig", str(kubeconfig), "auth", "can-i", verb, what]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, env=environment, check=False
    )
    return bool(done.stdout.strip() == "no")


# --- Removed ----------------------------------------------------------------------------------------------------------


async def test_removed_in_the_documented_order_with_nothing_left_open_and_every_record_kept(
    operator: OperatorProcess, root: Client, doctor: Doctor, tmp_path: Path
) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("manifests", "crds"):
        shutil.copytree(ROOT / name, checkout / name)
    by_helm, by_olm, stopping, *removing = commands("Uninstall")
    world = TestNamespace(root, "last")
    await world.__aenter__()
    await world.apply(ladder(lock=True))
    await world.ladder_ready()
    await world.serve("scorer", replicas=2)
    await world.apply(signal("scorer", "scorer", 0.31))
    escalation = await world.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    await world.quiet()
    name = escalation["metadata"]["name"]

    code, checks = await doctor("--uninstall")
    assert code == 1
    assert failed(checks).keys() == {"open escalations", "held objects", "records"}
    assert f"last/{name}" in failed(checks)["open escalations"]
    assert failed(checks)["held objects"].startswith("Deployment last/scorer: contained")
    assert of(checks, "guard")[0][0] == "WARN"
    run("kubectl get escr,esc -A -o json > early.json", doctor.kubeconfig, checkout)

    await asyncio.to_thread(run, f"riskladder resume {name} -n last --role legal -m Again", doctor.kubeconfig, checkout)
    await world.ready("scorer", 2)
    close = f"riskladder close {name} -n last --role legal --resolution Remediated -m Done"
    await asyncio.to_thread(run, close, doctor.kubeconfig, checkout)
    await world.quiet()
    _, checks = await doctor("--uninstall", "--exported", str(checkout / "early.json"))
    assert "lacks records of last/" in failed(checks)["records"]
    assert failed(checks).keys() == {"records"}
    operator.stop()

    with pytest.raises(Forbidden, match="deleting it deletes every object of the kind"):
        await root.delete(CRDS, None, "escalationrecords.riskladder.dev")
    for command in removing:
        code = 1 if command == "riskladder doctor --uninstall" else 0  # nothing is exported yet
        await asyncio.to_thread(run, command, doctor.kubeconfig, checkout, code=code)
    assert {one.state for one in await Definitions(root).look()} == {State.MISSING}
    with pytest.raises(NotFound):
        await root.get(POLICIES, None, "riskladder-kinds")
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 2
    kept = run("riskladder verify riskladder-records.json", doctor.kubeconfig, checkout)
    assert "1 chain intact" in kept
    code, checks = await doctor("--uninstall")
    assert (code, failed(checks)) == (0, {})
    assert "component=operator" in stopping
    assert by_helm.startswith("helm uninstall"), "the tests of the chart run it"
    assert "csv/" in by_olm, "the test of the bundle runs it"
    await world.__aexit__(None, None, None)
    await world.gone()


async def test_removal_that_was_broken_off_is_seen(bare: LocalControlPlane, root: Client, doctor: Doctor) -> None:
    name = "escalationladders.riskladder.dev"
    kubectl(
        bare.kubeconfig, "apply", "--server-side", "-f", str(ROOT / "crds" / "riskladder.dev_escalationladders.yaml")
    )
    kubectl(bare.kubeconfig, "wait", "--for=condition=Established", f"crd/{name}", f"--timeout={PATIENCE:.0f}s")
    finalizer = "tests.riskladder.dev/held"
    async with TestNamespace(root, "held") as world:
        body = ladder()
        body["metadata"]["finalizers"] = [finalizer]

        async def applied() -> Object:
            return await world.apply(body)

        await world.until(applied, "the kind to be served")
        kubectl(bare.kubeconfig, "annotate", "crd", name, f"riskladder.dev/confirm-delete={name}")
        _, checks = await doctor()
        assert [o for o, _ in of(checks, "leftovers")] == ["WARN"]
        await root.delete(CRDS, None, name)
        code, checks = await doctor()
        assert code == 1
        assert failed(checks)["leftovers"] == f"{name} is being deleted, with every object of the kind"
        await root.merge_patch(resources.LADDERS, "held", "credit", {"metadata": {"finalizers": None}})
        await world.until(lambda: is_missing(root, name), "the kind to go")


async def is_missing(root: Client, name: str) -> bool:
    return any(one.name == name and one.state is State.MISSING for one in await Definitions(root).look())
