"""The forms of a message: as they read, and that nobody's text breaks out of them."""

from __future__ import annotations

import dataclasses
import os
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.notify.console import checked_origin, page_of
from riskladder.notify.forms import Form
from riskladder.notify.notice import Judgement, Notice
from riskladder.notify.render import MAX_EMAIL_SUBJECT, MAX_SUBJECT, body, subject
from tests.unit.notify_support import notice

EXPECTED = Path(__file__).parent / "notify_expected"
FILES = {Form.TEXT: "message.txt", Form.SLACK: "message.mrkdwn", Form.HTML: "message.html"}


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize(("about", "does"), [("Notified", "Read it and "), ("Remediated", "Read it here")])
def test_every_form_links_to_the_page_where_there_is_a_console(form: Form, about: str, does: str) -> None:
    found = notice(about=about)
    page = page_of("https://riskladder.example.com", found.namespace, found.escalation, found.ladder)
    assert page == f"https://riskladder.example.com/escalations/{found.namespace}/{found.escalation}"
    text = body(dataclasses.replace(found, page=page), form)
    assert page in text.replace("&#x2F;", "/")
    assert form is Form.SHORT or does in text.replace("</a><br>", " here"), text
    assert "https://riskladder.example.com" not in body(found, form)


def test_page_of_a_message_about_a_ladder_is_the_ladders() -> None:
    assert page_of("https://x.example", "models", "", "credit") == "https://x.example/ladders/models/credit"
    assert page_of("", "models", "a", "credit") == ""


@pytest.mark.parametrize(
    "text",
    [
        *("riskladder.example.com", "ftp://riskladder.example.com", "https://", "https://ann@riskladder.example.com"),
        *("https://riskladder.example.com/console", "https://riskladder.example.com?a=b", "https://a.example:0"),
        *("http://riskladder.example.com", "https://riskladder.example.com#a", "https://[", "https://a\n.example"),
    ],
)
def test_address_of_the_console_is_an_origin_that_nobody_listens_to(text: str) -> None:
    with pytest.raises(ValueError, match="--console-url"):
        checked_origin(text, "--console-url")


def test_address_of_the_console_needs_no_slash_at_its_end() -> None:
    assert checked_origin("https://riskladder.example.com/", "--url") == "https://riskladder.example.com"
    assert checked_origin("http://127.0.0.1:8091", "--url") == "http://127.0.0.1:8091"


@pytest.mark.parametrize("form", FILES)
def test_message_reads_as_expected(form: Form) -> None:
    """`WRITE_EXPECTED=1` writes the files again; read the difference."""
    file, found = EXPECTED / FILES[form], body(notice(), form) + "\n"
    if os.environ.get("WRITE_EXPECTED"):
        file.write_text(found, "utf-8")
    assert found == file.read_text("utf-8")


def test_message_of_the_documentation_is_this_one() -> None:
    page = (Path(__file__).parents[2] / "docs/notifications.md").read_text("utf-8")
    assert f"```text\n{body(notice(), Form.TEXT)}\n```" in page


@pytest.mark.parametrize("form", [Form.TEXT, Form.HTML])
def test_every_fact_is_in_every_form_that_has_room(form: Form) -> None:
    found = notice()
    text = body(found, form).replace("&#39;", "'").replace("&amp;", "&")
    for fact in (
        found.headline.split(":")[0],
        found.deadline,
        found.namespace,
        found.escalation,
        found.target,
        found.ladder,
        found.role,
        "0.31",
        "0.83",
        "5000 samples",
        "https://models.example.com/credit-scorer/3?view=card&lang=en",
        "models:/credit-scorer/3",
        "https://reports.example.com/2026-11-24",
        *found.remedies,
        *(option.command for option in found.options),
        *(option.who for option in found.options),
    ):
        assert fact in text, fact


@pytest.mark.parametrize("form", [Form.CHAT, Form.SLACK])
def test_chat_gets_one_short_post_with_what_matters(form: Form) -> None:
    """Rocket.Chat and Workflows take 1,000 characters, title included, and what is longer was two posts."""
    found = notice()
    text = body(found, form)
    for fact in (
        *(found.headline.split(":")[0], found.deadline, found.namespace, found.target, found.role, found.tier),
        *(found.options[0].command, found.options[-1].command),
    ):
        assert fact in text, fact
    assert len(text.splitlines()) <= 6
    long = notice(message="what happened " * 70)
    assert len(subject(long, form)) + len(body(long, form)) < 1000


