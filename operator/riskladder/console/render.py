"""Templates to HTML. Everything that comes from others is escaped; nothing but the drawings of this package is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from riskladder.api.base import format_time
from riskladder.api.reasons import Reason
from riskladder.api.text import length, plain
from riskladder.console import board, texts
from riskladder.people.text import ago, due
from riskladder.people.timeline import Step


class Renderer:
    """Renders the templates of this package."""

    def __init__(self) -> None:
        """Load them."""
        self._environment = Environment(
            loader=PackageLoader("riskladder.console"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "plain": plain,
            "lines": lines,
            "length": length,
            "upper_first": upper_first,
            "time": time_element,
            "clock": clock_element,
            "brief": brief,
            "iso": format_time,
            "length_of": len,
            "words": in_words,
        }
        self._environment.globals |= {
            "t": texts.text,
            "due": due,
            "ago": ago,
            "accent": board.accent,
            "newest": board.newest,
        }

    @staticmethod
    def text(key: str) -> str:
        """Return the words of a key."""
        return texts.text(key)

    def render(self, template: str, values: dict[str, Any]) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(values)


def lines(text: str) -> str:
    """Return text of others that may have several lines, as it may be shown."""
    return "\n".join(plain(line) for line in text.split("\n"))


def upper_first(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def in_words(reason: str) -> str:
    """Return a reason such as ``TierRaised`` as words: ``Tier raised``."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", plain(reason))
    return words[:1] + words[1:].lower()


def brief(step: Step) -> str:
    """Return what a step says, of a notification only who was reached over which channel."""
    if "notification" in step.detail and (channel := step.detail.get("channel")):
        verb = "were" if " and " in step.detail.get("role", "") else "was"
        return (
            f"{step.detail.get('role')} {verb} notified over {channel}"
            if step.event == Reason.NOTIFIED
            else step.message
        )
    return step.message


def time_element(at: datetime) -> Markup:
    """Return a time with its date, in UTC; a browser that runs scripts adds the reader's own."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}">{} UTC</time>').format(escape(format_time(utc)), f"{utc:%Y-%m-%d %H:%M}")


def clock_element(at: datetime) -> Markup:
    """Return a time of day to the second, with the whole time for whoever points at it."""
    utc = at.astimezone(UTC)
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        escape(format_time(utc)), f"{utc:%Y-%m-%d %H:%M:%S}", f"{utc:%H:%M:%S}"
    )
