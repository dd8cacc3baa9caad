"""The forms that a message is written in."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """The forms."""

    TEXT = "text"
    CHAT = "chat"
    """Plain text for services that read markup or mentions into it."""
    SHORT = "short"
    """What goes with the subject where every character counts: text messages to phones."""
    SLACK = "slack"
    HTML = "html"
