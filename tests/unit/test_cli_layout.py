"""At 80 columns no output for people splits a name: it could not be copied, or searched for."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console, RenderableType
from rich.text import Text
from typer.main import get_command
from typer.testing import CliRunner

from riskladder.api.chain import verify_chains
from riskladder.api.decision import DecidedBy
from riskladder.cli import verify
from riskladder.cli.layout import Hanging, Rows
from riskladder.cli.main import app
from riskladder.cli.people.details import details
from riskladder.cli.people.status import table
from riskladder.cluster.ledger import LedgerEntry
from riskladder.people.case import read_case
from riskladder.people.choices import choices
from riskladder.people.view import View
from tests.people import NOW, decided, escalation, notified
from tests.trails import ENTRIES, OPENED, chain
from tests.unit.test_cli_timeline import shown, timeline_from

LONG = "fraud-detection-transformer-production-eu-central-1-canary-b"
"""As long as names of Services, roles and people get: 63 characters at most."""

NAMES = st.text("abc-", min_size=1, max_size=63).map(lambda text: f"a{text}z"[:63])
WORDS = st.lists(NAMES, min_size=1, max_size=12)


def on_terminal(renderable: RenderableType, width: int = 80) -> str:
    to = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None, markup=False, emoji=False)
    to.print(renderable, crop=False)
    found: str = to.file.getvalue()  # type: ignore[attr-defined]
    return found


@given(NAMES, WORDS, st.integers(0, 40), st.integers(64, 120))
def test_every_word_that_fits_a_line_stays_whole_and_in_order(
    label: str, words: list[str], indent: int, width: int
) -> None:
    text = on_terminal(Hanging(Text(" ".join(words)), indent, Text(label)), width)
    assert text.split() == [label, *words]
    assert max(map(len, text.splitlines())) <= width


@given(st.lists(st.tuples(NAMES, NAMES, WORDS), min_size=1, max_size=4), st.integers(80, 200))
def test_every_cell_stays_whole(rows: list[tuple[str, str, list[str]]], width: int) -> None:
    cells = [(Text(one), Text(two), Text(" ".join(words))) for one, two, words in rows]
    text = on_terminal(Rows(("NAME", "TARGET", "WAITING ON"), cells, wraps=("WAITING ON",)), width)
    found = text.split()
    for one, two, words in rows:
        assert {one, two, *words} <= set(found)
    assert max(map(len, text.splitlines())) <= width


def test_word_wider_than_the_terminal_is_split_and_loses_nothing() -> None:
    text = on_terminal(Hanging(Text("x" * 300), 8, Text("Card")), 60)
    assert text.count("x") == 300
    assert max(map(len, text.splitlines())) <= 60


def renamed() -> dict[str, object]:
    raw = escalation(
        waitingOn=["executive", LONG],
        notifications=[notified(LONG, LONG)],
        decisions=[decided("Comment", LONG, LONG) | {"uid": "d1"}],
    )
    raw["metadata"] |= {"name": LONG, "namespace": LONG}
    raw["spec"]["target"]["name"] = LONG
    raw["spec"]["model"] |= {"name": LONG, "owners": [LONG]}
    return raw


@pytest.mark.parametrize("everywhere", [False, True])
def test_list_of_escalations_splits_no_name(everywhere: bool) -> None:
    text = on_terminal(table([read_case(renamed())], "x", NOW, everywhere=everywhere))
    assert {LONG, f"Deployment/{LONG}", "executive,"} <= set(text.split())


def test_page_of_an_escalation_splits_no_name() -> None:
    subject = read_case(renamed())
    text = on_terminal(
        details(View(subject, choices(subject, {("acknowledge", LONG)}, DecidedBy(username="ann"))), NOW)
    )
    pieces = re.findall(r"[a-z0-9-]*detection[a-z0-9-]*|[a-z0-9-]*canary[a-z0-9-]*", text)
    assert len(pieces) > 5
    assert set(pieces) == {LONG}


def test_verify_splits_no_name() -> None:
    to = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    verify.show(to, verify_chains(chain(escalation=LONG)))
    assert f"/{LONG}" in to.file.getvalue()  # type: ignore[attr-defined]


def test_timeline_splits_no_name() -> None:
    entry = LedgerEntry("Commented", "c", OPENED, LONG, {"message": f"seen by {LONG}", "role": LONG})
    text = shown(timeline_from(chain([*ENTRIES, entry])), 80)
    assert text.count(LONG) == 3


# --- Help -------------------------------------------------------------------------------------------------------------


def commands(group: Any, *before: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that call it."""
    yield before, group
    for name, one in getattr(group, "commands", {}).items():
        yield from commands(one, *before, name)


@pytest.mark.parametrize(
    ("words", "command"), [pytest.param(*one, id=" ".join(one[0])) for one in commands(get_command(app))]
)
def test_help_names_every_option_and_command_in_full_at_80_columns(words: tuple[str, ...], command: Any) -> None:
    shown = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80"}, terminal_width=80)
    assert shown.exit_code == 0
    assert not re.search(r"…|\.\.\.", re.sub(r"[]}]\.\.\.|['\"]…['\"]", "", shown.output)), "something is cut"
    prose = [line for line in shown.output.splitlines() if not re.match(r"  (kubectl|riskladder|curl) ", line)]
    assert max(map(len, prose)) <= 80, "only a command is never broken: it is there to be copied"
    for option in command.params:
        for name in (*option.opts, *option.secondary_opts) if option.param_type_name == "option" else ():
            assert name in shown.output.split() or f"{name}," in shown.output, name
    for name in getattr(command, "commands", {}):
        assert f"  {name}" in shown.output
