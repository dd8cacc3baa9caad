"""The child process that sends one message through Apprise: JSON on standard input, one JSON answer on standard output.

Apprise and its plugins are much code that was not written with a cluster's inner network in mind. So they run here, in
a process that lives for one message, is killed at the timeout, and can do little else: it connects only to addresses
that the guard permits, opens no files but those of Python and the system's own, and starts no programs. It imports
little, since several may run at one time.
"""

from __future__ import annotations

import importlib
import io
import ipaddress
import json
import logging
import os
import re
import socket
import sys
import sysconfig
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from riskladder.notify.apprise_services import PARAMETERS, SERVICES, Service
from riskladder.notify.apprise_watch import Answers, Receipts
from riskladder.notify.egress import Egress, normal, parse_address, refused_address
from riskladder.notify.errors import Undeliverable, scrub
from riskladder.notify.forms import Form

SYSTEM_FILES = (
    "/dev/null",
    "/dev/urandom",
    "/etc/hosts",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/",
    "/usr/lib/ssl/",
    "/usr/local/etc/mime.types",
    "/usr/share/zoneinfo/",
)
"""What the libraries may read besides their own files."""

FORBIDDEN = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "socket.bind",
        "socket.sendto",
        "subprocess.Popen",
    }
)
"""Audit events of what sending a message never needs."""

