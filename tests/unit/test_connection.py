"""Whom a connection acts as: a kubeconfig and whom it impersonates, or the service account of a pod."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from riskladder.cluster import credentials
from riskladder.cluster.client import ApiError, Client
from riskladder.cluster.connection import Access, Connection, ConnectionFailed, connect, own_namespace
from riskladder.cluster.credentials import TOKEN_SECONDS, Token
from riskladder.cluster.kubeconfig import of_kubeconfig
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
    async with api_server(pod) as server:
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.rpartition(":")[2])
        connection = await connect(anonymous=anonymous)
        try:
            assert await told(connection) == says
            assert connection.namespace == own_namespace(Access(), connection) == "place"
        finally:
            await connection.close()


async def test_certificate_that_names_no_key_of_its_authority_is_trusted(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many clusters have them; Python 3.13 and newer would refuse them by themselves."""
    default = ssl.create_default_context

    def strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        tls = default(*arguments, **options)
        tls.verify_flags |= ssl.VERIFY_X509_STRICT
        return tls

    async with api_server(pod, identified=False) as server:
        monkeypatch.setattr(ssl, "create_default_context", strict)
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", server.rpartition(":")[2])
        for access in (Access(), Access(config_of(pod, server, {"token": "t"}))):
            connection = await connect(access)
            try:
                assert await told(connection) in ("Bearer first", "Bearer t")
            finally:
                await connection.close()


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
    for nothing in (lambda: file.write_text(" \n"), lambda: file.write_text("of\nseveral lines"), file.unlink):
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
        ("token", "of\nseveral lines", "the token holds a line end"),
        ("ca.crt", None, "ca.crt is not mounted; outside of a pod, name a kubeconfig with --kubeconfig"),
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


# --- As kubectl does --------------------------------------------------------------------------------------------------


@asynccontextmanager
async def api_server(
    place: Path,
    *,
    host: str = "127.0.0.1",
    identified: bool = True,
    connects: list[str] | None = None,
    says: str = "",
) -> AsyncIterator[str]:
    """A server of this process that says with which header it was asked; as a proxy it notes what it is asked for."""

    async def asked(request: web.Request) -> web.Response:
        if connects is not None:
            connects.append(f"{request.method} {request.raw_path}")
            return web.Response(status=502)
        header = {"header": request.headers.get("Authorization")}
        return web.Response(text=says) if says else web.json_response(header)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", asked)
    runner = web.ServerRunner(web.Server(asked)) if connects is not None else web.AppRunner(application)
    await runner.setup()
    tls = None
    if connects is None:
        pair = AUTHORITY.server("api", [host], identified=identified)
        (place / "pair.pem").write_bytes(pair.certificate + pair.key)
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(place / "pair.pem")
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def told(connection: Connection) -> str | None:
    """Ask such a server, and return with which header that was."""
    found: str | None = (await Client(connection).request("GET", "/who", verb="get", resource="x"))["header"]
    return found


def config_of(
    place: Path, server: str, user: Any, name: str = "one", cluster: dict[str, Any] | None = None, **top: Any
) -> str:
    authority = base64.b64encode(AUTHORITY.certificate).decode()
    file = place / name
    document = {
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"of-{name}"}}],
        "users": [{"name": name, "user": user}],
        "current-context": name,
    }
    document["clusters"][0]["cluster"] |= cluster or {}
    file.write_text(yaml.safe_dump(document | top))
    return str(file)


def plugin(place: Path, expires: str = "", code: int = 0) -> dict[str, Any]:
    """A plugin that gives another token each time."""
    status = f'"token": "\'$(wc -l < {place}/runs)\'"' + (f', "expirationTimestamp": "{expires}"' if expires else "")
    version = "client.authentication.k8s.io/v1"
    answer = f'{{"apiVersion": "{version}", "kind": "ExecCredential", "status": {{{status}}}}}'
    script = f"echo run >> {place}/runs; echo sorry >&2; echo '{answer}'; exit {code}"
    return {"exec": {"apiVersion": version, "command": "sh", "args": ["-c", script]}}


async def test_answer_that_is_no_json_is_none(tmp_path: Path) -> None:
    async with api_server(tmp_path, says="<html>") as server:
        with pytest.raises(ApiError, match="what answered is no API server: found no JSON") as caught:
            await answer(Access(config_of(tmp_path, server, {"token": "t"})))
    assert caught.value.is_transient


async def answer(access: Access) -> str | None:
    connection = await connect(access)
    try:
        return await told(connection)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("user", "says"),
    [
        ({"token": "t"}, "Bearer t"),
        ({"token": "", "tokenFile": "token"}, "Bearer of-a-file"),
        ({"username": "ann", "password": "b"}, "Basic YW5uOmI="),
        ({}, None),
    ],
)
async def test_kubeconfig_says_who_asks(tmp_path: Path, user: dict[str, Any], says: str | None) -> None:
    (tmp_path / "token").write_text("of-a-file\n")
    async with api_server(tmp_path) as server:
        assert await answer(Access(config_of(tmp_path, server, user))) == says


