"""Whom a connection acts as: a kubeconfig and whom it impersonates, or the service account of a pod."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from riskladder.cluster import credentials
from riskladder.cluster.connection import Access, ConnectionFailed, connect, own_namespace
from riskladder.cluster.credentials import TOKEN_SECONDS, Token
from tests.cluster.certs import CertificateAuthority

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "first",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [
        {"name": "first", "context": {"cluster": "c", "user": "u", "namespace": "models"}},
        {"name": "second", "context": {"cluster": "c", "user": "plain"}},
    ],
    "users": [{"name": "plain", "user": {"token": "t"}}],
}
ANN = {
    "token": "t",
    "as": "ann",
    "as-uid": "u-1",
    "as-groups": ["legal", "staff"],
    "as-user-extra": {"acme.org/reason": ["audit", "drill"]},
}


def kubeconfig(place: Path, user: dict[str, Any]) -> str:
    file = place / "config"
    users = [*KUBECONFIG["users"], {"name": "u", "user": user}]
    file.write_text(yaml.safe_dump(KUBECONFIG | {"users": users}))
    return str(file)


def headers(access: Access) -> list[tuple[str, str]]:
    """The headers that impersonate somebody, and the namespace of the context."""

    async def run() -> list[tuple[str, str]]:
        connection = await connect(access)
        try:
            found = connection.session.headers.items()
            return [(name, value) for name, value in found if name.startswith("Impersonate")]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_a_kubeconfig_impersonates(tmp_path: Path) -> None:
    assert headers(Access(kubeconfig(tmp_path, ANN))) == [
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "legal"),
        ("Impersonate-Group", "staff"),
        ("Impersonate-Uid", "u-1"),
        ("Impersonate-Extra-acme.org%2Freason", "audit"),
        ("Impersonate-Extra-acme.org%2Freason", "drill"),
    ]
    assert headers(Access(kubeconfig(tmp_path, {"token": "t"}))) == []


def test_somebody_else_takes_nothing_over(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, ANN)
    assert headers(Access(config, user="max")) == [("Impersonate-User", "max")]
    assert headers(Access(config, user="max", groups=("a", "b"))) == [
        ("Impersonate-User", "max"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    ]
    assert headers(Access(config, groups=("a",)))[:2] == [("Impersonate-User", "ann"), ("Impersonate-Group", "a")]


def test_a_context_brings_its_user_and_namespace(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, ANN)
    assert headers(Access(config, context="second")) == []

    async def namespace(access: Access) -> str:
        connection = await connect(access)
        try:
            return own_namespace(access, connection)
        finally:
            await connection.close()

    assert asyncio.run(namespace(Access(config))) == "models"
    assert asyncio.run(namespace(Access(config, context="second"))) == "default"
    with pytest.raises(ConnectionFailed, match="third"):
        headers(Access(config, context="third"))


@pytest.mark.parametrize(
    ("user", "access", "says"),
    [
        ({"token": "t", "as-groups": ["legal"]}, Access(), "no user"),
        ({"token": "t", "as": "ann", "as-groups": "legal"}, Access(), "must be a list"),
        ({"token": "t", "as": "ann", "as-user-extra": {"a": "b"}}, Access(), "map of lists"),
        ({"token": "t"}, Access(groups=("legal",)), "say whom with --as"),
        ({"token": "t"}, Access(user="ann\r\nX: y"), "cannot be impersonated"),
    ],
)
def test_impersonation_of_nobody(tmp_path: Path, user: dict[str, Any], access: Access, says: str) -> None:
    with pytest.raises(ConnectionFailed, match=says):
        headers(Access(kubeconfig(tmp_path, user), user=access.user, groups=access.groups))


# --- In a pod ---------------------------------------------------------------------------------------------------------


AUTHORITY = CertificateAuthority()


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the files of its service account are."""
    for name, content in {"token": "first\n", "namespace": "place\n", "ca.crt": AUTHORITY.certificate.decode()}.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(credentials, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    return tmp_path


@pytest.mark.parametrize(("anonymous", "says"), [(False, "Bearer first"), (True, None)])
async def test_pod_says_who_it_is_to_whom_its_authority_trusts(
    pod: Path, monkeypatch: pytest.MonkeyPatch, anonymous: bool, says: str | None
) -> None:
    async def told(request: web.Request) -> web.Response:
        return web.json_response({"header": request.headers.get("Authorization")})

    pair = AUTHORITY.server("api", ["127.0.0.1"])
    (pod / "pair.pem").write_bytes(pair.certificate + pair.key)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(pod / "pair.pem")
    application = web.Application()
    application.router.add_get("/who", told)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(runner.addresses[0][1]))
    try:
        connection = await connect(anonymous=anonymous)
        try:
            async with connection.session.get(f"{connection.server}/who") as response:
                assert await response.json() == {"header": says}
            assert connection.namespace == own_namespace(Access(), connection) == "place"
        finally:
            await connection.close()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("host", "port", "server"),
    [
        ("10.0.0.1", "443", "https://10.0.0.1:443"),
        ("fd00::1", "6443", "https://[fd00::1]:6443"),
        ("10.0.0.1", "", "https://10.0.0.1:443"),
    ],
)
@pytest.mark.usefixtures("pod")
def test_pod_is_told_where_the_api_server_is(
    monkeypatch: pytest.MonkeyPatch, host: str, port: str, server: str
) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    assert credentials.of_pod(anonymous=False).server == server


def test_pod_takes_the_token_that_replaces_its_own_and_keeps_that_while_there_is_none(tmp_path: Path) -> None:
    file, now = tmp_path / "token", 0.0
    token = Token(file, monotonic=lambda: now)

    def header() -> str:
        return asyncio.run(token.header())

    file.write_text("first")
    assert header() == "Bearer first"
    file.write_text("second")
    assert header() == "Bearer first"
    now += TOKEN_SECONDS + 1
    assert header() == "Bearer second"
    for nothing in (lambda: file.write_text(" \n"), file.unlink):
        nothing()
        now += TOKEN_SECONDS + 1
        assert header() == "Bearer second"
    file.write_text("third")
    now += TOKEN_SECONDS + 1
    assert header() == "Bearer third"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("token", None, "token"),
        ("token", "", "token is empty"),
        ("ca.crt", None, "ca.crt is not mounted"),
        ("ca.crt", "no certificate", "service account"),
    ],
)
async def test_pod_without_a_usable_service_account_says_what_is_missing(
    pod: Path, name: str, content: str | None, says: str
) -> None:
    if content is None:
        (pod / name).unlink()
    else:
        (pod / name).write_text(content)
    with pytest.raises(ConnectionFailed, match=f"the pod's service account: .*{says}|{says}"):
        await connect()


@pytest.mark.usefixtures("pod")
def test_pod_loads_no_client_library() -> None:
    """What is loaded stays in memory: 11 MiB of each process."""
    code = (
        "import asyncio, sys, riskladder.cluster.credentials as c, riskladder.controller.operator, pathlib\n"
        "c.SERVICE_ACCOUNT = pathlib.Path(sys.argv[1]); c.of_pod(anonymous=False)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'kubernetes', 'pykube', 'requests'}))"
    )
    arguments = [sys.executable, "-c", code, str(credentials.SERVICE_ACCOUNT)]
    assert subprocess.run(arguments, capture_output=True, text=True, check=True).stdout == "\n"
