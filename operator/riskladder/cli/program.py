"""The program as a whole: says what is wrong with its arguments in one line, as it says everything else."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import typer
from typer.core import TyperGroup

from riskladder.cli.output import complain


class Program(TyperGroup):
    """All commands."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command that the arguments name; as a program, unless it is not to end the process."""
        run = partial(
            super().main, args, prog_name, complete_var, False, windows_expand_args=windows_expand_args, **extra
        )
        if not standalone_mode:
            return run()
        try:
            code = run()
        except typer.Abort:
            typer.echo("Aborted.", err=True)
            sys.exit(1)
        except Exception as error:
            context, say = getattr(error, "ctx", None), getattr(error, "format_message", None)
            if say is None:
                raise
            message = str(say()).strip().rstrip(".")
            if context is None or not message:  # nothing was given at all, which asks for help
                error.show()  # type: ignore[attr-defined]
            else:
                complain(f"{message}: see {context.command_path} --help")
            sys.exit(getattr(error, "exit_code", 2))
        sys.exit(code if isinstance(code, int) else 0)
