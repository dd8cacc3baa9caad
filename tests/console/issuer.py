"""A real OpenID provider on this machine, behind TLS, and a control plane that trusts it.

The provider is oidc-provider-mock in a thread: anybody signs in with one click, and what it says about them is made up
here. Everything else is real: codes, signatures, discovery, and what the API server makes of a token.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest

from riskladder.console.openid import OpenID, Tokens
from riskladder.console.provider import Provider
from tests.cluster import ControlPlane, LocalControlPlane
from tests.cluster.certs import CertificateAuthority
from tests.cluster.ports import HOST
from tests.patience import PATIENCE
from tests.stash import TRUSTED

CLIENT_ID, CLIENT_SECRET = "riskladder-console", "made-up"
PREFIX = "oidc:"
BACK = "https://127.0.0.1:8443/signed-in"
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who can sign in."""

    sub: str
    name: str
    groups: tuple[str, ...] = ()

    @property
    def email(self) -> str:
        return f"{self.sub}@example.org"

    @property
    def username(self) -> str:
        """Who they are to the API server, for RBAC and ladders."""
        return f"{PREFIX}{self.email}"

    @property
    def kubernetes_groups(self) -> tuple[str, ...]:
        return tuple(f"{PREFIX}{group}" for group in self.groups)

    @property
    def credential(self) -> str:
        """What the API server knows their tokens by."""
        return f"JTI=sign-in-of-{self.sub}"

    def claims(self) -> dict[str, object]:
        """What the provider says about them."""
        return {
            "name": self.name,
            "email": self.email,
            "email_verified": True,
            "groups": list(self.groups),
            "jti": self.credential.removeprefix("JTI="),
        }


PEOPLE = (
    Person("rosa", "Rosa Diaz", ("model-owners",)),
    Person("omar", "Omar Haddad", ("model-owners",)),
    Person("ines", "Ines Weber", ("risk-officers",)),
    Person("liam", "Liam Byrne", ("risk-officers", "auditors")),
    Person("nobody", "Noor Body"),
    Person("ann", "Ann Keller", ("legal",)),
    Person("eve", "Eve Marchetti", ("executive",)),
    Person("max", "Max Lindqvist", ("model-risk",)),
    Person("olga", "Olga Petrova", ("model-risk",)),
    Person("sam", "Sam Oyelaran", ("security",)),
    Person("dan", "Dan Fischer", ("data-science",)),
)


class WebAuthority:
    """An authority that signs the certificates of web servers on this machine."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._authority = CertificateAuthority("riskladder-test-web-ca")
        self.ca = directory / "web-ca.crt"
        self.ca.write_bytes(self._authority.certificate)

    def server(self, name: str) -> Path:
        """A PEM file with a new certificate for this machine and its key."""
        pair = self._authority.server(name, [HOST, "localhost"])
        path = self._directory / f"{name}.pem"
        path.write_bytes(pair.certificate + pair.key)
        return path

    def certificate(self, name: str) -> Path:
        """The same as a directory with tls.crt and tls.key, as a Secret is mounted."""
        pair = self._authority.server(name, [HOST, "localhost"])
        directory = self._directory / f"{name}-tls"
        directory.mkdir()
        (directory / "tls.crt").write_bytes(pair.certificate)
        (directory / "tls.key").write_bytes(pair.key)
        return directory

    def server_context(self, name: str) -> ssl.SSLContext:
        """The same for a server in this process."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.server(name))
        return context

    def client_context(self) -> ssl.SSLContext:
        """For clients that trust it, and nobody else."""
        return ssl.create_default_context(cafile=str(self.ca))


