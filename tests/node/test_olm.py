"""The bundle on a real node, installed by OLM itself from a catalog, as the page about installing says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder import __version__
from riskladder.api.base import GROUP
from riskladder.api.kinds import KINDS
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.definitions import Definitions
from riskladder.cluster.definitions import State as Kind
from riskladder.cluster.policies import SHIPPED_USER, State, look
from riskladder.cluster.resources import Resource
from tests import yaml_text
from tests.cluster.build import ensure_programs, is_built
from tests.cluster.install import NAMESPACE, ROOT, InstallError, kubectl, render
from tests.cluster.versions import OLM
from tests.conftest import progress
from tests.integration.doctor import PAGE, Doctor, commands, failed, run
from tests.integration.world import TestNamespace, ladder
from tests.node import report
from tests.node.answers import stopped_by_a_breach
from tests.node.installation import Installation
from tests.node.olm import CATALOG_ADDRESS, INSTALL_PLANS, MANAGED, SERVICE_VERSIONS, SUBSCRIPTIONS, LifecycleManager

pytestmark = [
    pytest.mark.timeout(3600),  # It may have to be built.
    pytest.mark.skipif(
        not (is_built(OLM) or "RISKLADDER_OLM" in os.environ),
        reason="OLM is not built here: `make olm` builds it, which takes some twelve minutes of one core, once",
    ),
]

SECTION = "Operator Lifecycle Manager"
PACKAGE = "riskladder"
SERVICE_VERSION = f"{PACKAGE}.v{__version__}"
CLUSTER_ROLES = Resource("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole")
CLUSTER_ROLE_BINDINGS = Resource(CLUSTER_ROLES.group, "v1", "clusterrolebindings", "ClusterRoleBinding")
OWNED = f"olm.owner={SERVICE_VERSION},olm.owner.kind=ClusterServiceVersion"

CARRIED = "deployments,services,poddisruptionbudgets,roles,rolebindings,clusterroles"
CLUSTER_ROLE = "clusterrole.rbac.authorization.k8s.io"
STAYING = {
    *(f"{CLUSTER_ROLE}/riskladder-{name}" for name in ("edit", "view")),
    *(f"{kind}.rbac.authorization.k8s.io/riskladder" for kind in ("role", "rolebinding")),
}
"""Of the bundle, after its removal, besides the kinds."""


@pytest.fixture
async def olm(
    request: pytest.FixtureRequest, installation: Installation, nothing_installed: None, tmp_path: Path
) -> AsyncIterator[LifecycleManager]:
    programs = ensure_programs(OLM, progress(request.config))
    directory = tmp_path / "olm"
    directory.mkdir()
    manager = LifecycleManager(installation.node, programs, directory)
    await asyncio.to_thread(manager.__enter__)
    try:
        yield manager
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the commands of the page read."""
    for directory in ("manifests", "crds", "bundle"):
        shutil.copytree(ROOT / directory, tmp_path / "checkout" / directory)
    return tmp_path / "checkout"


def subscription() -> list[Object]:
    """The objects of the page, but for the image of the catalog, which nothing could pull."""
    section = re.split(r"\n## ", PAGE[PAGE.index(f"\n## {SECTION}\n") + 4 :])[0]
    [text] = re.findall(r"^```yaml\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    found: list[Object] = list(yaml_text.load_all(text))
    catalog = found[0]["spec"]
    assert catalog.keys() == {"sourceType", "image", "grpcPodConfig"}
    found[0]["spec"] = {"sourceType": "grpc", "address": CATALOG_ADDRESS}
    return found


async def installed(world: TestNamespace, olm: LifecycleManager) -> None:
    """Wait until OLM says of the operator that it is installed."""
    said: list[Any] = []

    async def succeeded() -> bool:
        olm.check()
        said.clear()
        for resource in (SUBSCRIPTIONS, INSTALL_PLANS, SERVICE_VERSIONS):
            found = await world.client.list(resource, NAMESPACE)
            said.extend({k: v for k, v in (one.get("status") or {}).items() if k != "plan"} for one in found)
        return bool(said) and said[-1].get("phase") == "Succeeded"

    try:
        await world.until(succeeded, f"{SERVICE_VERSION} to succeed")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(said, indent=1)}\n{olm.logs()}") from None


def without_what_olm_adds(deployment: Object) -> Object:
    """The spec of a Deployment, without what OLM writes into each, and what the API server fills in."""
    spec: Object = deployment["spec"]
    spec.pop("revisionHistoryLimit")  # Always 1: it goes back to nothing.
    template = spec["template"]
    template["metadata"].pop("annotations", None)  # Those of the ClusterServiceVersion, and what it is to watch.
    [container] = template["spec"]["containers"]
    container["env"] = [e for e in container.get("env", ()) if e["name"] != "OPERATOR_CONDITION_NAME"]
    return spec


def rules(roles: Iterable[Object]) -> list[str]:
    return sorted(json.dumps(role["rules"], sort_keys=True) for role in roles)


