"""A console that acts in the name of people, where the API server does not trust their provider."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from yarl import URL

from riskladder.api.labels import CONSOLE, LABEL_ESCALATION
from riskladder.api.reasons import Reason
from riskladder.api.record import entries_of
from riskladder.cluster.client import ApiError, Client, Forbidden
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import DECISIONS, DEPLOYMENTS, ESCALATIONS, LADDERS, NAMESPACES, RECORDS, SECRETS
from riskladder.console.sessions import Credential
from riskladder.console.visitor import client_of
from tests.cluster import ControlPlane
from tests.cluster.install import NAMESPACE, install, service_account_kubeconfig
from tests.cluster.ports import HOST, Ports
from tests.console.issuer import Issuer, Person
from tests.integration.ingest_process import ROLE_BINDINGS, ROLES
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import LADDER, TestNamespace, ladder, signal

ACCOUNT = "riskladder-console"


class ConsoleProcess(OperatorProcess):
    """`riskladder console` as a process of its own."""

    command = "console"


@pytest.fixture(scope="module")
def account(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the console's own service account, with the component that lets it act in people's names."""
    install(installed.kubeconfig, components=["console", "console-impersonation"])
    path = tmp_path_factory.mktemp("console") / "console.kubeconfig"
    return service_account_kubeconfig(installed.kubeconfig, path, ACCOUNT, NAMESPACE)


@pytest.fixture
async def as_liam(account: Path, issuer: Issuer) -> AsyncIterator[Client]:
    """A client of the console that acts as Liam."""
    liam = issuer.person("liam")
    connection = await connect(str(account), agent="console")
    yield client_of(connection, Credential("", how="openid", acts_as=liam.username, groups=liam.kubernetes_groups))
    await connection.close()


async def breached(world: TestNamespace, person: Person) -> str:
    """A contained model, and a person's group that holds the role legal; the name of the escalation."""
    await world.apply(ladder())
    await world.serve("scorer")
    await world.ladder_ready()
    rules = [
        {
            "apiGroups": ["riskladder.dev"],
            "resources": ["escalations", "escalationdecisions"],
            "verbs": ["get", "list"],
        },
        {"apiGroups": ["riskladder.dev"], "resources": ["escalationdecisions"], "verbs": ["create"]},
        {
            "apiGroups": ["riskladder.dev"],
            "resources": ["stakeholders"],
            "resourceNames": ["legal"],
            "verbs": ["acknowledge", "object"],
        },
    ]
    await world.client.create(ROLES, world.namespace, {"metadata": {"name": "legal"}, "rules": rules})
    binding = {
        "metadata": {"name": "legal"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "legal"},
        "subjects": [{"kind": "Group", "name": person.kubernetes_groups[0]}],
    }
    await world.client.create(ROLE_BINDINGS, world.namespace, binding)
    await world.apply(signal("reading", "scorer", 0.31))
    return str((await world.escalation_says("scorer", "Contained", "True"))["metadata"]["name"])


async def test_who_signed_in_decides_in_their_own_name_and_the_record_says_through_what(
    issuer: Issuer, account: Path, world: TestNamespace, tmp_path: Path
) -> None:
    liam = issuer.person("liam")
    name = await breached(world, liam)
    ports = Ports()
    port = ports.claim()
    url = f"http://{HOST}:{port}"
    secret = tmp_path / "secret"
    secret.write_text(issuer.client_secret)
    options = (
        *("--url", url, "--listen", f"{HOST}:{port}", "--impersonate", "--openid-issuer", issuer.url),
        *("--openid-client-id", issuer.client_id, "--openid-client-secret-file", str(secret)),
        *("--openid-ca-file", str(issuer.authority.ca)),
    )
    page = f"{url}/escalations/{world.namespace}/{name}"
    jar = aiohttp.CookieJar(unsafe=True)  # an address is no domain
    with ConsoleProcess(account, tmp_path, *options) as process:
        process.wait_for("started")
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            begin = URL(f"{url}/sign-in/openid").with_query({"to": urlsplit(page).path})
            async with browser.get(begin, allow_redirects=False) as sent:
                assert sent.status == 303, await sent.text()
                back = await issuer.sign_in(sent.headers["Location"], "liam")
            async with browser.get(URL(f"{url}/sign-in/callback").with_query(back)) as answer:
                text = await answer.text()
                assert (answer.status, str(answer.url)) == (200, page), text
            assert liam.username in text
            form = text[text.index('value="Acknowledge"') - 300 :]
            fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form[: form.index("</form>")]))
            async with browser.post(page, data=fields | {"rationale": "Seen"}, headers={"Origin": url}) as answer:
                text = await answer.text()
                assert answer.status == 200, text
                assert "Accepted" in text, re.findall(r"class=.notice[^<]*<.*", text)
        assert issuer.client_secret not in process.log.read_text()
    ports.release()
    [decision] = await world.client.list(DECISIONS, world.namespace)
    assert decision["spec"]["decidedBy"]["username"] == liam.username
    assert set(liam.kubernetes_groups) < set(decision["spec"]["decidedBy"]["groups"])
    assert decision["spec"]["decidedBy"]["via"] == CONSOLE
    assert not decision["spec"]["decidedBy"].get("credentialID")
    records = await world.client.list(RECORDS, world.namespace, labels=f"{LABEL_ESCALATION}={name}")
    [entry] = [e for r in records for e in entries_of(r["spec"]) if e["event"] == Reason.ACKNOWLEDGED]
    assert entry["actor"] == liam.username
    assert {k: entry["detail"].get(k) for k in ("impersonated", "via")} == {"impersonated": "true", "via": CONSOLE}


async def test_stolen_account_of_the_console_writes_nothing_but_decisions_and_reads_nothing_else(
    as_liam: Client, account: Path, world: TestNamespace, issuer: Issuer
) -> None:
    name = await breached(world, issuer.person("liam"))
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    await world.client.create(ROLES, world.namespace, {"metadata": {"name": "all"}, "rules": [everything]})
    binding = {
        "metadata": {"name": "all"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
        "subjects": [{"kind": "User", "name": issuer.person("liam").username}],
    }
    await world.client.create(ROLE_BINDINGS, world.namespace, binding)
    assert await as_liam.get(ESCALATIONS, world.namespace, name)  # what the component is for
    forbidden = {
        "read Secrets": as_liam.list(SECRETS, world.namespace),
        "read Deployments": as_liam.list(DEPLOYMENTS, world.namespace),
        "scale": as_liam.merge_patch(DEPLOYMENTS, world.namespace, "scorer", {"spec": {"replicas": 3}}),
        "delete decisions": as_liam.delete(DECISIONS, world.namespace, "any"),
        "write ladders": as_liam.merge_patch(LADDERS, world.namespace, LADDER, {"spec": {"suspended": True}}),
        "write statuses": as_liam.merge_patch(ESCALATIONS, world.namespace, name, {"status": {}}, subresource="status"),
        "bind roles": as_liam.create(ROLE_BINDINGS, world.namespace, {"metadata": {"name": "mine"}}),
        "read namespaces": as_liam.get(NAMESPACES, None, world.namespace),
    }
    refused = {}
    for what, request in forbidden.items():
        try:
            await request
            refused[what] = 200
        except ApiError as error:
            refused[what] = error.status
    assert refused == dict.fromkeys(forbidden, 403)
    connection = await connect(str(account), agent="console")
    try:
        itself = Client(connection)
        for resource in (ESCALATIONS, DECISIONS, RECORDS, SECRETS):
            with pytest.raises(Forbidden):
                await itself.list(resource, world.namespace)
    finally:
        await connection.close()
