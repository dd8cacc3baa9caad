"""The pages of the console show what others wrote as text: never as markup, whatever it is and wherever it stands."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import date
from functools import cache
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.decision import DecidedBy
from riskladder.console import board, fleet, texts
from riskladder.console.pages.escalation import Typed
from riskladder.console.pages.waiting import Row
from riskladder.console.render import brief, in_words, upper_first
from riskladder.console.settings import Settings, SignIn
from riskladder.people.case import Unreadable, read_case
from riskladder.people.changes import since
from riskladder.people.headline import state
from tests.pages.cases import MAKERS, ME, RENDERER, case_in, common, objects, page_of, told, visitor
from tests.pages.test_board import signal_object
from tests.unit.builders import LADDER, NAMESPACE, at

Object = dict[str, Any]

# --- Reading a page ---------------------------------------------------------------------------------------------------

ATTRIBUTES = frozenset(
    """
    action alt aria-current aria-describedby aria-hidden aria-label aria-valuemax aria-valuemin aria-valuenow
    autocomplete charset checked class content data-changes data-due data-live data-stop datetime defer for height
    hidden href id lang maxlength method name open preserveaspectratio readonly rel required role selected spellcheck
    src title type value viewbox width
    """.split()  # noqa: SIM905
)
"""All attributes of all pages: none that runs or styles anything."""


DRAWN = frozenset({"svg", "g", "line", "polyline", "rect", "circle", "text", "title"})
"""What drawings are made of; how they look is in attributes, of which none can do anything."""


class Read(HTMLParser):
    """What a page is made of, and what it shows."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: list[str] = []
        self.scripts: list[str | None] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))
        given_ = dict(attrs)
        if tag == "script":
            self.scripts.append(given_.get("src"))
        self.links += [str(given_[name]) for name in ("href", "src", "action", "data-changes") if name in given_]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def handle_comment(self, data: str) -> None:
        self.tags.append(("comment", (data,)))

    def handle_pi(self, data: str) -> None:
        self.tags.append(("pi", (data,)))


def tone_of(model: fleet.Model) -> str:
    """The accent of a model that an escalation is open of."""
    return board.accent(model.cases[0].policy, model.tier) if model.cases else "none"


INSIDE = ("#content", "#options")
"""Links within a page."""


def checked(page: str) -> Read:
    """The page, which loads and runs nothing but what belongs to the console."""
    read = Read(page)
    assert {name for tag, names in read.tags for name in names if tag not in DRAWN} <= ATTRIBUTES
    drawn = {name for tag, names in read.tags for name in names if tag in DRAWN}
    assert not {name for name in drawn if name.startswith("on") or name in ("style", "href", "xlink:href")}
    assert not {tag for tag, _ in read.tags} & {"style", "iframe", "object", "embed", "base", "comment", "pi"}
    assert read.scripts == ["/static/live.js"]
    for link in read.links:
        assert (link.startswith("/") and not link.startswith("//")) or link in INSIDE or link.startswith("https://")
    return read


# --- Every page in every state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("rights", [None, ()], ids=["everything", "nothing"])
def test_page_of_an_escalation_in_every_state(name: str, rights: tuple[tuple[str, str], ...] | None) -> None:
    obj, records = objects(name)
    read = checked(page_of(obj, records, rights))
    said = " ".join(" ".join(read.text).split())
    assert state(case_in(name)) in said
    assert "unbroken" in said
    assert ("holds no role of this ladder" in said) is (rights == ())
    assert (("form", ("method", "action")) in read.tags) is True, "to sign out"
    assert ("textarea" in {tag for tag, _ in read.tags}) is (rights is None)


def test_page_without_records_says_why() -> None:
    obj, _ = objects("contained")
    said = " ".join(checked(page_of(obj, None)).text)
    assert "You may not read the records of this namespace." in said
    assert "unbroken" not in said


