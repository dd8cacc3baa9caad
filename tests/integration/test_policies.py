"""The admission policies on a real API server: as shipped, watched, and named when one is missing or altered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from riskladder.cluster.authority import BINDINGS, POLICIES, lock_missing, proof
from riskladder.cluster.client import Client, Forbidden
from riskladder.cluster.connection import connect
from riskladder.cluster.policies import State, look
from riskladder.cluster.resources import LADDERS, Resource
from tests.cluster import LocalControlPlane
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import TestNamespace, condition, ladder

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
RECORDS = "escalationrecords.riskladder.dev"
GONE = ("riskladder-raise", "riskladder-records", "riskladder-sources", "riskladder-writes")
CONFIRM = "riskladder.dev/confirm-delete"


@pytest.fixture(scope="module")
async def root(plane: LocalControlPlane) -> AsyncIterator[Client]:
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


async def test_policies_as_installed_are_as_shipped_whatever_the_api_server_fills_in(root: Client) -> None:
    found = {one.name: (one.state, one.what) for one in await look(root)}
    assert {state for state, _ in found.values()} == {State.IN_FORCE}, found


async def test_ladder_names_the_missing_and_the_gutted_and_says_when_they_are_back(
    root: Client, account: Path, tmp_path: Path
) -> None:
    with OperatorProcess(account, tmp_path) as operator:
        operator.wait_until_leading()
        async with TestNamespace(root, "policies") as room:
            await room.apply(ladder())

            async def says(status: str, *words: str) -> bool:
                found = condition(await room.get(LADDERS, "credit"), "PoliciesInForce")
                return found["status"] == status and all(word in found["message"] for word in words)

            await room.until(lambda: says("True"), "all policies in force")
            bindings = [await root.get(BINDINGS, None, name) for name in GONE]
            lock = await root.get(POLICIES, None, "riskladder-lock")
            for name in GONE:
                await root.delete(BINDINGS, None, name)
            gutted = [{"expression": "true"} for _ in lock["spec"]["validations"]]
            await root.merge_patch(POLICIES, None, "riskladder-lock", {"spec": {"validations": gutted}})
            assert "not as this version ships it (validations)" in await lock_missing(root)
            altered = "riskladder-lock is altered (validations)"
            await room.until(lambda: says("False", altered, *GONE), "every policy named")
            assert condition(await room.get(LADDERS, "credit"), "PoliciesInForce")["reason"] == "PolicyMissing"
            events = [e for e in await room.events("credit") if e["reason"] == "PolicyMissing"]
            assert any(altered in e["note"] for e in events)
            _, metrics = operator.get("/metrics")
            assert 'riskladder_policies{name="riskladder-raise",state="Missing"} 1.0' in metrics
            assert 'riskladder_policies{name="riskladder-lock",state="Altered"} 1.0' in metrics

            for binding in bindings:
                metadata = {key: binding["metadata"][key] for key in ("name", "labels")}
                await root.create(BINDINGS, None, {"metadata": metadata, "spec": binding["spec"]})
            whole = {"spec": {"validations": lock["spec"]["validations"]}}
            await root.merge_patch(POLICIES, None, "riskladder-lock", whole)
            await room.until(lambda: says("True"), "all policies in force again")
            assert await lock_missing(root) == ""


async def test_rewritten_rules_prove_no_decision(root: Client) -> None:
    policy = await root.get(POLICIES, None, "riskladder-decisions")
    rewritten = [{**rule, "expression": f"true || ({rule['expression']})"} for rule in policy["spec"]["validations"]]
    await root.merge_patch(POLICIES, None, "riskladder-decisions", {"spec": {"validations": rewritten}})
    try:
        assert "is not as this version ships it (validations)" in (await proof(root)).missing
    finally:
        spec = {"validations": policy["spec"]["validations"]}
        await root.merge_patch(POLICIES, None, "riskladder-decisions", {"spec": spec})


async def test_kind_is_deleted_only_by_who_confirms_it(root: Client) -> None:
    async def delete() -> None:
        await root.request(
            "DELETE", CRDS.path(None, RECORDS), verb="delete", resource=CRDS.title, params={"dryRun": "All"}
        )

    with pytest.raises(Forbidden, match=f"{RECORDS}: deleting it deletes every object of the kind") as caught:
        await delete()
    assert f"kubectl annotate crd {RECORDS} {CONFIRM}={RECORDS}" in caught.value.message
    for value, may in (("true", False), ("escalations.riskladder.dev", False), (RECORDS, True)):
        await root.merge_patch(CRDS, None, RECORDS, {"metadata": {"annotations": {CONFIRM: value}}})
        if may:
            await delete()
        else:
            with pytest.raises(Forbidden):
                await delete()
    await root.merge_patch(CRDS, None, RECORDS, {"metadata": {"annotations": {CONFIRM: None}}})
