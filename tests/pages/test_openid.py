"""Sign-in by OpenID Connect, against a provider in this process that speaks HTTP over TLS."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwk, jws, jwt
from yarl import URL

from riskladder.console import openid, provider
from riskladder.console.openid import OpenID, Pending, Tokens
from riskladder.console.provider import Provider, SignInFailed
from tests.cluster.certs import CertificateAuthority

NOW = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)
CLIENT, SECRET = "riskladder-console", "s3cret & more"
BACK = "https://console.example.com/signed-in"
Claims = dict[str, Any]
Answer = Callable[[web.Request], Any]
Browser = aiohttp.ClientSession


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def forged(header: dict[str, Any], claims: Claims, sign: Callable[[bytes], bytes]) -> str:
    """A token put together by hand, as libraries refuse to."""
    start = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{start}.{base64url(sign(start.encode()))}"


@dataclass
class IdP:
    """What providers do; each attribute is one way to be different."""

    issuer: str = ""
    keys: dict[str, Any] = field(default_factory=dict)
    signing: str = "one"
    algorithm: str = "ES256"
    discovery: Claims = field(default_factory=dict)
    """Replaces what it says of itself; None removes it."""
    claims: Claims = field(default_factory=dict)
    """The same of the ID token."""
    answer: Claims = field(default_factory=dict)
    """The same of the answer of the token endpoint."""
    back: Claims = field(default_factory=dict)
    """The same of what a browser comes back with."""
    sign: Callable[[IdP, Claims], str] | None = None
    instead: dict[str, Answer] = field(default_factory=dict)
    """Handlers in place of the usual ones, by path."""
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    given: list[str] = field(default_factory=list)
    """Every token and code that it gave away."""

    def rotate(self, kid: str) -> None:
        self.keys[kid] = jwk.ECKey.generate_key("P-256", {"kid": kid})
        self.signing = kid

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if instead := self.instead.get(request.path):
            found = await instead(request)
            assert isinstance(found, web.StreamResponse)
            return found
        match request.path:
            case "/.well-known/openid-configuration":
                return web.json_response(self.document())
            case "/keys":
                return web.json_response({"keys": [key.as_dict(private=False) for key in self.keys.values()]})
            case "/authorize":
                return self.authorize(dict(request.query))
            case "/token":
                return self.token({k: str(v) for k, v in (await request.post()).items()}, request.headers)
        return web.Response(status=404)

    def document(self) -> Claims:
        return _merged(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{self.issuer}/authorize?tenant=a%2Fb",
                "token_endpoint": f"{self.issuer}/token",
                "jwks_uri": f"{self.issuer}/keys",
                "end_session_endpoint": f"{self.issuer}/logout",
            },
            self.discovery,
        )

    def authorize(self, query: dict[str, str]) -> web.Response:
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert query["tenant"] == "a/b"
        code = self.give("code")
        self.codes[code] = query
        back = _merged({"code": code, "state": query["state"]}, self.back)
        raise web.HTTPFound(str(URL(query["redirect_uri"]).update_query(back)))

    def token(self, form: dict[str, str], headers: Any) -> web.Response:
        self.forms.append(form)
        self.authorizations.append(headers.get("Authorization", ""))
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.given:
                return web.json_response({"error": "invalid_grant"}, status=400)
            nonce = None
        else:
            asked = self.codes.pop(form["code"], None)
            if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
                return web.json_response(
                    {"error": "invalid_grant", "error_description": f"code {form['code']} is void"}, status=400
                )
            assert base64url(hashlib.sha256(form["code_verifier"].encode()).digest()) == asked["code_challenge"]
            nonce = asked["nonce"]
        access = self.give("access")
        moment = NOW.timestamp()
        claims = _merged(
            {
                "iss": self.issuer,
                "sub": "u-17",
                "aud": CLIENT,
                "exp": moment + 3600,
                "iat": moment,
                "nonce": nonce,
                "name": "Rosa Diaz",
                "at_hash": base64url(hashlib.sha256(access.encode()).digest()[:16]),
            },
            self.claims,
        )
        claims = {key: value for key, value in claims.items() if value is not None}
        token = self.sign(self, claims) if self.sign else self.signed(claims)
        self.given.append(token)
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "id_token": token,
            "refresh_token": self.give("refresh"),
        }
        return web.json_response(_merged(answer, self.answer))

    def signed(self, claims: Claims) -> str:
        key = self.keys[self.signing]
        header = {"alg": self.algorithm, "kid": self.signing}
        return jwt.encode(header, claims, key, algorithms=[self.algorithm])

    def give(self, kind: str) -> str:
        self.given.append(f"{kind}-{secrets.token_hex(16)}")
        return self.given[-1]


def _merged(usual: Claims, other: Claims) -> Claims:
    return {key: value for key, value in (usual | other).items() if value is not None}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a certificate of 127.0.0.1, its key, and the authority."""
    home = tmp_path_factory.mktemp("authority")
    made = CertificateAuthority("riskladder-test-issuer-ca")
    pair = made.server("issuer", ["127.0.0.1"])
    (home / "ca.crt").write_bytes(made.certificate)
    (home / "server.pem").write_bytes(pair.certificate + pair.key)
    return home


