"""The forms that a message is written in."""

from __future__ import annotations

from enum import StrEnum


class Form(StrEnum):
    """The forms."""

    TEXT = "text"
    CHAT = "chat"
    """One short post, for services that read markup or mentions into plain text."""
    SHORT = "short"
    """What goes with the subject where every character counts: text messages to phones."""
    SLACK = "slack"
    """The same in Slack's own markup."""
    HTML = "html"