async def test_olm_installs_the_bundle_which_contains_a_model_and_is_removed(
    olm: LifecycleManager, installation: Installation, admin: Client, world: TestNamespace, checkout: Path
) -> None:
    kubeconfig = installation.node.kubeconfig

    async def page(command: str) -> str:
        return await asyncio.to_thread(run, f'PATH="{olm.programs}:$PATH"\n{command}', kubeconfig, checkout)

    async def names(*arguments: str) -> set[str]:
        return set((await installation.kubectl("get", *arguments, "-o", "name")).split())

    applied, *making, subscribing, seeing = commands(SECTION)
    since = time.monotonic()
    await page(applied)
    for command in making:
        if not command.startswith("docker"):
            await page(command)
    olm.serve(checkout / "catalog")
    (checkout / "subscription.yaml").write_text(yaml.safe_dump_all(subscription()))
    await page(subscribing)
    await installed(world, olm)
    await installation.ready()
    took = time.monotonic() - since
    assert "Succeeded" in await page(seeing)

    await is_as_kustomize_makes_it(installation, admin)
    assert {found.state for found in await look(admin, SHIPPED_USER)} == {State.IN_FORCE}
    assert len(await installation.pods()) == 2
    await world.apply(ladder(lock=True))
    await world.ladder_ready()
    code, checks = await Doctor(kubeconfig)()
    assert (code, failed(checks)) == (0, {})
    stopped, escalation = await stopped_by_a_breach(world)
    await world.verified(escalation)
    await what_edit_and_admin_may_do(installation, world, escalation)

    async def planned() -> Object | None:
        olm.check()
        [plan] = await admin.list(INSTALL_PLANS, NAMESPACE)
        return plan if plan["status"]["phase"] == "Complete" else None

    plan = await world.until(planned, "OLM to have done all that it had planned")
    assert {step["status"] for step in plan["status"]["plan"]} <= {"Created", "Present"}

    [removing] = [command for command in commands("Uninstall") if "csv/" in command]
    await page(removing)

    async def gone() -> bool:
        olm.check()
        made = await names("clusterroles,clusterrolebindings", f"--selector={OWNED}")
        made |= await names("serviceaccounts", f"--selector={MANAGED}")
        bundled = await names(CARRIED, "--selector=app.kubernetes.io/name=riskladder")
        return not made and bundled == STAYING

    await world.until(gone, "OLM to remove what it made")
    staying = await names("clusterroles", f"--selector={MANAGED}")
    assert {f"{CLUSTER_ROLE}/{kind.plural}.{GROUP}-v1alpha1-edit" for kind in KINDS.values()} <= staying
    assert {one.state for one in await Definitions(admin).look()} == {Kind.CURRENT}
    assert {found.state for found in await look(admin, SHIPPED_USER)} == {State.IN_FORCE}
    assert [e["metadata"]["uid"] for e in await world.escalations("scorer")] == [escalation["metadata"]["uid"]]
    await world.verified(escalation)
    assert (await world.deployment("scorer"))["spec"]["replicas"] == 0
    report.note("OLM", f"installed and ready in {took:.1f} s, stopped a model {stopped:.2f} s after the signal")


async def is_as_kustomize_makes_it(installation: Installation, admin: Client) -> None:
    """The Deployment and the permissions that OLM made, next to those of the default overlay."""
    rendered = render()
    expected = {(d["kind"], d["metadata"]["name"]): d for d in rendered}
    compared = await asyncio.to_thread(
        kubectl,
        installation.node.kubeconfig,
        *(f"--namespace={NAMESPACE}", "create", "--dry-run=server", "-o", "json", "-f", "-"),
        given=json.dumps(expected["Deployment", PACKAGE] | {"metadata": {"name": "compared"}}),
    )
    made = await admin.get(resources.DEPLOYMENTS, NAMESPACE, PACKAGE)
    assert without_what_olm_adds(made) == without_what_olm_adds(json.loads(compared))
    roles = await admin.list(CLUSTER_ROLES, labels=OWNED)
    bindings = await admin.list(CLUSTER_ROLE_BINDINGS, labels=OWNED)
    account = {"kind": "ServiceAccount", "name": PACKAGE, "namespace": NAMESPACE}
    assert [binding["subjects"] for binding in bindings] == [[account]] * len(roles)
    assert {binding["roleRef"]["name"] for binding in bindings} == {role["metadata"]["name"] for role in roles}
    bound = [d["roleRef"]["name"] for d in rendered if d["kind"] == "ClusterRoleBinding"]
    assert rules(roles) == rules(expected["ClusterRole", name] for name in bound)


async def what_edit_and_admin_may_do(installation: Installation, world: TestNamespace, escalation: Object) -> None:
    """OLM gives the built-in roles every kind of the bundle, to write and to delete; the policies refuse as ever."""

    async def give(verb: str, role: str) -> bool:
        found = (await world.client.get(CLUSTER_ROLES, None, role))["rules"]
        mine = [rule for rule in found if rule["apiGroups"] == [GROUP] and verb in rule["verbs"]]
        return {kind.plural for kind in KINDS.values()} <= {name for rule in mine for name in rule["resources"]}

    here = f"--namespace={world.namespace}"
    for role, verb in (("edit", "delete"), ("admin", "*")):
        await world.until(lambda verb=verb, role=role: give(verb, role), f"{role} to include every kind")
        await installation.kubectl(here, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}")
    asked = ("auth", "can-i", "redact", f"escalationrecords.{GROUP}", "--subresource=open")
    for role in ("edit", "admin"):
        with pytest.raises(InstallError):  # as it says no
            await installation.kubectl(here, *asked, f"--as={role}")
    name = escalation["metadata"]["name"]
    for command, policy in (
        (("annotate", f"escalation/{name}", "changed=yes"), "writes"),
        (("delete", "escalationrecords", "--all"), "records"),
        (("delete", "containmentindexes", "--all"), "writes"),
    ):
        with pytest.raises(InstallError, match=f"riskladder-{policy}"):
            await installation.kubectl(here, *command, "--as=edit")