@dataclass
class Site:
    """A server of the module, and whom it plays now."""

    url: str
    idp: IdP


@pytest.fixture(scope="module")
async def site(authority: Path) -> AsyncIterator[Site]:
    found = Site("", IdP())

    async def handle(request: web.Request) -> web.StreamResponse:
        return await found.idp.handle(request)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(authority / "server.pem")
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    found.url = f"https://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


@pytest.fixture
def idp(site: Site) -> IdP:
    site.idp = IdP(site.url)
    site.idp.rotate("one")
    return site.idp


@pytest.fixture(scope="module")
async def browser(authority: Path) -> AsyncIterator[Browser]:
    tls = ssl.create_default_context(cafile=str(authority / "ca.crt"))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=tls)) as session:
        yield session


class Clock:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def provider_of(idp: IdP, authority: Path, **changed: Any) -> Provider:
    usual = {
        "issuer": idp.issuer,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "redirect_uri": BACK,
        "scopes": ("email", "openid"),
        "ca_file": str(authority / "ca.crt"),
    }
    return Provider(**(usual | changed))


@pytest.fixture
async def client(idp: IdP, authority: Path, clock: Clock) -> AsyncIterator[OpenID]:
    async with OpenID(provider_of(idp, authority), clock=clock) as found:
        yield found


async def visit(browser: Browser, url: str) -> dict[str, str]:
    """What a browser that goes to the provider comes back with."""
    async with browser.get(url, allow_redirects=False) as answer:
        assert answer.status == 302
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))


SignIn = Callable[[], Any]


@pytest.fixture
def sign_in(client: OpenID, browser: Browser) -> SignIn:
    async def do() -> Tokens:
        url, pending = await client.begin()
        return await client.finish(pending, await visit(browser, url), NOW)

    return do


@contextlib.contextmanager
def failing(idp: IdP, said: str, *, passing: bool = False) -> Iterator[None]:
    """Nobody is signed in, and one sentence says why, with nothing secret in it, nor in what led to it."""
    with pytest.raises(SignInFailed, match=said) as caught:
        yield
    error: BaseException | None = caught.value
    assert caught.value.passing is passing
    assert caught.value.message == str(caught.value)
    assert "\n" not in str(caught.value)
    while error is not None:
        for secret in (*idp.given, SECRET, *(form.get("code_verifier", SECRET) for form in idp.forms)):
            assert secret not in f"{error} {error!r}"
        error = error.__cause__


# --- As it should be ---


