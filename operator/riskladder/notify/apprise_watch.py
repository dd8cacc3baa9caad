"""What came of one message, recipient by recipient and part by part: what the plugins of Apprise know and do not say.

A plugin says yes or no for all its recipients together. But it asks before each of them whether that one has this part
already, and says when one has taken it; and what a server answered is known to `smtplib` and `requests`, through which
every plugin sends. So a message that is sent again goes only to those who do not have it yet, and an error says the
code of the answer.
"""

from __future__ import annotations

import hashlib
import smtplib
from collections.abc import Collection
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from riskladder.notify.errors import is_final
from riskladder.notify.http import retry_after

RECEIPT_LENGTH = 16
"""Hexadecimal digits of a receipt."""

_WHOLE = "part"
"""Stands for the object by which Apprise says that all recipients of a part have taken it."""


class Receipts:
    """Who has taken which part of a message, each as a hash that only those can make who have the URL."""

    def __init__(self, url: str, known: Collection[str]) -> None:
        """Start with the secret Apprise `url`; `known` are the receipts of earlier attempts."""
        self._url = url
        self._known = set(known)

    def attach(self, plugin: Any) -> None:
        """Have a plugin ask here, in place of the memory that Apprise keeps for attempts of one call."""

        def is_delivered(key: Any, per_message: bool = False) -> bool:
            return self._receipt(plugin, key, per_message) in self._known

        def mark_delivered(key: Any, per_message: bool = False) -> None:
            self._known.add(self._receipt(plugin, key, per_message))

        plugin.is_delivered, plugin.mark_delivered = is_delivered, mark_delivered

    def all(self) -> list[str]:
        """Return the receipts of this attempt and of those before."""
        return sorted(self._known)

    def _receipt(self, plugin: Any, key: Any, per_message: bool) -> str:
        named = _WHOLE if type(key) is object else key  # its own text would be another one in each process
        text = f"{self._url}\n{plugin._slot(named, per_message)!r}"
        return hashlib.sha256(text.encode()).hexdigest()[:RECEIPT_LENGTH]


@dataclass(slots=True)
class Answers:
    """What servers answered to what they did not take."""

    final: list[bool] = field(default_factory=list)
    """Of each answer, whether trying again is of no use."""
    refusals: list[str] = field(default_factory=list)
    """Of email, for people: the shortened recipient, the code, and the server's words."""
    wait: float = 0.0
    """Seconds that a server asked to be left alone for."""

    @property
    def are_final(self) -> bool:
        """Whether there is an answer, and none of them may be another one later."""
        return bool(self.final) and all(self.final)

    def listen(self) -> None:
        """Hear every answer from now on. For the whole process, which lives for one message."""
        import requests

        send, login, carry = smtplib.SMTP.sendmail, smtplib.SMTP.login, requests.adapters.HTTPAdapter.send

        def sendmail(smtp: Any, sender: str, to: list[str], *rest: Any, **more: Any) -> Any:
            try:
                refused = send(smtp, sender, to, *rest, **more)
            except smtplib.SMTPRecipientsRefused as error:
                self._email_refused(error.recipients)
                raise
            except smtplib.SMTPResponseException as error:
                self._email_refused({to[0]: (error.smtp_code, error.smtp_error)})
                raise
            self._email_refused(refused)
            return refused if to[0] in refused else {}  # who it is for has it: no second one for a copy

        def log_in(smtp: Any, *arguments: Any, **more: Any) -> Any:
            try:
                return login(smtp, *arguments, **more)
            except smtplib.SMTPResponseException as error:
                self._email_refused({"": (error.smtp_code, error.smtp_error)})
                raise

        def carried(adapter: Any, request: Any, *arguments: Any, **more: Any) -> Any:
            answer = carry(adapter, request, *arguments, **more)
            status = answer.status_code
            if status >= HTTPStatus.MULTIPLE_CHOICES:
                self.final.append(is_final(status))
                self.wait = max(self.wait, retry_after(answer.headers.get("Retry-After", "")))
            return answer

        smtplib.SMTP.sendmail, smtplib.SMTP.login = sendmail, log_in  # type: ignore[method-assign, assignment]
        requests.adapters.HTTPAdapter.send = carried  # type: ignore[method-assign, assignment]

    def _email_refused(self, refused: dict[str, tuple[int, Any]]) -> None:
        """Note refused recipients (RFC 5321, 4.2.1): a code that begins with 5 is final, one with 4 is not."""
        for address, (code, said) in refused.items():
            words = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
            self.final.append(500 <= code < 600)
            self.refusals.append(f"{shortened(address)}{code} {' '.join(words.split())[:120]}")


def shortened(address: str) -> str:
    """Return an address by which a colleague knows who is meant, and nobody else can write: ``g…@example.com: ``."""
    local, at, domain = address.rpartition("@")
    return f"{local[:1]}…@{domain}: " if at else ""