def test_page_of_records_that_were_changed_says_so() -> None:
    obj, records = objects("contained")
    records[1]["spec"]["at"] = "2026-11-24T12:00:01Z"
    said = " ".join(checked(page_of(obj, records)).text)
    assert "The records are not intact: " in said
    assert "unbroken" not in said
    assert "(unverified)" in said


@pytest.mark.parametrize("name", ["contained", "closed"])
def test_form_that_comes_back_has_what_was_typed(name: str) -> None:
    obj, records = objects(name)
    changes = since(told(obj, records), 0)
    key = "acceptrisk" if name == "contained" else "review"
    action = {"acceptrisk": "AcceptRisk", "review": "Review"}[key]
    form = {"action": action, "option": key, "role": "legal", "rationale": "my <b>reasons</b>", "until": "14d"}
    read = checked(page_of(obj, records, typed=Typed(form, "Nothing was sent.", changes)))
    assert "my <b>reasons</b>" in read.text
    assert "Nothing was sent." in read.text


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"rationale": "my words"},
        {"action": "AcceptRisk", "option": "acceptrisk", "rationale": "my words"},
        {"action": "Review", "option": "review", "rationale": "my words", "lessons": "what I learnt"},
        {"action": "Explode", "option": "explode", "rationale": "my words", "lessons": "what I learnt"},
    ],
)
@pytest.mark.parametrize("name", ["contained", "closed"])
def test_form_that_lacks_fields_or_is_about_nothing_any_more_comes_back_too(name: str, form: dict[str, str]) -> None:
    obj, records = objects(name)
    text = checked(page_of(obj, records, typed=Typed(form, "Nothing was sent."))).text
    for field in ("rationale", "lessons"):
        assert form.get(field, "") in ("", *text)


def test_outcome_of_a_decision_is_shown() -> None:
    obj, records = objects("contained")
    assert "It was sent." in checked(page_of(obj, records, outcome=("waiting", "It was sent."))).text


# --- The other pages --------------------------------------------------------------------------------------------------


def ladder_object(spec: Object | None = None) -> Object:
    conditions = [
        {
            "type": "Ready",
            "status": "False",
            "reason": "SecretMissing",
            "message": "there is no Secret",
            "lastTransitionTime": "2026-11-24T12:00:00Z",
        }
    ]
    metadata = {"namespace": NAMESPACE, "name": "credit"}
    found = copy.deepcopy(spec or LADDER)
    found["tiers"][1]["remedies"] = ["look at the data"]
    found["charter"] = {"owner": "model-risk", "scope": "credit scoring"}
    return {"metadata": metadata, "spec": found, "status": {"conditions": conditions}}


Draw = Callable[[Object, list[Object]], str]


def _waiting(obj: Object, records: list[Object]) -> str:
    case = read_case(obj)
    row = Row(case, state(case), ("legal",))
    return _render("waiting.html", mine=[row], others=[row], more=True, asks=False, pages=2, namespace="models")


def _models(obj: Object, records: list[Object]) -> str:
    found = fleet.models([signal_object(lastKnownGood=None)], [read_case(obj)])
    return _render("models.html", models=found, asks=True, namespace="", tone_of=tone_of)


def _commitments(obj: Object, records: list[Object]) -> str:
    return _render("commitments.html", found=fleet.commitments([read_case(obj)]), asks=False, namespace="")


def _drills(obj: Object, records: list[Object]) -> str:
    return _render("drills.html", cases=[read_case(obj)], asks=False, namespace="", state=state)


def _records(obj: Object, records: list[Object]) -> str:
    case = read_case(obj)
    return _render(
        "records.html", cases=[case], number=1, asks=True, query="q", namespace="models", state=state, deleted=""
    )


def _record(obj: Object, records: list[Object]) -> str:
    return _render("record.html", deleted=False, timeline=told(obj, records))


PAGES: dict[str, Draw] = {
    "escalation": page_of,
    "waiting": _waiting,
    "models": _models,
    "commitments": _commitments,
    "drills": _drills,
    "records": _records,
    "record": _record,
}