async def test_code_flow_gives_the_tokens_and_the_name(idp: IdP, sign_in: SignIn) -> None:
    tokens = await sign_in()
    assert tokens.name == "Rosa Diaz"
    assert tokens.expires_at == NOW + timedelta(hours=1)
    assert tokens.id_token in idp.given
    assert tokens.refresh_token in idp.given
    assert tokens.id_token not in repr(tokens)
    pair = base64.b64decode(idp.authorizations[0].removeprefix("Basic ")).decode()
    assert pair == "riskladder-console:s3cret+%26+more"
    assert "client_secret" not in idp.forms[0]


async def test_each_sign_in_has_secrets_of_its_own(client: OpenID) -> None:
    first, one = await client.begin()
    second, other = await client.begin("select_account")
    assert len({one.state, one.nonce, one.verifier, other.state, other.nonce, other.verifier}) == 6
    assert one.verifier not in first
    assert one.nonce not in repr(one)
    asked = dict(parse_qsl(urlsplit(second).query))
    assert asked["prompt"] == "select_account"
    assert "prompt" not in dict(parse_qsl(urlsplit(first).query))
    assert asked["scope"] == "openid email"


async def test_documents_are_asked_for_once_an_hour(idp: IdP, sign_in: SignIn, clock: Clock) -> None:
    await asyncio.gather(*(sign_in() for _ in range(3)))
    assert (idp.asked.count("/.well-known/openid-configuration"), idp.asked.count("/keys")) == (1, 1)
    clock.seconds += provider.KEEP_SECONDS
    await sign_in()
    assert (idp.asked.count("/.well-known/openid-configuration"), idp.asked.count("/keys")) == (2, 2)


async def test_known_document_outlasts_a_short_absence(idp: IdP, sign_in: SignIn, clock: Clock) -> None:
    await sign_in()
    clock.seconds += provider.KEEP_SECONDS
    idp.instead["/.well-known/openid-configuration"] = saying("busy", 503)
    assert (await sign_in()).name == "Rosa Diaz"


async def test_public_client_has_no_secret(idp: IdP, authority: Path, browser: Browser) -> None:
    async with OpenID(provider_of(idp, authority, client_secret="")) as client:
        url, pending = await client.begin()
        await client.finish(pending, await visit(browser, url), NOW)
    assert idp.authorizations == [""]
    assert idp.forms[0]["client_id"] == CLIENT


