"""Where the console shows what a message is about."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

LOCAL = ("127.0.0.1", "localhost", "::1")


def checked_origin(text: str, option: str) -> str:
    """Return the address under which people reach the console, as browsers write it in Host and Origin.

    Args:
        text: What was given.
        option: How the error names it.

    Raises:
        ValueError: It is no origin, or tokens would be sent there in the clear.
    """
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        raise ValueError(f"{option}: {text!r} is not an address such as https://riskladder.example.com") from error
    is_address = bool(host) and parts.scheme in ("http", "https") and port != 0 and text.isprintable()
    if not is_address or "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(f"{option}: {text!r} is not an address such as https://riskladder.example.com")
    if parts.path not in ("", "/"):
        raise ValueError(f"{option}: {text!r} has a path: the console needs a host name of its own")
    if parts.scheme == "http" and host not in LOCAL:
        raise ValueError(f"{option}: {text!r} is not https: tokens would be sent in the clear")
    named = f"[{host}]" if ":" in host else host
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{named}" + (f":{port}" if port not in (None, usual) else "")


def page_of(console: str, namespace: str, escalation: str, ladder: str) -> str:
    """Return the address of an escalation's page, or of the ladder's where it is about no escalation.

    Args:
        console: Where people reach the console; empty: nowhere.
        namespace: Of both.
        escalation: Its name, or nothing.
        ladder: Its name.
    """
    if not console:
        return ""
    kind, name = ("escalations", escalation) if escalation else ("ladders", ladder)
    return f"{console}/{kind}/{quote(namespace, safe='')}/{quote(name, safe='')}"