def test_subject_is_one_short_line() -> None:
    assert subject(notice()) == (
        "[riskladder] credit-scorer (Deployment credit-scorer) is in tier high: demographic_parity_difference is 0.31, "
        "auc is 0.83. Contained: yes, scaled to zero: none of its pods is left, and no Service lis…"
    )
    assert subject(notice(), Form.HTML) == "[riskladder] credit-scorer is in tier high…"
    assert (
        subject(notice(about="Remediated", message="Closed.\nIt is over"))
        == "[riskladder] resolved, high: Closed. It is over"
    )
    long = subject(notice(message="x" * 1000))
    assert len(long) == MAX_SUBJECT
    assert long.endswith("…")


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True), st.text(max_size=400))
def test_tier_is_named_once_at_the_beginning_of_a_subject(tier: str, rest: str) -> None:
    for form in Form:
        named = subject(notice(tier=tier, message=f"scorer is in tier {tier}: x"), form)
        assert named == f"[riskladder] scorer is in tier {tier}: x"
        test = subject(notice(tier=tier, message=f"{tier} of channel mail"), form)
        assert test == f"[riskladder] {tier} of channel mail"
        unnamed = subject(notice(tier=tier, message=f"Somebody has acknowledged {rest}"), form)
        assert unnamed.startswith(f"[riskladder] {tier}: Somebody has acknowledged")
        assert len(unnamed) <= (MAX_EMAIL_SUBJECT if form is Form.HTML else MAX_SUBJECT)


def test_drill_is_marked_before_anything_else() -> None:
    drill = notice({"drill": True})
    for form in Form:
        visible = "".join(text for text in Page.of(body(drill, form)).texts) if form is Form.HTML else body(drill, form)
        assert visible.lstrip().startswith("DRILL"), form
        assert subject(drill, form).startswith("DRILL "), form
        assert "DRILL" not in body(notice(), form)


def test_chat_form_is_plain_text_that_no_service_reads_markup_into() -> None:
    text = body(
        notice(message="<@U1> @everyone @here [x](https://evil.example) *b* _i_ `c` ||s|| a_b anna@example.com"),
        Form.CHAT,
    )
    line = text.splitlines()[0]
    assert line == "‹＠U1› ＠everyone ＠here ［x］(https:∕∕evil.example) ∗b∗ ˍiˍ ˋcˋ ∣∣s∣∣ a_b anna@example.com"


def test_short_form_leaves_the_rest_to_the_subject() -> None:
    assert body(notice(), Form.SHORT) == (
        "credit-scorer-3f9a1c2b in models, role legal: acknowledge by 2026-11-24 13:00 UTC (14:00 in Berlin), in 1 h.\n"
        "kubectl riskladder show credit-scorer-3f9a1c2b -n models"
    )


# --- Hostile text -----------------------------------------------------------------------------------------------------

# fmt: off
HOSTILE = (
    "<!channel>", "<!here|x>", "<@U123>", "@here", "@everyone", "<https://evil.example|Approve here>",
    "&lt;!channel&gt;", "<script>alert(1)</script>", "</p></body>", "\"><img src=x onerror=alert(1)>",
    "{{ 7*7 }}", "{% raw %}", "{{ n.uid }}", "*bold*", "_it_", "~gone~", "`code`", "```", "> quote", "# title",
    "[x](javascript:alert(1))", "\x1b[2J", "\x00", "\r\n", "\nBcc: all@example.com", "\u202e", "\u2066", "\u200b",
    "\u2028", "\x85", "\ufeff", "javascript:alert(1)", "||", "%0A", " ",
)
# fmt: on
hostile = st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), min_size=1, max_size=6).map(
    lambda parts: "x" + "".join(parts)
)


