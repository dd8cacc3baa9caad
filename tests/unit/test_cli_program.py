"""The program: each command is imported when it is called, so that none waits for what another needs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from riskladder.cli.main import Riskladder, app

MODULES = {where.partition(":")[0] for where in Riskladder.subcommands.values()}


def imported(*words: str) -> set[str]:
    """What a new interpreter has imported once the program has ended."""
    program = (
        "import sys, json, contextlib\n"
        "from riskladder.cli.main import app\n"
        "with contextlib.redirect_stdout(sys.stderr), contextlib.suppress(SystemExit):\n"
        f"    app({[*words]!r})\n"
        "print(json.dumps(sorted(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_what_evaluates_cel_brings_no_terminal_along(tmp_path: Path) -> None:
    """The library imports its own command line: a REPL that nobody here starts, in the memory of every operator."""
    (tmp_path / "ladder.yaml").write_text("")
    found = imported("lint", str(tmp_path))
    assert "riskladder.api.cel_eval" in found
    assert not found & {"prompt_toolkit", "pygments.lexers"}


@pytest.mark.parametrize("words", [("--version",), ("no-such-command",), ("--no-such-option",)])
def test_what_needs_no_command_imports_none(words: tuple[str, ...]) -> None:
    found = imported(*words)
    assert not found & MODULES
    assert not found & {"riskladder.api.base", "aiohttp", "kubernetes", "kopf"}


@pytest.mark.parametrize(
    ("words", "module"),
    [(("signal", "--help"), "riskladder.cli.signal"), (("bind", "test", "-h"), "riskladder.cli.bind")],
)
def test_a_command_imports_no_other(words: tuple[str, ...], module: str) -> None:
    assert imported(*words) & MODULES == {module}


@pytest.mark.parametrize("name", Riskladder.subcommands)
def test_every_command_says_what_it_does(name: str) -> None:
    command = get_command(app).commands[name]  # type: ignore[attr-defined]
    assert command.name == name
    assert command.get_short_help_str(1_000) in " ".join(CliRunner().invoke(app, ["--help"]).output.split())


def test_there_is_no_command_of_another_name() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert commands.get("no-such-command") is None
    assert "no-such-command" not in commands
    said = CliRunner().invoke(app, ["resum"])
    assert said.exit_code == 2
    assert "Did you mean 'resume'?" in said.output