SECONDS_BETWEEN_REQUESTS = 0.2
"""Apprise's own is up to 5.5 s between any two requests: a service with a login would never be reached in time."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC


def main() -> None:
    """Read the order, send, answer."""
    answer_to = os.fdopen(os.dup(1), "w")
    sys.stdout = io.StringIO()  # Nothing that a plugin prints can be taken for the answer.
    order = json.load(sys.stdin)
    try:
        deliver(order)
        answer: dict[str, Any] = {"delivered": True}
    except Undeliverable as error:
        answer = {
            "delivered": False,
            "message": error.message,
            "permanent": error.permanent,
            "retryAfter": error.retry_after,
            "receipts": error.receipts,
        }
    except Exception as error:  # Whatever a plugin raises; its text may hold the URL.
        answer = {"delivered": False, "message": f"the plugin failed: {type(error).__name__}", "permanent": False}
    json.dump(answer, answer_to)
    answer_to.flush()
    os._exit(0)  # No thread or exit handler of a plugin holds the process.


def deliver(order: dict[str, Any]) -> None:
    """Send one message.

    Args:
        order: ``url`` (the secret Apprise URL), ``title``, ``body``, ``text`` (the same as text), ``type`` (its
            word for how grave it is), of the guard ``hosts`` and ``networks``, and of earlier attempts the
            ``receipts``.

    Raises:
        Undeliverable: The URL or its host is refused, or the service did not take the message.
    """
    url = order["url"]
    service = check_url(url)
    egress = Egress(order["hosts"], map(ipaddress.ip_network, order["networks"]))
    refusals: list[Undeliverable] = []
    confine(egress, service.hosts, refusals)
    log, answers, receipts = _Log(), Answers(), Receipts(url, order.get("receipts", ()))
    plugin = _plugin(service, url)
    answers.listen()
    receipts.attach(plugin)
    sent = _send(plugin, service, order)
    if sent:
        return
    if refusals:
        raise refusals[0]
    secrets = secret_parts(url)
    text = "; ".join(scrub(refusal, _tokens(url)) for refusal in answers.refusals) or scrub(log.text(), secrets)
    raise Undeliverable(
        f"{_scheme(url)} did not take the message: {text or 'no reason given'}",
        permanent=answers.are_final,
        retry_after=answers.wait,
        receipts=receipts.all(),
    )


def check_url(url: str) -> Service:
    """Return the service of an Apprise URL, if it is one of those allowed.

    Raises:
        Undeliverable: It is not.
    """
    scheme = _scheme(url)
    service = SERVICES.get(scheme)
    if service is None:
        known = ", ".join(sorted(SERVICES))
        shown = f"{scheme}:// is" if re.fullmatch(r"[a-z]{1,12}", scheme) else "the Apprise URL's scheme is"
        raise Undeliverable(f"{shown} not among the schemes allowed: {known}", permanent=True)
    return service


def _check_parameters(results: dict[str, Any]) -> None:
    """Pass parameters that are allowed, as Apprise itself has read them: its idea of a URL is its own."""
    given = {(name, "") for name in results.get("qsd") or ()}
    given |= {(name, prefix) for prefix in "+-:" for name in results.get(f"qsd{prefix}") or ()}
    for name, prefix in sorted(given):
        if prefix or name not in PARAMETERS:
            shown = f"{prefix}{name}" if re.fullmatch(r"[a-z_]{1,20}", name) else "of that name"
            raise Undeliverable(f"a parameter {shown} is not allowed in an Apprise URL", permanent=True)


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def secret_parts(url: str) -> list[str]:
    """Return the URL and every piece of it: any of them may be a token."""
    rest = url.partition("://")[2]
    return [url, rest, *re.split(r"[/:@?&=,]+", rest), *re.split(r"[/:@?&=,]+", unquote(rest))]


def _tokens(url: str) -> list[str]:
    """Return the pieces of the URL of a mail server that are secret: of what it answers, the rest may be shown."""
    login = url.partition("://")[2].partition("?")[0].rpartition("@")[0]
    return [url, login, *re.split(r"[:/]+", login), *re.split(r"[:/]+", unquote(login))] if login else [url]


def _plugin(service: Service, url: str) -> Any:
    """Return the plugin for the URL, loaded by name: no search for plugins, no persistent storage, no redirects."""
    from apprise import AppriseAsset

    plugin_class = getattr(importlib.import_module(service.module), service.plugin)
    asset = AppriseAsset(
        storage_mode="memory",
        plugin_paths=[],
        allow_templates=False,
        http_redirects=False,
        async_mode=False,
        interpret_escapes=False,
        interpret_emojis=False,
        secure_logging=True,
        pgp_autogen=False,
        pem_autogen=False,
        app_id="Riskladder",
        app_desc="Riskladder",
        app_url="",
        image_url_mask="",  # No pictures from elsewhere, which would show their host who reads.
        image_url_logo="",
    )
    results = plugin_class.parse_url(url)
    if not results:
        raise Undeliverable(f"the Apprise URL is no valid {_scheme(url)} URL", permanent=True)
    _check_parameters(results)
    try:
        plugin = plugin_class(**{**results, "asset": asset})
    except TypeError:  # How Apprise says that a part is missing or malformed.
        raise Undeliverable(f"the Apprise URL is no valid {_scheme(url)} URL", permanent=True) from None
    plugin.request_rate_per_sec = SECONDS_BETWEEN_REQUESTS
    return plugin


def _send(plugin: Any, service: Service, order: dict[str, Any]) -> bool:
    from apprise import Apprise, NotifyFormat, NotifyType, OverflowMode

    message = {"title": order["title"], "body": order["body"], "notify_type": NotifyType(order["type"])}

    if service.form is Form.SLACK:
        # Straight to the plugin: the framework would take Slack's own markup for Markdown and escape it again.
        return bool(plugin.send(**message, body_format=NotifyFormat.MARKDOWN, body_passthrough=False))
    if service.form is Form.CHAT:
        plugin.overflow_mode = OverflowMode.TRUNCATE  # One post, whatever the names in it.
    elif service.form is not Form.SHORT:
        plugin.overflow_mode = OverflowMode.SPLIT  # A service with a limit gets two messages, not a refused one.
    if service.form is Form.HTML:
        _with_text(order["text"])
        _in_thread(plugin, order["id"], order["thread"])
    outer = Apprise(asset=plugin.asset)
    outer.add(plugin)
    form = NotifyFormat.HTML if service.form is Form.HTML else NotifyFormat.TEXT
    return bool(outer.notify(**message, body_format=form))


def _with_text(text: str) -> None:
    """Have an email carry the text that was written as text, and not one that Apprise makes of the HTML."""
    module = importlib.import_module("apprise.plugins.email.base")
    module.convert_between = lambda *args, **kwargs: text  # type: ignore[attr-defined]


def _in_thread(plugin: Any, message_id: str, thread: str) -> None:
    """Have an email name itself and its thread, so that all of one escalation stand together for its reader."""
    if not isinstance(getattr(plugin, "headers", None), dict):  # a service that takes no headers
        return
    module = importlib.import_module("apprise.plugins.email.base")
    module.make_msgid = lambda *args, **kwargs: message_id  # type: ignore[attr-defined]
    for name in ("In-Reply-To", "References"):
        plugin.headers.setdefault(name, thread)


def confine(egress: Egress, service_hosts: tuple[str, ...], refusals: list[Undeliverable]) -> None:
    """Confine this process to what the guard permits, with no other files or programs.

    Args:
        egress: The guard.
        service_hosts: Hosts of the service, allowed besides those of the guard.
        refusals: Is given every refusal, since plugins swallow exceptions.
    """
    look_up = socket.getaddrinfo

    def refuse(error: Undeliverable) -> OSError:
        refusals.append(error)
        return OSError(error.message)

    def permitted(host: Any, *args: Any, **kwargs: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else str(host or "localhost")
        try:
            egress.check_host(name, also=service_hosts)
        except Undeliverable as error:
            raise refuse(error) from None
        found = look_up(host, *args, **kwargs)
        allowed = [entry for entry in found if egress.permits(str(entry[4][0]))]
        if not allowed:
            raise refuse(refused_address(normal(name), [str(entry[4][0]) for entry in found]))
        return allowed

    socket.getaddrinfo = permitted
    readable = _readable()

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        # Under the look-up, and for whatever goes around it.
        if event in FORBIDDEN:
            raise PermissionError(f"{event} is not allowed here")
        if event == "socket.connect":
            address = arguments[1]
            ip = parse_address(str(address[0])) if isinstance(address, tuple) and address else None
            if ip is None or not egress.permits(ip):
                raise refuse(refused_address("of the connection", [str(address)]))
        elif event == "open" and not _may_open(arguments, readable):
            raise PermissionError("this file is not for a plugin")

    sys.addaudithook(audit)


def _readable() -> tuple[str, ...]:
    homes = [sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()]
    homes += [str(Path(entry).resolve()) for entry in sys.path if entry]
    return (*{home.rstrip("/") + "/" for home in homes if len(home) > 1}, *SYSTEM_FILES)


def _may_open(arguments: tuple[Any, ...], readable: tuple[str, ...]) -> bool:
    path, mode, flags = arguments
    if isinstance(path, int):
        return True  # A descriptor that is open already: standard input, a socket.
    if (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & _WRITES):
        return False
    return os.path.realpath(os.fsdecode(path)).startswith(readable)


class _Log:
    """What Apprise logs: its only way of saying why."""

    def __init__(self) -> None:
        self._stream = io.StringIO()
        logger = logging.getLogger("apprise")
        logger.handlers = [logging.StreamHandler(self._stream)]
        logger.setLevel(logging.WARNING)
        logger.propagate = False

    def text(self) -> str:
        lines = [line.strip() for line in self._stream.getvalue().splitlines() if line.strip()]
        return "; ".join(dict.fromkeys(lines))[:400]


if __name__ == "__main__":
    main()