def with_text(text: str) -> Notice:
    """A message with somebody's text wherever it can be."""
    base = notice(message=text[:1024])
    option = dataclasses.replace(base.options[0], what=text, who=text, command=text)
    reading = dataclasses.replace(
        base.readings[0], indicator=text, description=text, tier=text, window=text, side="above", unit=text
    )
    reference = dataclasses.replace(base.references[0], url=f"https://evil.example/{text}")
    return dataclasses.replace(
        base,
        model=text,
        model_version=text,
        role=text,
        target=text,
        judgement=Judgement(tier=text, rationale=text, raised_by=text),
        remedies=(text,),
        options=(option,),
        readings=(reading,),
        references=(reference, dataclasses.replace(reference, title=text, url=text)),
    )


class Page(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.targets: list[str] = []
        self.texts: list[str] = []

    @classmethod
    def of(cls, html: str) -> Page:
        page = cls()
        page.feed(html)
        page.close()
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.targets += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def is_visible(text: str) -> bool:
    return all(
        c == "\n" or c in "\u200c\u200d" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text
    )


@given(hostile)
def test_no_text_breaks_out_of_html(text: str) -> None:
    found = Page.of(body(with_text(text), Form.HTML))
    calm = Page.of(body(with_text("calm"), Form.HTML))
    links = [element for element in found.elements if element[0] != "a" and element[0] != "code"]
    assert links == [element for element in calm.elements if element[0] != "a" and element[0] != "code"]
    assert all(target.startswith("https://") or re.match("(?i)https?://", target) for target in found.targets)
    assert is_visible("".join(found.texts))


@given(hostile)
def test_no_text_breaks_out_of_slack(text: str) -> None:
    found = body(with_text(text), Form.SLACK)
    assert is_visible(found)
    # What is left between angle brackets are our own links, each to a URL that was given as a link.
    for tag in re.findall(r"<([^>]*)>", found):
        assert re.fullmatch(r"(?i)https?://[^<>|\s]*", tag), tag
    assert found.count("<") == found.count(">")
    assert not re.search(r"&(?!(amp|lt|gt);)", found)
    outside = re.sub(r"`[^`\n]*`|<[^>]*>", "", found)
    calm = re.sub(r"`[^`\n]*`|<[^>]*>", "", body(with_text("calm"), Form.SLACK))
    for mark in "*~`":
        assert outside.count(mark) == calm.count(mark), mark
    assert "://" not in outside
    assert not re.search(r"(?<![A-Za-z0-9])@\w", outside)
    assert len(found.splitlines()) == len(body(with_text("calm"), Form.SLACK).splitlines())


@given(hostile)
def test_no_text_breaks_out_of_chat(text: str) -> None:
    fields = with_text(text)
    # Commands and indicators have names that the API server has checked, so they stand as they are.
    fields = dataclasses.replace(fields, options=notice().options, readings=notice().readings)
    found, calm = body(fields, Form.CHAT), body(dataclasses.replace(fields, references=()), Form.CHAT)
    assert is_visible(found)
    assert not set("<>[]|*~`") & set(calm)
    assert "://" not in calm
    assert not re.search(r"(?<![A-Za-z0-9])@\w", calm)
    assert not re.search(r"[<>|*`]", found)


@given(hostile)
def test_no_text_breaks_out_of_plain_text(text: str) -> None:
    found = body(with_text(text), Form.TEXT)
    assert is_visible(found)
    assert len(found.splitlines()) == len(body(with_text("calm"), Form.TEXT).splitlines())
    for form in Form:
        title = subject(with_text(text), form)
        assert is_visible(title)
        assert len(title.splitlines()) == 1
        assert len(title) <= MAX_SUBJECT


@given(hostile)
def test_no_text_is_evaluated(text: str) -> None:
    marker: Any = with_text("{{ n.uid }}{{ 7*7 }}" + text)
    for form in (Form.TEXT, Form.CHAT, Form.HTML, Form.SLACK):
        assert "{{ n.uid }}{{ 7" in body(marker, form)
    assert "{{ n.uid }}" in subject(marker)


@given(hostile)
def test_rendered_again_it_is_the_same(text: str) -> None:
    for form in Form:
        assert body(with_text(text), form) == body(with_text(text), form)
