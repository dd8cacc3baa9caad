"""Which credential a channel may use: each key of the Secret is bound to a type of channel, and to hosts.

Whoever writes a ladder names a key and, for some types, a host. Without a binding they could have the bearer token of
one service sent to another one that the operator may reach, or an Apprise URL with a password to a webhook. So a second
key in the Secret, ``KEY.for``, says what it is for. Where there is none, the form of the value says which type it is
of; a bearer token has no form, and is the one that is itself sent where the ladder says: it needs that key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from riskladder.api.labels import CHANNELS_SECRET
from riskladder.api.ladder import Channel, ChannelType
from riskladder.notify.egress import normal
from riskladder.notify.errors import Undeliverable

SUFFIX = ".for"
"""Of the key that says what another key is for: ``TYPE`` or ``TYPE HOST…``."""

WITH_HOST = (ChannelType.ALERTMANAGER, ChannelType.WEBHOOK)
"""The types of which the ladder names the host."""

_FORMS = {
    ChannelType.APPRISE: re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://"),
    ChannelType.PAGERDUTY: re.compile(r"(eu:)?[A-Za-z0-9]{32}$"),
    ChannelType.WEBHOOK: re.compile(r"whsec_"),
    ChannelType.SLACK: re.compile(r"xoxb-"),
}
_TYPES = {str(kind).lower(): kind for kind in ChannelType}
_PORTS = {"http": "80", "https": "443"}


def credential_of(channel: Channel, values: Mapping[str, str] | None) -> str | None:
    """Return what a channel sends or signs with; ``None`` where it names no key, or one that is not there.

    Args:
        channel: The channel, as the ladder has it.
        values: What the Secret holds, as text; ``None`` where there is no Secret.

    Raises:
        Undeliverable: There is no Secret; or the key is for another type of channel or another host, or does not say
            for which.
    """
    key = channel.secret_key
    if values is None:
        if key:
            message = (
                f"there is no Secret {CHANNELS_SECRET} in the namespace of the ladder: create it with the key {key}"
            )
            raise Undeliverable(message, permanent=True)
        return None
    value = (values.get(key) or "").strip() if key else ""
    if not key or not value:
        return None
    if key.endswith(SUFFIX):
        raise _refused(f"key {key} says what key {key.removesuffix(SUFFIX)} is for, and is no credential")
    words = (values.get(key + SUFFIX) or "").split()
    if not words:
        _check_form(channel, key, value)
        return value
    kind, hosts = _TYPES.get(words[0].lower()), words[1:]
    if kind is None or (kind in WITH_HOST and not hosts):
        raise _refused(f"key {key}{SUFFIX} is to be a type of channel and, for some, hosts: {_example(channel)}")
    if kind is not channel.type:
        raise _refused(f"key {key} is for channels of type {kind} (key {key}{SUFFIX}), and this one is {channel.type}")
    if kind in WITH_HOST and not any(_matches(channel.url or "", host) for host in hosts):
        where = _host_of(channel.url or "")
        raise _refused(
            f"key {key} is for {' '.join(hosts)[:200]} (key {key}{SUFFIX}), and this channel sends to {where}"
        )
    return value


def _check_form(channel: Channel, key: str, value: str) -> None:
    """Pass a value without a binding if it has the form of the channel's type and of no other."""
    if channel.type is ChannelType.ALERTMANAGER:
        raise _refused(f"key {key} does not say where it may be sent: add the key {key}{SUFFIX}, {_example(channel)}")
    form = next((kind for kind, pattern in _FORMS.items() if pattern.match(value)), channel.type)
    if form is channel.type:
        return  # what has no form at all is for the channel's own check to name
    raise _refused(
        f"key {key} has the form of a channel of type {form}, and this one is {channel.type}: if it is meant, add the "
        f"key {key}{SUFFIX}, {_example(channel)}"
    )


def _refused(what: str) -> Undeliverable:
    return Undeliverable(f"Secret {CHANNELS_SECRET}: {what}", permanent=True)


def _example(channel: Channel) -> str:
    where = f" {_host_of(channel.url or '')}" if channel.type in WITH_HOST else ""
    return f"for example {channel.type}{where}"


def _host_of(url: str) -> str:
    """Return host and, where it is not the scheme's usual one, port of a URL."""
    try:
        parts = urlsplit(url)
        host, port = normal(parts.hostname or ""), parts.port
    except ValueError:
        return "nowhere"
    bracketed = f"[{host}]" if ":" in host else host
    return bracketed if port is None or str(port) == _PORTS.get(parts.scheme) else f"{bracketed}:{port}"


def _matches(url: str, host: str) -> bool:
    """Return whether a URL is at a host of the binding: with a port that one, without any port of that host."""
    found = _host_of(url)
    wanted = host.strip().lower()
    bare = found if found.endswith("]") else found.rpartition(":")[0] or found
    return normal(wanted) in (normal(found), normal(bare))