async def test_secret_goes_in_the_body_where_the_provider_wants_it_there(idp: IdP, sign_in: SignIn) -> None:
    idp.discovery["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    await sign_in()
    assert (idp.authorizations, idp.forms[0]["client_secret"]) == ([""], SECRET)


async def test_provider_that_takes_no_secret_is_said(idp: IdP, sign_in: SignIn) -> None:
    idp.discovery["token_endpoint_auth_methods_supported"] = ["private_key_jwt"]
    with failing(idp, "takes no client secret"):
        await sign_in()


@pytest.mark.parametrize(
    ("claims", "name"),
    [
        ({"name": None, "email": "rosa@example.org"}, "rosa@example.org"),
        ({"name": "", "preferred_username": "rosa"}, "rosa"),
        ({"name": 7}, "u-17"),
        ({"name": "Rosa\n\x1b[31m Diaz"}, r"Rosa \\x1b\[31m Diaz"),
        ({"name": "r" * 1000}, "r{127}…"),
    ],
)
async def test_name_is_the_best_there_is_and_fit_to_be_shown(
    idp: IdP, sign_in: SignIn, claims: Claims, name: str
) -> None:
    idp.claims = claims
    found = (await sign_in()).name
    assert re.fullmatch(name, found)


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256"])
async def test_what_the_api_server_takes_is_taken(idp: IdP, sign_in: SignIn, algorithm: str) -> None:
    idp.algorithm = algorithm
    if algorithm != "ES256":
        idp.keys["one"] = jwk.RSAKey.generate_key(2048, {"kid": "one"})
    idp.claims["at_hash"] = None
    assert (await sign_in()).name == "Rosa Diaz"


# --- Tokens that do not count ---


def tampered(idp: IdP, claims: Claims) -> str:
    header, _, signature = idp.signed(claims).split(".")
    return f"{header}.{base64url(json.dumps(claims | {'sub': 'u-1'}).encode())}.{signature}"


def unsigned(_: IdP, claims: Claims) -> str:
    return forged({"alg": "none"}, claims, lambda _: b"")


def unsigned_with_a_known_key(_: IdP, claims: Claims) -> str:
    return forged({"alg": "None", "kid": "one"}, claims, lambda _: b"")


def by_the_public_key(idp: IdP, claims: Claims) -> str:
    """The classic confusion: a public key, which everybody has, taken for a shared secret."""
    public = idp.keys["one"].public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return forged({"alg": "HS256", "kid": "one"}, claims, lambda raw: hmac.digest(public, raw, "sha256"))


def by_a_key_of_its_own(_: IdP, claims: Claims) -> str:
    key = jwk.ECKey.generate_key("P-256")
    header = {"alg": "ES256", "jwk": key.as_dict(private=False)}
    return jwt.encode(header, claims, key, algorithms=["ES256"])


def with_a_critical_header(idp: IdP, claims: Claims) -> str:
    key = idp.keys["one"]
    algorithm = jws.JWSRegistry.algorithms["ES256"]
    header = {"alg": "ES256", "kid": "one", "crit": ["exp"], "exp": 1}
    return forged(header, claims, lambda raw: algorithm.sign(raw, key))


@pytest.mark.parametrize(
    ("sign", "said"),
    [
        (tampered, "its signature is none of the provider's"),
        (unsigned, r"proves nothing \(alg\)"),
        (unsigned_with_a_known_key, r"proves nothing \(alg\)"),
        (by_the_public_key, r"proves nothing \(alg\)"),
        (by_a_key_of_its_own, "its signature is none of the provider's"),
        (with_a_critical_header, "no signed token"),
        (lambda *_: "x.y", "no signed token"),
        (lambda *_: "a" * (openid.MAX_TOKEN + 1), "too long"),
        (lambda idp, _: jws.serialize_compact({"alg": "ES256", "kid": "one"}, b"[]", idp.keys["one"]), "no claims"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_token_that_proves_nothing_is_refused(
    idp: IdP, sign_in: SignIn, sign: Callable[[IdP, Claims], str], said: str
) -> None:
    idp.sign = sign
    with failing(idp, said):
        await sign_in()


async def test_header_that_nobody_knows_is_no_obstacle(idp: IdP, sign_in: SignIn) -> None:
    algorithm = jws.JWSRegistry.algorithms["ES256"]
    header = {"alg": "ES256", "kid": "one", "rh": "0.A", "x5c": ["c" * 2000]}
    idp.sign = lambda idp, claims: forged(header, claims, lambda raw: algorithm.sign(raw, idp.keys["one"]))
    assert (await sign_in()).name == "Rosa Diaz"


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"aud": "another"}, r"another client than this console \(aud\)"),
        ({"aud": None}, r"\(aud\)"),
        ({"aud": {CLIENT: 1}}, r"\(aud\)"),
        ({"aud": [CLIENT, "another"]}, r"\(azp\)"),
        ({"aud": [CLIENT, "another"], "azp": "another"}, r"\(azp\)"),
        ({"azp": "another"}, r"\(azp\)"),
        ({"iss": "https://other.example.com"}, r"\(iss\)"),
        ({"iss": None}, r"\(iss\)"),
        ({"nonce": "another"}, r"another sign-in \(nonce\)"),
        ({"nonce": ""}, r"\(nonce\)"),
        ({"nonce": None}, r"\(nonce\)"),
        ({"sub": ""}, r"\(sub\)"),
        ({"sub": 17}, r"\(sub\)"),
        ({"exp": NOW.timestamp() - 30}, r"has expired \(exp\)"),
        ({"exp": None}, r"\(exp, iat, nbf\)"),
        ({"exp": True}, r"\(exp, iat, nbf\)"),
        ({"exp": 1e300}, r"\(exp, iat, nbf\)"),
        ({"exp": float("inf")}, r"\(exp, iat, nbf\)"),
        ({"iat": None}, r"\(exp, iat, nbf\)"),
        ({"iat": "1"}, r"\(exp, iat, nbf\)"),
        ({"iat": NOW.timestamp() + 31}, "one of the clocks is wrong"),
        ({"nbf": NOW.timestamp() + 31}, "one of the clocks is wrong"),
        ({"nbf": "tomorrow"}, r"\(exp, iat, nbf\)"),
        ({"at_hash": "another"}, r"\(at_hash\)"),
        ({"at_hash": 1}, r"\(at_hash\)"),
    ],
    ids=str,
)
async def test_claim_that_is_wrong_is_named(idp: IdP, sign_in: SignIn, claims: Claims, said: str) -> None:
    idp.claims = claims
    if None in claims.values():
        idp.sign = lambda idp, all_: idp.signed({k: v for k, v in all_.items() if k not in claims})
    with failing(idp, said):
        await sign_in()


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": NOW.timestamp() - 29},
        {"iat": NOW.timestamp() + 29},
        {"aud": [CLIENT]},
        {"aud": [CLIENT, "another"], "azp": CLIENT},
        {"at_hash": None},
        {"nbf": NOW.timestamp()},
    ],
    ids=str,
)
async def test_what_is_within_bounds_counts(idp: IdP, sign_in: SignIn, claims: Claims) -> None:
    idp.claims = claims
    assert (await sign_in()).name == "Rosa Diaz"


