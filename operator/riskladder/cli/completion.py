"""`kubectl_complete-riskladder`: what kubectl calls to complete the words after `kubectl riskladder`."""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import sys

from riskladder.cli.program import PLUGIN

VARIABLE = "_KUBECTL_RISKLADDER_COMPLETE"
FILES, NO_FILES = ":0", ":4"
"""How kubectl is to go on: with the names of files where nothing else was found, or without."""


def main() -> None:
    """Print what may stand in the place of the last argument, one to a line, each with its help after a tab."""
    words = sys.argv[1:]
    os.environ[VARIABLE] = "complete_fish"  # fish takes the same lines as kubectl does
    os.environ["_TYPER_COMPLETE_FISH_ACTION"] = "get-args"
    os.environ["_TYPER_COMPLETE_ARGS"] = shlex.join(["riskladder", *words])

    from riskladder.cli.main import app

    with contextlib.redirect_stdout(io.StringIO()) as found, contextlib.suppress(SystemExit):
        app(prog_name=PLUGIN, complete_var=VARIABLE)
    lines = found.getvalue().splitlines()
    is_file = not any(lines) or lines == words[-1:]  # a file is completed by what is there already
    print("\n".join([FILES] if is_file else [*lines, NO_FILES]))
