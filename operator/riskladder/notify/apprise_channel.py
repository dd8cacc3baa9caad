"""Apprise channels: one child process for each message, so that a server that hangs holds nothing but its own child."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Collection
from pathlib import Path

from riskladder.notify.apprise_worker import check_url, secret_parts
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable, scrub
from riskladder.notify.forms import Form
from riskladder.notify.http import TOTAL_SECONDS
from riskladder.notify.notice import Notice, Severity, Status
from riskladder.notify.render import body, subject

WORKER = "riskladder.notify.apprise_worker"

PASSED_ON = ("LANG", "LC_ALL", "PATH", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE", "TZ")
"""The variables that the child is given. No proxies: they would connect in its place, past the guard."""


async def send(
    egress: Egress,
    secret: str,
    notice: Notice,
    *,
    receipts: Collection[str] = (),
    timeout: float = TOTAL_SECONDS,  # noqa: ASYNC109 - ends with killing the child
) -> None:
    """Send a notice in the form that the service of the URL understands.

    Args:
        egress: What may be reached, besides the service's own hosts.
        secret: The Apprise URL. It goes to the child on its standard input, not where other processes could read it.
        notice: What to say.
        receipts: Of earlier attempts, who has taken which part of it.
        timeout: Seconds, the start of the child included (about half of one).

    Raises:
        Undeliverable: Not sent, or not taken.
    """
    service = check_url(secret)
    order = {
        "url": secret,
        "title": subject(notice, service.form),
        "body": body(notice, service.form),
        "text": body(notice, Form.TEXT),
        "type": _type(notice),
        "id": _message_id(notice.key),
        "thread": _message_id(notice.dedup),
        "hosts": egress.hosts,
        "networks": [str(network) for network in egress.networks],
        "receipts": list(receipts),
    }
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        WORKER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env=_environment(),
        cwd="/",
    )
    try:
        async with asyncio.timeout(timeout):
            output, _ = await child.communicate(json.dumps(order).encode())
    except TimeoutError:
        raise Undeliverable(f"the service did not answer within {timeout:g} s", permanent=False) from None
    finally:
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()
    try:
        answer = json.loads(output)
        delivered, message, permanent = answer["delivered"], answer.get("message", ""), answer.get("permanent", False)
        wait, taken = float(answer.get("retryAfter", 0.0)), [str(receipt) for receipt in answer.get("receipts", ())]
    except (ValueError, KeyError, TypeError):
        raise Undeliverable(f"the child ended with {child.returncode} and no answer", permanent=False) from None
    if not delivered:
        # The child has taken out secrets already, where it quotes the plugin; this holds whatever it says.
        text = scrub(str(message), [secret, *_longest(secret)])
        raise Undeliverable(text, permanent=bool(permanent), retry_after=wait, receipts=taken)


def _message_id(text: str) -> str:
    """Return a Message-ID (RFC 5322): sent again, a message has the same, and all of one incident refer to one."""
    return f"<{hashlib.sha256(text.encode()).hexdigest()[:40]}@riskladder.dev>"


def _type(notice: Notice) -> str:
    """Return the type in Apprise's words, which services show as a colour."""
    if notice.status is not Status.FIRING:
        return "success" if notice.status is Status.RESOLVED else "info"
    return "failure" if notice.severity in (Severity.ERROR, Severity.CRITICAL) else "warning"


def _longest(secret: str) -> list[str]:
    return [part for part in secret_parts(secret) if len(part) > 24]


def _environment() -> dict[str, str]:
    import riskladder

    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | {"PYTHONPATH": str(Path(riskladder.__file__).parents[1]), "PYTHONDONTWRITEBYTECODE": "1"}