# --- Keys ---


async def test_rotated_key_is_looked_up_and_not_too_often(idp: IdP, sign_in: SignIn, clock: Clock) -> None:
    await sign_in()
    clock.seconds += provider.REFETCH_SECONDS
    idp.rotate("two")
    assert (await sign_in()).name == "Rosa Diaz"
    assert idp.asked.count("/keys") == 2
    idp.rotate("three")
    with failing(idp, "none of the provider's"):
        await sign_in()
    assert idp.asked.count("/keys") == 2, "an unknown key asks at most twice a minute"
    clock.seconds += provider.REFETCH_SECONDS
    await sign_in()
    assert idp.asked.count("/keys") == 3


async def test_key_that_is_withdrawn_counts_for_an_hour_at_most(idp: IdP, sign_in: SignIn, clock: Clock) -> None:
    await sign_in()
    stolen = idp.keys.pop("one")
    idp.rotate("two")
    idp.sign = lambda _, claims: jwt.encode({"alg": "ES256", "kid": "one"}, claims, stolen, algorithms=["ES256"])
    clock.seconds += provider.KEEP_SECONDS
    with failing(idp, "none of the provider's"):
        await sign_in()


async def test_token_without_a_key_id_is_tried_with_every_key(idp: IdP, sign_in: SignIn) -> None:
    idp.rotate("two")
    idp.sign = lambda idp, claims: jwt.encode({"alg": "ES256"}, claims, idp.keys["two"], algorithms=["ES256"])
    assert (await sign_in()).name == "Rosa Diaz"


async def test_keys_that_are_no_use_are_passed_over(idp: IdP, sign_in: SignIn) -> None:
    good = idp.keys["one"].as_dict(private=False)
    others = [1, {}, {"kty": "oct", "k": "AAAA", "kid": "one"}, {"kty": "EC", "crv": "P-999", "kid": "one"}]
    others += [{"kty": "RSA", "n": "AQ", "e": "AQAB"}, {"kty": "future", "kid": "one"}, {**good, "use": "enc"}]
    idp.instead["/keys"] = saying({"keys": [*others, good]})
    assert (await sign_in()).name == "Rosa Diaz"
    idp.instead["/keys"] = saying({"keys": others})


