"""The forms of a message: text and HTML with all of it, one short post for a chat, and less for a phone.

Every value that a template prints is escaped unless a filter of this module made it, so no template can forget to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from urllib.parse import quote

from jinja2 import PackageLoader, StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from riskladder.api.text import one_line
from riskladder.notify.forms import Form
from riskladder.notify.notice import Notice, Option

MAX_SUBJECT = 200
"""Characters. Longer subjects are cut by some service or other."""

MAX_EMAIL_SUBJECT = 70
"""Characters: what a list of emails shows on a phone. The email begins with the whole of it."""

_WORKLOAD = re.compile(r" \([A-Z][A-Za-z]* [a-z0-9.-]+\)")
"""The workload behind the name of a model, which is the first thing that a short subject can do without."""

MAX_BRIEF = 280
"""Characters of what happened in one post to a chat: with everything else it is one post in every service."""

URL_SAFE = "!#$%&()+,/:;=?@~"
"""What stays as it is in a URL; the rest is percent-encoded."""


_TEMPLATES = {
    Form.TEXT: "text.j2",
    Form.CHAT: "chat.j2",
    Form.SHORT: "short.j2",
    Form.SLACK: "slack.j2",
    Form.HTML: "email.html.j2",
}


class SafeMarkup(str):
    """Markup of ours, or text that has been escaped already."""

    __slots__ = ()


def subject(notice: Notice, form: Form = Form.TEXT) -> str:
    """Return the title that goes with a form: one line of at most ``MAX_SUBJECT`` characters, without markup of ours.

    It is neither HTML nor mrkdwn: email takes it as it is, and Slack's plugin escapes it. The tier comes first, unless
    what happened begins by naming it.
    """
    readable = Form.CHAT if form in (Form.CHAT, Form.SLACK) else Form.TEXT
    begins = rf"{re.escape(notice.tier)} |.{{,60}}\btier {re.escape(notice.tier)}(?![\w-])"
    names_tier = bool(notice.tier) and re.match(begins, notice.headline) is not None
    template = _environment(readable).get_template("subject.j2")
    text = template.render(n=notice, names_tier=names_tier)
    if form is not Form.HTML:
        return one_line(text, MAX_SUBJECT)
    short = _of_email(text)
    if names_tier and notice.tier not in short:  # it is behind the cut
        short = _of_email(template.render(n=notice, names_tier=False))
    return short


def _of_email(text: str) -> str:
    return _cut(_WORKLOAD.sub("", text, count=1), MAX_EMAIL_SUBJECT)


def _cut(text: str, limit: int) -> str:
    """Return one line, cut between two words where that leaves most of it."""
    line = one_line(text)
    if len(line) <= limit:
        return line
    words = line[: limit - 1].rpartition(" ")[0]
    return (words if len(words) > limit // 2 else line[: limit - 1]).rstrip(" ,;:") + "…"


def body(notice: Notice, form: Form) -> str:
    """Return the message in one of the forms."""
    return _environment(form).get_template(_TEMPLATES[form]).render(n=notice).strip("\n")


@cache
def _environment(form: Form) -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        loader=PackageLoader("riskladder.notify", "templates"),
        autoescape=form is Form.HTML,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
        finalize=_FINALIZE[form],
    )
    environment.filters.update(
        utc=_utc, number=_number, code=_CODE[form], link=_LINK[form], brief=_brief, ends=_ends, sentence=_sentence
    )
    return environment


def _utc(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M} UTC"


def _number(value: float) -> str:
    return f"{value:.6g}"


def _brief(text: str) -> str:
    return one_line(text, MAX_BRIEF)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _ends(options: Sequence[Option]) -> list[Option]:
    """Return the first thing to do and the last, which is to read the rest."""
    return [*options[:1], *options[1:][-1:]]


def _plain(value: object) -> str:
    """Clean a value for text, and below HTML's own escaping."""
    return value if isinstance(value, Markup) else one_line(str(value))


def _literal(text: str) -> str:
    """Return text in which no chat service finds formatting, a mention or a link.

    Few of them have an escape for it that all others leave alone, so the characters are exchanged for ones that look
    alike. Quotes and lists need the start of a line, which no value has.
    """
    text = one_line(text).translate(_LOOKALIKES)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", "ˍ", text)
    text = re.sub(r"(?<![A-Za-z0-9])[@#](?=\S)", lambda m: "＠" if m[0] == "@" else "＃", text)
    return text.replace("://", ":∕∕")


_LOOKALIKES = {ord("*"): "∗", ord("~"): "∼", ord("`"): "ˋ", ord("|"): "∣"}
_CHAT_BRACKETS = {ord("<"): "‹", ord(">"): "›", ord("["): "［", ord("]"): "］"}


def _chat(value: object) -> str:
    return value if isinstance(value, SafeMarkup) else _literal(str(value)).translate(_CHAT_BRACKETS)


def _mrkdwn(value: object) -> str:
    return value if isinstance(value, SafeMarkup) else _slack_escaped(_literal(str(value)))


def _slack_escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _text_code(text: str) -> str:
    return text


def _slack_code(text: str) -> str:
    """Return a name or command as it stands: between backticks nothing is formatted."""
    return SafeMarkup(f"`{_slack_escaped(one_line(text).replace('`', 'ˋ'))}`")


def _html_code(text: str) -> str:
    return Markup("<code>{}</code>").format(one_line(text))


def _text_link(url: str) -> str:
    return url


def _chat_link(url: str) -> str:
    return SafeMarkup(_encoded(url)) if _is_web(url) else url


def _slack_link(url: str) -> str:
    # No label: what is shown is where it leads.
    return SafeMarkup(f"<{_encoded(url).replace('&', '&amp;')}>") if _is_web(url) else _slack_code(url)


def _html_link(url: str) -> str:
    return Markup('<a href="{0}">{0}</a>').format(_encoded(url)) if _is_web(url) else _html_code(url)


def _is_web(url: str) -> bool:
    return re.match(r"(?i)https?://", url) is not None


def _encoded(url: str) -> str:
    return quote(url, safe=URL_SAFE)


_Filter = Callable[[str], str]
_FINALIZE: dict[Form, Callable[[Any], str]] = {
    Form.TEXT: _plain,
    Form.SHORT: _plain,
    Form.CHAT: _chat,
    Form.SLACK: _mrkdwn,
    Form.HTML: _plain,
}
_CODE: dict[Form, _Filter] = {
    Form.TEXT: _text_code,
    Form.SHORT: _text_code,
    Form.CHAT: _text_code,
    Form.SLACK: _slack_code,
    Form.HTML: _html_code,
}
_LINK: dict[Form, _Filter] = {
    Form.TEXT: _text_link,
    Form.SHORT: _text_link,
    Form.CHAT: _chat_link,
    Form.SLACK: _slack_link,
    Form.HTML: _html_link,
}
