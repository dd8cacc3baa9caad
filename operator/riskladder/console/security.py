"""What keeps a page that can stop models from being used by others: headers, origins, tokens of forms, links."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from riskladder.console.settings import Settings

POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self'",
        "script-src 'self'",
        "connect-src 'self'",
        "img-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send "Origin: null" with every form
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}


_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]*[a-z0-9_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*")
"""A host name, or an IPv6 address without its brackets."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


def is_name(text: str) -> bool:
    """Return whether it can be the name of a namespace or of an object: nothing else becomes part of a URL."""
    return len(text) <= 253 and _NAME.fullmatch(text) is not None


def why_foreign(settings: Settings, headers: Mapping[str, str]) -> str:
    """Return why a form does not come from these pages; empty where it does.

    A browser says where a form comes from in at least one of the two headers, and no page can forge either.
    """
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if origin is None and site is None:
        return "it names neither Origin nor Sec-Fetch-Site"
    if origin is not None and origin != settings.origin:
        return "its Origin is another one"
    if site is not None and site != "same-origin":
        return "its Sec-Fetch-Site is not same-origin"
    return ""


class FormTokens:
    """Tokens that a form carries: of one session and one page."""

    def __init__(self, secret: bytes) -> None:
        """Sign with a secret that does not leave this process."""
        self._secret = secret

    def token(self, session: str, path: str) -> str:
        """Return the token of a form.

        Args:
            session: The cookie of the session, or whoever a proxy or the kubeconfig proves.
            path: Where the form is sent.
        """
        return hmac.new(self._secret, json.dumps([session, path]).encode(), hashlib.sha256).hexdigest()

    def is_valid(self, token: str, session: str, path: str) -> bool:
        """Return whether a token is that of this session and page."""
        return hmac.compare_digest(token.encode(), self.token(session, path).encode())


def is_trusted(settings: Settings, address: str | None) -> bool:
    """Return whether a connection comes from a proxy that may pass credentials on."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return any((mapped or found) in network for network in settings.sign_in.proxies)


def safe_link(settings: Settings, url: str) -> str:
    """Return a URL that may be a link: https, of a host that is allowed; empty for all else, which is shown as text.

    What a browser would read in another way than it is read here (a backslash, white space, an escaped host) is none.
    """
    if not url.isprintable() or " " in url or "\\" in url:
        return ""
    try:
        parts = urlsplit(url)
        host, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return ""
    if parts.scheme != "https" or not _HOST.fullmatch(host) or "@" in parts.netloc:
        return ""
    allowed = settings.link_hosts
    if allowed and not any(host == one or host.endswith(f".{one}") for one in allowed):
        return ""
    return url


def local_path(text: str) -> str:
    """Return where to go after signing in: a path of these pages, else the first page."""
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if is_path and text.isprintable() and not urlsplit(text).netloc else "/"