@pytest.mark.parametrize(
    "keys", [{}, {"keys": {}}, {"keys": []}, {"keys": [{"kty": "oct", "k": "AAAA", "kid": "one"}]}]
)
async def test_set_without_a_usable_key_verifies_nothing(idp: IdP, sign_in: SignIn, keys: Claims) -> None:
    idp.instead["/keys"] = saying(keys)
    with failing(idp, "has no keys|none of the provider's"):
        await sign_in()


# --- What a browser comes back with ---


async def finish(client: OpenID, browser: Browser, **changed: Any) -> Tokens:
    url, pending = await client.begin()
    return await client.finish(pending, _merged(await visit(browser, url), changed), NOW)


@pytest.mark.parametrize("state", ["another", "", None, "é"])
async def test_answer_to_nothing_that_was_asked_is_refused(
    idp: IdP, client: OpenID, browser: Browser, state: str | None
) -> None:
    with failing(idp, "not the answer to a sign-in that was begun in this browser"):
        url, pending = await client.begin()
        query = await visit(browser, url)
        del query["state"]
        await client.finish(pending, query | ({} if state is None else {"state": state}), NOW)
    assert not idp.forms, "the code was not spent"


async def test_state_that_is_empty_on_both_sides_is_no_match(idp: IdP, client: OpenID) -> None:
    with failing(idp, "not the answer"):
        await client.finish(Pending("", "", ""), {"code": "c", "state": ""}, NOW)


async def test_denial_is_said(idp: IdP, client: OpenID, browser: Browser) -> None:
    with failing(idp, "signing in was refused, by you or by the provider"):
        await finish(client, browser, error="access_denied", error_description="<b>no</b>", code="")


async def test_error_that_nobody_knows_is_not_quoted(idp: IdP, client: OpenID, browser: Browser) -> None:
    with failing(idp, "refuses, and does not say why") as _:
        await finish(client, browser, error="<script>")


async def test_provider_that_is_busy_may_be_asked_again(idp: IdP, client: OpenID, browser: Browser) -> None:
    with failing(idp, "is busy", passing=True):
        await finish(client, browser, error="temporarily_unavailable")


async def test_code_that_is_missing_or_endless_is_refused(idp: IdP, client: OpenID, browser: Browser) -> None:
    with failing(idp, "without a code"):
        await finish(client, browser, code="")
    with failing(idp, "without a code"):
        await finish(client, browser, code="c" * (openid.MAX_TOKEN + 1))


async def test_issuer_of_the_answer_is_compared_where_there_is_one(
    idp: IdP, client: OpenID, browser: Browser, clock: Clock
) -> None:
    with failing(idp, "does not come from 127.0.0.1"):
        await finish(client, browser, iss="https://mixed-up.example.com")
    assert await finish(client, browser, iss=idp.issuer)
    assert await finish(client, browser)
    idp.discovery["authorization_response_iss_parameter_supported"] = True
    clock.seconds += provider.KEEP_SECONDS
    assert await finish(client, browser, iss=idp.issuer)
    with failing(idp, "does not come from 127.0.0.1"):
        await finish(client, browser)
    with failing(idp, "does not come from 127.0.0.1"):
        await finish(client, browser, error="access_denied")


async def test_code_counts_once(idp: IdP, client: OpenID, browser: Browser) -> None:
    url, pending = await client.begin()
    query = await visit(browser, url)
    await client.finish(pending, query, NOW)
    with failing(idp, "does not accept this sign-in any more"):
        await client.finish(pending, query, NOW)


# --- Renewal and the end ---


