"""Sessions: who has signed in, with a token that nothing but the cookie of the browser can open.

The store keeps ciphertext under the hash of the cookie. A copy of the store is of no use without the cookies, and a
cookie of no use without the store.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections import OrderedDict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from riskladder.console.settings import Limits

MOST = 10_000
"""Sessions kept: the one that was not used for longest goes first."""

MOST_OF_ONE = 20
"""Sessions of one person, so that nobody pushes out those of others."""


@dataclass(frozen=True, slots=True)
class Credential:
    """With what somebody asks the API server."""

    token: str
    """Bearer token; empty for the kubeconfig of whoever runs the console for themselves."""
    name: str = ""
    """What to call them in the header; the API server says who they are."""
    how: str = "token"
    """How they signed in: ``openid``, ``token``, ``proxy`` or ``local``."""
    refresh_token: str = ""
    expires_at: str = ""
    """When the token ends (RFC 3339), where that is known."""
    acts_as: str = ""
    """Whom the console impersonates for them, where the API server trusts no provider; then no token is sent."""
    groups: tuple[str, ...] = ()
    """With which groups."""


@dataclass(slots=True)
class _Kept:
    sealed: bytes
    started: datetime
    used: datetime
    owner: str
    """A digest of whose it is; empty where that is nobody's concern."""


def _key(cookie: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"riskladder session key\0" + cookie.encode()).digest())


def _place(cookie: str) -> str:
    return hashlib.sha256(b"riskladder session place\0" + cookie.encode()).hexdigest()


MOST_BYTES = 32 * 1024 * 1024
"""Bytes of all that one store keeps, whoever has sent it."""


class Sealed:
    """A bounded store of values, each sealed under a random cookie."""

    def __init__(self, limits: Limits, most: int = MOST, most_of_one: int = MOST_OF_ONE) -> None:
        """Begin empty.

        Args:
            limits: For how long a value is kept.
            most: How many are kept.
            most_of_one: How many are kept of one owner.
        """
        self._limits, self._most, self._most_of_one = limits, most, most_of_one
        self._secret = secrets.token_bytes(32)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def put(self, value: Any, now: datetime, owner: str = "") -> str:
        """Keep a value (JSON); return the cookie that opens it.

        Args:
            value: What to keep.
            now: The time.
            owner: Whose it is: of too many, the one that they have not used for longest goes.
        """
        cookie = secrets.token_urlsafe(32)
        sealed = Fernet(_key(cookie)).encrypt(json.dumps(value).encode())
        whose = hashlib.blake2b(owner.encode(), key=self._secret).hexdigest() if owner else ""
        self._kept[_place(cookie)] = _Kept(sealed, now, now, whose)
        of_one = [place for place, kept in self._kept.items() if whose and kept.owner == whose]
        for place in of_one[: -self._most_of_one]:
            del self._kept[place]
        while len(self._kept) > self._most or sum(len(kept.sealed) for kept in self._kept.values()) > MOST_BYTES:
            self._kept.popitem(last=False)
        return cookie

    def get(self, cookie: str, now: datetime, *, in_use: bool = True) -> Any:
        """Return the value that a cookie opens; ``None`` where there is none, or it has ended.

        Args:
            cookie: Opens it.
            now: The time.
            in_use: Whether somebody uses it, or only a page that was left open.
        """
        place = _place(cookie)
        kept = self._kept.get(place)
        if kept is None:
            return None
        if now - kept.used > self._limits.idle or now - kept.started > self._limits.absolute:
            del self._kept[place]
            return None
        if in_use:
            kept.used = now
            self._kept.move_to_end(place)
        return json.loads(Fernet(_key(cookie)).decrypt(kept.sealed))

    def replace(self, cookie: str, value: Any) -> None:
        """Keep another value under a cookie that is known; its time goes on."""
        kept = self._kept.get(_place(cookie))
        if kept is not None:
            kept.sealed = Fernet(_key(cookie)).encrypt(json.dumps(value).encode())

    def end(self, cookie: str) -> None:
        """Forget what a cookie opens."""
        self._kept.pop(_place(cookie), None)

    def __len__(self) -> int:
        """How many values are kept."""
        return len(self._kept)


class Tickets:
    """Values that are kept in the cookie alone, sealed, and opened once: nobody can push out those of others."""

    def __init__(self, lasts: timedelta) -> None:
        """Begin with a key of this process.

        Args:
            lasts: For how long a cookie can be opened.
        """
        self._lasts, self._key = lasts, Fernet(Fernet.generate_key())
        self._opened: OrderedDict[str, None] = OrderedDict()

    def seal(self, value: Any, now: datetime) -> str:
        """Return a cookie that holds a value (JSON), which has to be small, and of which no two are the same."""
        return self._key.encrypt_at_time(json.dumps(value).encode(), int(now.timestamp())).decode()

    def open(self, cookie: str, now: datetime) -> Any:
        """Return the value of a cookie; ``None`` where it is none of ours, has been opened before, or is too old."""
        try:
            found = self._key.decrypt_at_time(cookie, int(self._lasts.total_seconds()), int(now.timestamp()))
        except InvalidToken:
            return None
        place = hashlib.sha256(found).hexdigest()
        if place in self._opened:
            return None
        self._opened[place] = None
        while len(self._opened) > MOST:
            self._opened.popitem(last=False)
        return json.loads(found)


class Sessions:
    """Who has signed in."""

    def __init__(self, limits: Limits) -> None:
        """Begin with nobody."""
        self._store = Sealed(limits)

    def begin(self, credential: Credential, now: datetime, owner: str = "") -> str:
        """Start a session; return its cookie. Every sign-in gets a new one."""
        return self._store.put(asdict(credential), now, owner)

    def find(self, cookie: str, now: datetime, *, in_use: bool = True) -> Credential | None:
        """Return the credential of a session that has not ended; it goes on being idle where nobody uses it."""
        found = self._store.get(cookie, now, in_use=in_use)
        if found is None:
            return None
        credential = Credential(**{**found, "groups": tuple(found["groups"])})
        if credential.expires_at and not credential.refresh_token and _time(credential.expires_at) <= now:
            self._store.end(cookie)
            return None
        return credential

    def renew(self, cookie: str, credential: Credential) -> None:
        """Go on with a renewed token."""
        self._store.replace(cookie, asdict(credential))

    def end(self, cookie: str) -> None:
        """End a session."""
        self._store.end(cookie)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