async def test_of_several_files_the_first_says_what_is_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with api_server(tmp_path) as server:
        none = config_of(tmp_path, server, {"token": "none"}, "none", **{"current-context": ""})
        one, two = (config_of(tmp_path, server, {"token": name}, name) for name in ("one", "two"))
        empty = tmp_path / "empty"
        empty.touch()
        for files, said in (
            ([one, two], "one"),
            ([two, one], "two"),
            ([one, none], "one"),
            ([none, two, one], "two"),
            ([str(tmp_path / "absent"), str(empty), two], "two"),
        ):
            monkeypatch.setenv("KUBECONFIG", os.pathsep.join(files))
            assert await answer(Access()) == f"Bearer {said}"
            connection = await connect(Access())
            assert own_namespace(Access(), connection) == f"of-{said}"
            await connection.close()
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join([two, one]))
        assert await answer(Access(context="one")) == "Bearer one"


async def test_no_file_is_named_by_an_empty_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", "")
    (tmp_path / ".kube").mkdir()
    async with api_server(tmp_path) as server:
        config_of(tmp_path / ".kube", server, {"token": "t"}, "config")
        assert await answer(Access()) == "Bearer t"


async def test_certificate_may_be_of_another_name_than_the_url(tmp_path: Path) -> None:
    async with api_server(tmp_path, host="api.internal") as server:
        named = config_of(tmp_path, server, {"token": "t"}, cluster={"tls-server-name": "api.internal"})
        assert await answer(Access(named)) == "Bearer t"
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            await answer(Access(config_of(tmp_path, server, {"token": "t"})))


async def test_what_is_to_go_through_a_proxy_goes_nowhere_else(tmp_path: Path) -> None:
    asked: list[str] = []
    async with api_server(tmp_path) as server, api_server(tmp_path, connects=asked) as proxy:
        with pytest.raises(ApiError, match="502"):
            await answer(Access(config_of(tmp_path, server, {"token": "t"}, cluster={"proxy-url": proxy})))
    assert [line.split()[0] for line in asked] == ["CONNECT"]


@pytest.mark.parametrize(
    ("expires", "said"), [("2020-01-01T00:00:00Z", "112"), ("2999-01-01T00:00:00Z", "111"), ("", "111")]
)
async def test_plugin_is_asked_again_before_its_token_expires_and_only_then(
    tmp_path: Path, expires: str, said: str
) -> None:
    now = 0.0
    config = config_of(tmp_path, "https://127.0.0.1:1", plugin(tmp_path, expires))
    found = await of_kubeconfig(config, None, anonymous=False, monotonic=lambda: now)
    headers = [await found.authorization(), await found.authorization()]
    now += TOKEN_SECONDS + 1
    headers.append(await found.authorization())
    assert headers == [f"Bearer {number}" for number in said]


async def test_token_of_a_file_is_read_again_and_kept_while_there_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now, file = 0.0, tmp_path / "token"
    file.write_text("first")
    config = config_of(tmp_path, "https://127.0.0.1:1", {"tokenFile": "token"})
    found = await of_kubeconfig(config, None, anonymous=False, monotonic=lambda: now)
    for content, said in (("second\n", "second"), ("of\nlines", "second"), ("third", "third")):
        file.write_text(content)
        now += TOKEN_SECONDS + 1
        assert await found.authorization() == f"Bearer {said}"
    assert [record.getMessage() for record in caplog.records] == [
        "credentials not renewed: the token holds a line end, or another character that no token has"
    ]


async def test_anonymous_asks_no_plugin_and_reads_no_token(tmp_path: Path) -> None:
    for user in (plugin(tmp_path), {"tokenFile": "absent"}, None, {}):
        config = config_of(tmp_path, "https://127.0.0.1:1", user)
        if user is None:
            config = config_of(tmp_path, "https://127.0.0.1:1", user, users=[])
        await (await connect(Access(config), anonymous=True)).close()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"user": "plugin"}, "the plugin sh gave no credentials: exec: process returned 3. .*sorry"),
        ({"user": {"exec": {"apiVersion": "v1", "command": "/absent"}}}, "the plugin /absent gave no credentials: "),
        ({"user": {"token": "a\nb"}}, "the token holds a line end"),
        ({"user": {"tokenFile": "absent"}}, "No such file or directory: '.*/absent'"),
        ({"server": "127.0.0.1:6443"}, "server: found '127.0.0.1:6443', expected a URL such as"),
        ({"server": "https://127.0.0.1:abc"}, "server: found 'https://127.0.0.1:abc', expected a URL"),
        ({"cluster": {"server": None}}, "server: found '', expected a URL"),
        ({"cluster": {"proxy-url": "socks5://127.0.0.1:1"}}, "proxy-url: found 'socks5://127.0.0.1:1', expected"),
        ({"cluster": {"insecure-skip-tls-verify": "false"}}, "found 'false', expected true or false"),
        ({"current-context": ""}, "it has no current context: choose one with --context"),
        ({"current-context": "two"}, "two"),
        ({"users": [{"name": "one", "token": "s3cret"}]}, "Expected key user in [^{]*$"),
    ],
)
async def test_kubeconfig_that_cannot_be_used_says_why(tmp_path: Path, changed: dict[str, Any], says: str) -> None:
    user = plugin(tmp_path, code=3) if changed.get("user") == "plugin" else changed.pop("user", {"token": "t"})
    changed.pop("user", None)
    with pytest.raises(ConnectionFailed, match=f"cannot load credentials from kubeconfig .*{says}"):
        await connect(Access(config_of(tmp_path, changed.pop("server", "https://127.0.0.1:1"), user, **changed)))


@pytest.mark.parametrize(("content", "says"), [("", "it is empty"), ("[1]", "holds no kubeconfig")])
async def test_file_that_is_no_kubeconfig_is_said_to_be_none(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(ConnectionFailed, match=says):
        await connect(Access(str(tmp_path / "config")))