async def test_renewal_keeps_the_person_and_takes_new_tokens(idp: IdP, client: OpenID, sign_in: SignIn) -> None:
    before = await sign_in()
    idp.claims = {"exp": NOW.timestamp() + 7200, "name": None}
    after = await client.refresh(before, NOW)
    assert (after.name, after.expires_at) == (before.name, NOW + timedelta(hours=2))
    assert after.id_token != before.id_token
    assert after.refresh_token != before.refresh_token
    assert "nonce" not in openid._claims(after.id_token)
    idp.answer = {"refresh_token": None}
    assert (await client.refresh(after, NOW)).refresh_token == after.refresh_token


@pytest.mark.parametrize(
    ("claims", "answer", "said"),
    [
        ({"sub": "u-18"}, {}, r"somebody else's \(sub\)"),
        ({"nonce": "another"}, {}, r"\(nonce\)"),
        ({"aud": "another"}, {}, r"\(aud\)"),
        ({"exp": NOW.timestamp() - 3600}, {}, r"\(exp\)"),
        ({}, {"id_token": None}, "does not renew ID tokens"),
    ],
)
async def test_renewal_that_is_not_valid_is_refused(
    idp: IdP, client: OpenID, sign_in: SignIn, claims: Claims, answer: Claims, said: str
) -> None:
    tokens = await sign_in()
    idp.claims, idp.answer = claims, answer
    with failing(idp, said):
        await client.refresh(tokens, NOW)


async def test_renewal_that_is_refused_is_said(idp: IdP, client: OpenID, sign_in: SignIn) -> None:
    tokens = await sign_in()
    idp.given.remove(tokens.refresh_token)
    with failing(idp, "does not accept this sign-in any more"):
        await client.refresh(tokens, NOW)


async def test_renewal_without_a_refresh_token_is_said(idp: IdP, client: OpenID, sign_in: SignIn) -> None:
    idp.answer = {"refresh_token": None}
    with failing(idp, "nothing to renew it with"):
        await client.refresh(await sign_in(), NOW)


async def test_renewal_may_be_tried_again_while_the_provider_is_away(idp: IdP, client: OpenID, sign_in: SignIn) -> None:
    tokens = await sign_in()
    idp.instead["/token"] = saying("busy", 503)
    with failing(idp, "HTTP 503", passing=True):
        await client.refresh(tokens, NOW)


async def test_end_of_the_session_names_no_token(idp: IdP, client: OpenID, sign_in: SignIn, clock: Clock) -> None:
    tokens = await sign_in()
    assert await client.end_session_url(tokens) == f"{idp.issuer}/logout?client_id={CLIENT}"
    idp.claims = {"login_hint": "O.CiQ"}
    assert await client.end_session_url(await sign_in()) == f"{idp.issuer}/logout?client_id={CLIENT}&logout_hint=O.CiQ"
    idp.discovery["end_session_endpoint"] = None
    clock.seconds += provider.KEEP_SECONDS
    assert await client.end_session_url(tokens) is None


# --- Providers that are not as they should be ---


def saying(body: Any, status: int = 200, **headers: str) -> Answer:
    async def answer(_: web.Request) -> web.Response:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(text=text, status=status, headers=headers, content_type="application/json")

    return answer


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/keys", "/token"])
@pytest.mark.parametrize(
    ("answer", "said", "passing"),
    [
        (saying("<html>"), "found no JSON object", False),
        (saying("[]"), "found no JSON object", False),
        (saying("[" * 100_000), "found no JSON object", False),
        (saying({}, 404), "found HTTP 404", False),
        (saying({}, 502), "found HTTP 502", True),
        (saying({}, 302, Location="/elsewhere"), "a redirect", False),
        (saying("x" * (provider.MAX_ANSWER + 1)), "too large", False),
    ],
)
async def test_answer_that_is_not_usable_is_said(
    idp: IdP, sign_in: SignIn, path: str, answer: Answer, said: str, passing: bool
) -> None:
    idp.instead[path] = answer
    with failing(idp, said, passing=passing):
        await sign_in()
    assert "/elsewhere" not in idp.asked