@dataclass(frozen=True, slots=True)
class Issuer:
    """A running provider."""

    url: str
    authority: WebAuthority
    people: tuple[Person, ...] = PEOPLE
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET

    def authenticator(self) -> dict[str, Any]:
        """How the API server is told to trust it: an entry of `jwt` in an AuthenticationConfiguration."""
        return {
            "issuer": {
                "url": self.url,
                "audiences": [self.client_id],
                "certificateAuthority": self.authority.ca.read_text(),
            },
            "claimMappings": {
                "username": {"claim": "email", "prefix": PREFIX},
                "groups": {"claim": "groups", "prefix": PREFIX},
            },
        }

    def provider(self, redirect_uri: str = BACK) -> Provider:
        """The same for the console."""
        return Provider(
            issuer=self.url,
            client_id=self.client_id,
            client_secret=self.client_secret,
            redirect_uri=redirect_uri,
            scopes=("openid", "profile", "email"),
            ca_file=str(self.authority.ca),
        )

    async def tokens(self, sub: str) -> Tokens:
        """What somebody has who has just signed in."""
        async with OpenID(self.provider()) as client:
            url, pending = await client.begin()
            return await client.finish(pending, await self.sign_in(url, sub), datetime.now(UTC))

    def person(self, sub: str) -> Person:
        return next(person for person in self.people if person.sub == sub)

    async def sign_in(self, url: str, sub: str) -> dict[str, str]:
        """Do what a browser does that is sent to an authorization URL, and return what it comes back with."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.authority.client_context())
        ) as session:
            async with session.get(url) as form:
                assert form.status == 200, await form.text()
                assert sub in await form.text()
            async with session.post(url, data={"sub": sub}, allow_redirects=False) as answer:
                assert answer.status == 302, await answer.text()
                return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


async def who_am_i(plane: LocalControlPlane, token: str) -> tuple[int, dict[str, Any]]:
    """The status and the user info by which the API server answers a SelfSubjectReview of the bearer of a token."""
    tls = ssl.create_default_context(cafile=str(plane.ca_file))
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session,
        session.post(
            f"{plane.server}/apis/authentication.k8s.io/v1/selfsubjectreviews",
            json={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"},
            headers={"Authorization": f"Bearer {token}"},
        ) as answer,
    ):
        body = await answer.json()
        return answer.status, body["status"].get("userInfo", {}) if answer.status == 201 else {}


@contextlib.contextmanager
def running(authority: WebAuthority) -> Iterator[Issuer]:
    """A provider on a free port, as long as the context lasts."""
    with warnings.catch_warnings(record=True):  # Its own dependencies deprecate what it imports, past any filter.
        import oidc_provider_mock
    from werkzeug.serving import make_server

    users = [oidc_provider_mock.User(sub=person.sub, claims=person.claims()) for person in PEOPLE]
    server = make_server(HOST, 0, oidc_provider_mock.app(require_nonce=True, user_claims=users), threaded=True)
    # The handshake is left to the thread of each connection: one that never begins it keeps nobody waiting.
    server.ssl_context = authority.server_context("issuer")
    server.socket = server.ssl_context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,), name="issuer")
    thread.start()
    try:
        yield Issuer(f"https://{HOST}:{server.server_port}", authority)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="session")
def web_authority(tmp_path_factory: pytest.TempPathFactory) -> WebAuthority:
    """Signs the certificates of the provider, of the console, and of other web servers of tests."""
    return WebAuthority(tmp_path_factory.mktemp("web-authority"))


@pytest.fixture(scope="session")
def issuer(web_authority: WebAuthority) -> Iterator[Issuer]:
    """A provider at which PEOPLE sign in; each test worker has its own."""
    with running(web_authority) as found:
        yield found


@pytest.fixture(scope="session")
def authenticator(request: pytest.FixtureRequest, issuer: Issuer) -> dict[str, Any]:
    """What makes an API server that is started from now on take the provider's tokens."""
    found = issuer.authenticator()
    request.config.stash[TRUSTED] = [found]
    return found


@pytest.fixture(scope="session")
async def trusting(authenticator: dict[str, Any], cluster: ControlPlane, issuer: Issuer) -> LocalControlPlane:
    """The shared control plane, whose API server takes the provider's tokens, and is otherwise as it was.

    Name it before other fixtures that use the control plane: one that runs already takes ten seconds to learn of it.
    """
    if cluster.local is None:
        pytest.skip("changes whom the API server trusts: needs --cluster=local")
    cluster.local.trust(authenticator)
    token = (await issuer.tokens(issuer.people[0].sub)).id_token
    async with asyncio.timeout(PATIENCE):
        while (await who_am_i(cluster.local, token))[0] != 201:  # noqa: ASYNC110 - it asks the provider once it runs
            await asyncio.sleep(POLL_SECONDS)
    return cluster.local