def _render(template: str, **values: Any) -> str:
    return RENDERER.render(template, common() | values)


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("page", [page for page in PAGES if page != "escalation"])
def test_every_list_shows_every_state(page: str, name: str) -> None:
    obj, records = objects(name)
    read = checked(PAGES[page](obj, records))
    runs = page != "commitments" or fleet.commitments([read_case(obj)])
    assert bool(runs) is any(
        link.startswith(("/escalations/models/", "/records/models/", "/ladders/models/")) for link in read.links
    )


def test_lists_that_are_empty_say_so() -> None:
    for template, values in {
        "waiting.html": {"mine": [], "others": [], "more": False, "pages": 2},
        "models.html": {"models": [], "tone_of": tone_of},
        "ladders.html": {"ladders": []},
        "commitments.html": {"found": []},
        "drills.html": {"cases": [], "state": state},
        "records.html": {"cases": [], "number": 0, "query": "", "state": state, "deleted": ""},
    }.items():
        read = checked(_render(template, asks=False, namespace="", **values))
        assert ("p", ("class",)) in read.tags, template
        asked = checked(_render(template, asks=True, namespace="", **values))
        assert ("input", ("id", "name", "value", "maxlength", "autocomplete")) in asked.tags, template
        assert "Nothing" not in " ".join(asked.text), f"{template}: nothing was looked at"


def test_record_of_what_was_deleted_says_so_and_leads_to_no_escalation() -> None:
    obj, records = objects("closed")
    read = checked(_render("record.html", deleted=True, timeline=told(obj, records)))
    assert "The Escalation has been deleted" in " ".join(read.text)
    assert not [link for link in read.links if link.startswith("/escalations/")]


def test_ladder_is_shown_whole() -> None:
    found = fleet.ladder(ladder_object(), date(2026, 11, 24))
    units = {"bias": "", "drift": "psi"}
    values = {"ladder": found, "units": units, "words": fleet.trigger_words, "holders": None}
    said = " ".join(checked(_render("ladder.html", **values)).text)
    for words in ("bias above 0.2", "drift above 0.2 psi", "there is no Secret", "look at the data", "credit scoring"):
        assert words in said
    assert "credit scoring" in " ".join(
        checked(_render("ladders.html", ladders=[found], asks=False, namespace="")).text
    )


def test_error_and_sign_in_are_shown_to_anybody() -> None:
    nobody = common() | {"visitor": None, "token_of": lambda path: "t"}
    assert (
        "no such page" in checked(RENDERER.render("error.html", nobody | {"message": "no such page", "typed": {}})).text
    )
    for settings in (
        Settings("https://a.example"),
        Settings("http://127.0.0.1:1", is_local=True),
        Settings("https://a.example", sign_in=SignIn(openid=True, token=False)),
        Settings("https://a.example", sign_in=SignIn(openid=False, token=False)),
    ):
        values = nobody | {"settings": settings, "to": "/?a=<b>", "kept": True, "message": "That is no token."}
        values |= {"elsewhere": "https://login.example/out", "is_out": True}
        read = checked(RENDERER.render("sign_in.html", values))
        assert "That is no token." in read.text
        assert "Sign out" not in read.text


def test_every_word_of_the_templates_is_in_the_catalogue() -> None:
    with pytest.raises(KeyError):
        texts.text("unknown")
    assert all(texts.ENGLISH.values())


# --- Whatever others write --------------------------------------------------------------------------------------------

PROBE = "<i a='b' \"c\">&amp;\u202e\n" * 4
HOSTILE = (
    "<script>alert(1)</script>",
    '"><script src=//evil.example></script>',
    "' onmouseover='alert(1)",
    '" autofocus onfocus="alert(1)',
    "</textarea><form action=https://evil.example>",
    "</title><meta http-equiv=refresh content=0>",
    "<!-- --!> -->",
    "<![CDATA[<b>]]>",
    "&lt;b&gt;&#60;i&#62;",
    "{{ settings }}{% raw %}",
    "\u202egnp.exe\u2066\x00\x1b[2J\x85\u2028",
    "<svg/onload=alert(1)>",
    "javascript:alert(1)",
    "%0d%0aSet-Cookie: a=b",
)
TEXTS = st.sampled_from(HOSTILE) | st.text(alphabet="<>\"'&/=;:{}%!-ab \n\t\u202e\x00`", min_size=1, max_size=24)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from leaves(inner, (*path, number))
    elif isinstance(value, str):
        yield path