@pytest.mark.parametrize(
    ("discovery", "said"),
    [
        ({"issuer": "https://other.example.com"}, "calls itself by another name"),
        ({"issuer": None}, "calls itself by another name"),
        ({"token_endpoint": "http://127.0.0.1/token"}, "no https URL as its token_endpoint"),
        ({"token_endpoint": None}, "no https URL as its token_endpoint"),
        ({"jwks_uri": "file:///etc/passwd"}, "no https URL as its jwks_uri"),
        ({"authorization_endpoint": "javascript:alert(1)"}, "no https URL as its authorization_endpoint"),
        ({"authorization_endpoint": "https://"}, "no https URL as its authorization_endpoint"),
        ({"end_session_endpoint": "http://127.0.0.1/"}, "no https URL as its end_session_endpoint"),
    ],
    ids=str,
)
async def test_discovery_that_does_not_fit_is_refused(idp: IdP, client: OpenID, discovery: Claims, said: str) -> None:
    idp.discovery = discovery
    with failing(idp, said):
        await client.begin()


async def test_issuer_with_a_slash_is_another_one(idp: IdP, authority: Path) -> None:
    async with OpenID(provider_of(idp, authority, issuer=f"{idp.issuer}/")) as client:
        with failing(idp, "to the letter"):
            await client.begin()
    assert idp.asked == ["/.well-known/openid-configuration"]


async def test_provider_that_is_slow_is_given_up(idp: IdP, client: OpenID, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def never(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError("never")

    monkeypatch.setattr(provider, "TOTAL_SECONDS", 0.1)
    idp.instead["/.well-known/openid-configuration"] = never
    with failing(idp, "did not answer in time", passing=True):
        await asyncio.gather(*(client.begin() for _ in range(20)))
    assert asked.is_set()
    assert len(idp.asked) == 1, "all who wait at the same time wait for one answer"


async def test_answer_that_never_ends_is_given_up(idp: IdP, client: OpenID) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65_536)
            await asyncio.sleep(0)  # for the client's turn: both share the loop

    idp.instead["/.well-known/openid-configuration"] = endless
    with failing(idp, "too large"):
        await client.begin()


async def test_provider_that_is_away_is_said_and_asked_again(idp: IdP, authority: Path) -> None:
    async with OpenID(provider_of(idp, authority, issuer="https://127.0.0.1:1")) as client:
        for _ in range(2):
            with failing(idp, "cannot be reached", passing=True):
                await client.begin()


async def test_certificate_of_nobody_known_is_refused(idp: IdP, authority: Path) -> None:
    async with OpenID(provider_of(idp, authority, ca_file="")) as client:
        with failing(idp, "certificate of 127.0.0.1 is not accepted"):
            await client.begin()
    assert not idp.asked


async def test_every_error_is_a_sentence(idp: IdP, sign_in: SignIn) -> None:
    for error, words in provider.REFUSED.items():
        idp.instead["/token"] = saying({"error": error, "error_description": SECRET}, 400)
        with failing(idp, f"^127.0.0.1: {words}$", passing=error in provider.PASSING):
            await sign_in()


@pytest.mark.parametrize(
    "changed",
    [
        {"issuer": "http://issuer.example.com"},
        {"issuer": "https://issuer.example.com?a=b"},
        {"issuer": ""},
        {"client_id": ""},
        {"redirect_uri": "http://console.example.com/"},
        {"redirect_uri": "/signed-in"},
    ],
    ids=str,
)
def test_configuration_that_cannot_work_is_refused(changed: Claims, authority: Path) -> None:
    with pytest.raises(ValueError, match=r"found .*, expected"):
        provider_of(IdP(issuer="https://issuer.example.com"), authority, **changed)


def test_console_on_this_machine_needs_no_tls(authority: Path) -> None:
    found = provider_of(IdP(issuer="https://issuer.example.com"), authority, redirect_uri="http://localhost:8090/back")
    assert SECRET not in repr(found)
