"""Sign-in by OpenID Connect as the API server sees it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from riskladder.console.openid import OpenID, Tokens
from riskladder.console.provider import SignInFailed
from tests.cluster import ClusterError, LocalControlPlane
from tests.console.issuer import Issuer, who_am_i


@pytest.fixture
async def client(issuer: Issuer) -> AsyncIterator[OpenID]:
    async with OpenID(issuer.provider()) as found:
        yield found


async def signed_in(client: OpenID, issuer: Issuer, sub: str) -> Tokens:
    url, pending = await client.begin()
    return await client.finish(pending, await issuer.sign_in(url, sub), datetime.now(UTC))


async def test_api_server_knows_who_has_signed_in_and_by_which_credential(
    trusting: LocalControlPlane, issuer: Issuer, client: OpenID
) -> None:
    liam = issuer.person("liam")
    tokens = await signed_in(client, issuer, "liam")
    assert tokens.name == liam.name
    assert timedelta(minutes=55) < tokens.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    status, user = await who_am_i(trusting, tokens.id_token)
    assert status == 201
    assert user["username"] == "oidc:liam@example.org" == liam.username
    assert set(user["groups"]) == {"oidc:risk-officers", "oidc:auditors", "system:authenticated"}
    assert set(liam.kubernetes_groups) < set(user["groups"])
    assert user["extra"] == {"authentication.kubernetes.io/credential-id": [liam.credential]}


async def test_api_server_takes_no_token_that_was_changed(
    trusting: LocalControlPlane, issuer: Issuer, client: OpenID
) -> None:
    token = (await signed_in(client, issuer, "rosa")).id_token
    head, payload, signature = token.split(".")
    assert (await who_am_i(trusting, f"{head}.{payload}.{signature[::-1]}"))[0] == 401


async def test_code_of_the_provider_counts_once(issuer: Issuer, client: OpenID) -> None:
    url, pending = await client.begin()
    query = await issuer.sign_in(url, "rosa")
    await client.finish(pending, query, datetime.now(UTC))
    with pytest.raises(SignInFailed, match="does not accept this sign-in any more"):
        await client.finish(pending, query, datetime.now(UTC))


async def test_provider_that_renews_without_an_id_token_asks_to_sign_in_again(issuer: Issuer, client: OpenID) -> None:
    tokens = await signed_in(client, issuer, "rosa")
    assert tokens.refresh_token
    with pytest.raises(SignInFailed, match="does not renew ID tokens: sign in again"):
        await client.refresh(tokens, datetime.now(UTC))


async def test_end_of_the_session_is_at_the_provider(issuer: Issuer, client: OpenID) -> None:
    url = await client.end_session_url(await signed_in(client, issuer, "rosa"))
    assert url is not None
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=issuer.authority.client_context())) as session,
        session.get(url) as page,
    ):
        assert page.status == 200


async def test_authentication_that_is_refused_is_said_and_changes_nothing(
    trusting: LocalControlPlane, issuer: Issuer, client: OpenID
) -> None:
    with pytest.raises(ClusterError, match=r"jwt\[0\]\.issuer\.url: Invalid value"):
        trusting.trust({**issuer.authenticator(), "issuer": {"url": "http://127.0.0.1", "audiences": ["a"]}})
    token = (await signed_in(client, issuer, "ines")).id_token
    assert (await who_am_i(trusting, token))[0] == 201