def put(obj: Any, path: tuple[Any, ...], text: str) -> Any:
    *way, last = path
    for step in way:
        obj = obj[step]
    before = obj[last]
    obj[last] = text
    return before


@cache
def open_places(name: str) -> tuple[tuple[Any, ...], ...]:
    """Where an Escalation takes any text."""
    obj, _ = objects(name)
    found = []
    for path in [*leaves(obj["spec"], ("spec",)), *leaves(obj["status"], ("status",))]:
        before = put(obj, path, PROBE)
        try:
            read_case(obj)
        except Unreadable:
            pass
        else:
            found.append(path)
        put(obj, path, before)
    return tuple(p for p in found if p[-1] not in STRUCTURAL)


STRUCTURAL = frozenset(
    {"tier", "role", "name", "uid", "by", "source", "reason", "type", "channel", "ladder", "hash", "unit"}
)
"""What is looked up by other places: another text there is another escalation."""


def spoiled(name: str, text: str) -> tuple[Object, list[Object]]:
    """An escalation and its records with that text wherever any text is taken."""
    obj, records = objects(name)
    for path in open_places(name):
        put(obj, path, text)
    obj["spec"]["model"] = {"name": text, "version": text, "card": text, "lineage": text, "owners": [text]}
    for decision in obj["status"].get("decisions") or ():
        decision["by"] = text
    for reading in obj["spec"]["signal"].get("readings") or ():
        reading["evidence"] = text
    for record in records:
        for act in record["spec"].get("entries") or [record["spec"]]:
            for known in ("detail", "open"):
                for key in act.get(known) or {}:
                    if isinstance(act[known][key], str):
                        act[known][key] = text
            act["actor"] = text
    return obj, records


@given(name=st.sampled_from(list(MAKERS)), page=st.sampled_from(list(PAGES)), text=TEXTS)
def test_text_of_others_is_never_markup(name: str, page: str, text: str) -> None:
    assert tags(PAGES[page](*spoiled(name, text))) == harmless(name, page)


@cache
def harmless(name: str, page: str) -> list[tuple[str, tuple[str, ...]]]:
    """What a page is made of where others have written nothing of interest."""
    return tags(PAGES[page](*spoiled(name, "x")))


def tags(page: str) -> list[tuple[str, tuple[str, ...]]]:
    return checked(page).tags


def test_text_of_others_is_shown_as_it_is() -> None:
    """Escaped once, not twice, and without what would be invisible."""
    read = checked(page_of(*spoiled("contained", "x<b>&amp;\u202ex")))
    assert any("x<b>&amp;\\u202ex" in shown for shown in read.text)
    assert "\u202e" not in "".join(read.text)


@given(text=TEXTS)
def test_what_was_typed_is_never_markup(text: str) -> None:
    assert typed_in(text).tags == harmless_form().tags


def typed_in(words: str) -> Read:
    """A page with a form that comes back with these words in every field."""
    obj, records = objects("contained")
    form = {"action": "AcceptRisk", "option": "acceptrisk"}
    form |= dict.fromkeys(("rationale", "lessons", "until", "role"), words)
    steps = since(told(*spoiled("contained", words)), 0)
    return checked(page_of(obj, records, typed=Typed(form, words, steps), outcome=("ok", words)))


@cache
def harmless_form() -> Read:
    return typed_in("x")


@given(text=TEXTS)
def test_names_and_messages_are_never_markup(text: str) -> None:
    assert list(named(text)) == harmless_names()


@cache
def harmless_names() -> list[list[tuple[str, tuple[str, ...]]]]:
    return list(named("x"))


