"""An API server that is away, tokens that have expired, permissions of old: where nothing else runs."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from riskladder.cluster import resources
from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from tests.cluster import LocalControlPlane
from tests.cluster.components import API_SERVER
from tests.integration.ingest_process import (
    ACCOUNTS,
    INGEST,
    ROLES,
    SOURCE,
    Ingest,
    alert,
    binding,
    ingesting,
    monitored,
    notification,
)
from tests.integration.operator_process import OperatorProcess
from tests.integration.test_ingest import at, ready, status_of, verdicts
from tests.integration.world import INDICATOR, TestNamespace, ladder


@pytest.fixture(scope="module")
def working(plane: LocalControlPlane, account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with OperatorProcess(account, tmp_path_factory.mktemp("operator")) as process:
        process.wait_until_leading()
        yield


@pytest.fixture(scope="module")
async def ingest(plane: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    async with ingesting(plane.kubeconfig, tmp_path_factory.mktemp("ingest")) as running:
        yield running


@pytest.fixture
async def bound(plane: LocalControlPlane, working: None, ingest: Ingest) -> AsyncIterator[TestNamespace]:
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    async with TestNamespace(Client(connection), f"test-{time.monotonic_ns()}") as world:
        await monitored(world)
        await world.apply(ladder())
        await world.serve("scorer")
        await world.apply(binding())
        await ready(world)
        yield world
    await connection.close()


async def test_api_server_that_is_away_loses_nothing_and_doubles_nothing(
    bound: TestNamespace, ingest: Ingest, plane: LocalControlPlane
) -> None:
    token, body = ingest.token(bound.namespace, SOURCE), notification(alert(at(-1)))
    other = ingest.token(bound.namespace, SOURCE)
    nothing = notification()
    assert (await ingest.send(bound.namespace, "fairness", nothing, token=token)).status == 200, "the token is known"
    plane.pause(API_SERVER)
    try:
        for sent in (token, other, "unknown"):
            answer = await ingest.send(bound.namespace, "fairness", body, token=sent)
            assert answer.status == 503, answer
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        plane.resume(API_SERVER)

    async def taken() -> bool:
        return (await ingest.send(bound.namespace, "fairness", body, token=token)).status == 200

    await bound.until(taken, "what is sent again to be stored")
    contained = await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert len(await bound.client.list(resources.SIGNALS, bound.namespace)) == 1
    records = await bound.records(contained["metadata"]["name"])
    assert sum(r["spec"]["event"] == "EscalationOpened" for r in records) == 1


def token_of(plane: LocalControlPlane, claims: dict[str, Any]) -> str:
    """A token that the API server itself would have signed."""
    key = load_pem_private_key(plane.service_account_key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    content = f"{part(json.dumps({'alg': 'ES256'}).encode())}.{part(json.dumps(claims).encode())}"
    r, s = decode_dss_signature(key.sign(content.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{content}.{part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


async def test_token_that_has_expired_proves_nothing(
    bound: TestNamespace, ingest: Ingest, plane: LocalControlPlane
) -> None:
    account = await bound.get(ACCOUNTS, SOURCE)
    now = int(time.time())

    def token(expires: int, audience: str = INGEST) -> str:
        about = {"name": SOURCE, "uid": account["metadata"]["uid"]}
        claims = {
            "iss": "https://kubernetes.default.svc.cluster.local",
            "aud": [audience],
            "sub": f"system:serviceaccount:{bound.namespace}:{SOURCE}",
            "iat": now - 7200,
            "nbf": now - 7200,
            "exp": expires,
            "jti": "one",
            "kubernetes.io": {"namespace": bound.namespace, "serviceaccount": about},
        }
        return token_of(plane, claims)

    async def status(sent: str) -> int:
        return (await ingest.send(bound.namespace, "fairness", notification(), token=sent)).status

    assert await status(token(now + 600)) == 200, "signed as the API server signs"
    assert await status(token(now - 3600)) == 401
    assert await status(token(now + 600, audience="vault")) == 401


async def test_permission_of_clusters_before_1_36_is_enough(bound: TestNamespace, ingest: Ingest) -> None:
    """The verb impersonate on the one account, which is all that there was before constrained impersonation."""
    legacy = [
        {"apiGroups": [""], "resources": ["serviceaccounts"], "resourceNames": [SOURCE], "verbs": ["impersonate"]}
    ]
    await bound.client.merge_patch(ROLES, bound.namespace, f"{SOURCE}-ingest", {"rules": legacy})
    token = ingest.token(bound.namespace, SOURCE)

    async def stored() -> bool:
        answer = await ingest.send(bound.namespace, "fairness", notification(alert(at(-1))), token=token)
        return verdicts(answer) == [("Stored", 1.0)]

    await bound.until(stored, "the permission to be in force")
    await bound.escalation_says("scorer", "Contained", "True", "ScaledToZero")


async def test_registry_keeps_the_version_current(bound: TestNamespace, ingest: Ingest) -> None:
    """The signals of the same source and target name the version to which the alias points now."""
    token = ingest.token(bound.namespace, SOURCE)
    registry = binding(
        "registry", format="MLflow", readings=[], alias="champion", model={"name": "credit-scorer", "version": None}
    )
    del registry["spec"]["model"]["version"]
    await bound.apply(registry)
    await ready(bound, "registry")
    await ingest.send(bound.namespace, "fairness", notification(alert(at(-1), firing=False)), token=token)
    for alias, version in (("champion", "7"), ("challenger", "8")):
        event = {
            "entity": "model_version_alias",
            "action": "created",
            "timestamp": at(),
            "data": {"name": "credit-scorer", "alias": alias, "version": version},
        }
        assert (await ingest.send(bound.namespace, "registry", event, token=token)).status == 200
    [signal] = await bound.client.list(resources.SIGNALS, bound.namespace)
    model = signal["spec"]["model"]
    assert (model["name"], model["version"]) == ("credit-scorer", "7")
    assert signal["spec"]["readings"] == [{"indicator": INDICATOR, "value": 0.0}]
    await status_of(bound, "registry", readings=0, refusals=0)
