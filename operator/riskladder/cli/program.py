"""The program as a whole: says what is wrong with its arguments in one line, as it says everything else."""

from __future__ import annotations

import sys
from collections import UserDict
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from riskladder.cli.output import complain

PLUGIN = "kubectl riskladder"
"""The name by which people call this where kubectl runs it as a plugin."""

OWN_COMPLETION = ("install_completion", "show_completion")
"""Options that write completion for a shell. Of a plugin, the shell completes kubectl, and asks the plugin."""


class Group(TyperGroup):
    """Commands of which the list says the whole of what each does."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the list of commands, and cut nothing."""
        found = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, one.get_short_help_str(limit=1_000)) for name, one in found if one and not one.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


class Subcommands(UserDict[str, Any]):
    """The commands by name, each imported when it is asked for: what one needs takes no other's time to start.

    Made from the module of each and what it is called there: ``module:function``, or a Typer for a group.
    """

    def __getitem__(self, name: str) -> Any:
        """Return a command."""
        found = self.data[name]
        if isinstance(found, str):
            module, _, attribute = found.partition(":")
            found = self.data[name] = _command(name, getattr(import_module(module), attribute))
        return found


def group(name: str, about: str) -> typer.Typer:
    """Return a command that has commands of its own, without any yet."""
    return typer.Typer(
        name=name, cls=Group, help=about, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )


def _command(name: str, found: Any) -> Any:
    """Return a command of the program that a function, or a Typer, makes."""
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name)(found)
    return typer.main.get_command(alone)


class Program(Group):
    """All commands."""

    subcommands: ClassVar[dict[str, str]] = {}
    """By name, the module and what it is called there."""

    def __init__(self, **options: Any) -> None:
        """Take the options of a group of Typer."""
        super().__init__(**options)
        self.commands = Subcommands(self.subcommands)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands, without importing one."""
        return list(self.commands)

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
        if prog_name is None and Path(sys.argv[0]).name.startswith("kubectl-"):
            prog_name = PLUGIN
        if prog_name == PLUGIN:
            self.params = [parameter for parameter in self.params if parameter.name not in OWN_COMPLETION]
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