def named(words: str) -> Iterator[list[tuple[str, tuple[str, ...]]]]:
    """Every page but that of an escalation, with these words as names and messages."""
    me = DecidedBy(username=words or "x", groups=(words, words))
    values = common(who=visitor(me)) | {"settings": Settings("https://a.example", title=words)}
    yield tags(RENDERER.render("error.html", values | {"message": words, "typed": {"rationale": words}}))
    sign_in = {"visitor": None, "to": words, "kept": True, "message": words} | {
        "elsewhere": "https://a.example",
        "is_out": True,
    }
    yield tags(RENDERER.render("sign_in.html", values | sign_in))
    empty = {
        "cases": [],
        "number": 0,
        "query": words,
        "namespace": words,
        "asks": True,
        "state": state,
        "deleted": words,
    }
    yield tags(RENDERER.render("records.html", values | empty))
    waiting = {"mine": [], "others": [], "more": True, "asks": True, "pages": 2, "namespace": words}
    yield tags(RENDERER.render("waiting.html", values | waiting))
    obj = ladder_object()
    obj["spec"]["charter"]["scope"] = words
    obj["spec"]["tiers"][1]["remedies"] = [words]
    obj["status"]["conditions"][0]["message"] = words
    found = fleet.ladder(obj, date(2026, 11, 24))
    units = {"bias": words, "drift": words}
    roles = [stakeholder.role for stakeholder in found.spec.stakeholders] if found else []
    ladder = {"ladder": found, "units": units, "words": fleet.trigger_words, "holders": dict.fromkeys(roles, (words,))}
    yield tags(RENDERER.render("ladder.html", values | ladder))
    yield tags(RENDERER.render("ladders.html", values | {"ladders": [found], "asks": False, "namespace": ""}))
    signal = signal_object()
    signal["spec"]["model"] = {"name": words, "version": words}
    models = {"models": fleet.models([signal], []), "asks": False, "namespace": "", "tone_of": tone_of}
    yield tags(RENDERER.render("models.html", values | models))


LINKS = (
    "javascript:/alert(1)",
    "data:/text/html,x",
    "http://evil.example/",
    "https://user:secret@good.example/",
    "https://evil.example\\.good.example/",
    "s3://bucket/key",
    "https://evil.example/",
)


@pytest.mark.parametrize("url", [*LINKS, "https://good.example/card", "https://docs.good.example/card\"onclick='x'"])
def test_link_of_others_is_a_link_only_to_an_allowed_host(url: str) -> None:
    obj, records = spoiled("contained", "x")
    obj["spec"]["model"] |= {"card": url, "lineage": url}
    for reading in obj["spec"]["signal"]["readings"]:
        reading["evidence"] = url
    page = page_of(obj, records, settings=Settings("https://console.example", link_hosts=("good.example",)))
    read = checked(page)
    outside = [link for link in read.links if urlsplit(link).netloc]
    if url in LINKS:
        assert outside == []
        assert any(url in shown.replace("\\\\", "\\") for shown in read.text)
    else:
        assert outside == [url] * 3
        assert page.count('rel="noreferrer noopener nofollow"') == 3


# --- Filters ----------------------------------------------------------------------------------------------------------


def test_filters() -> None:
    assert upper_first("") == ""
    assert upper_first("model-risk") == "Model-risk"
    assert in_words("TierRaised") == "Tier raised"
    assert in_words("") == ""
    [notified] = [s for s in told(*objects("answered")).steps if s.event == "Notified"][:1]
    assert brief(notified).startswith(f"{notified.detail['role']} was notified over ")
    assert len(brief(notified)) < len(notified.message)
    assert brief(told(*objects("answered")).steps[0]) == told(*objects("answered")).steps[0].message


def test_times_are_said_in_utc_with_the_whole_time_for_machines() -> None:
    page = page_of(*objects("contained"))
    assert '<time datetime="2026-11-24T12:00:00Z" title="2026-11-24 12:00:00 UTC">12:00:00</time>' in page
    assert json.dumps(ME.username)[1:-1] in page
    assert at(0).isoformat() not in page
