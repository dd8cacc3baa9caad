"""What all parts of the demo share: its clock, how it speaks, and how it waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from rich.console import Console
from rich.markup import escape

from riskladder.cli.install import InstallError
from riskladder.cli.output import plain

PATIENCE = 60.0
"""Seconds to wait for any one step."""

POLL = 0.05
"""Seconds between two looks at something that has no watch."""

INDENT = " " * 10


class Stage:
    """Where the demo is shown."""

    def __init__(self) -> None:
        """Start the clock."""
        self._console = Console(highlight=False)
        self._started = time.monotonic()

    def say(self, text: str, style: str = "bold") -> None:
        """What happens now, with the time since the start."""
        clock = f"{time.monotonic() - self._started:6.1f} s"
        self._console.print(f"[dim]{clock}[/dim]  [{style}]{escape(text)}[/{style}]", soft_wrap=True)

    def detail(self, markup: str) -> None:
        """A line below it."""
        self._console.print(INDENT + markup, soft_wrap=True)

    def quote(self, title: str, text: str) -> None:
        """Somebody else's text, in a frame without a right side: its lines stay whole, and can be copied."""
        self.detail(f"[cyan]╭─[/cyan] [bold]{escape(plain(title))}[/bold]")
        for line in text.splitlines():
            self.detail(f"[cyan]│[/cyan] {escape(plain(line))}".rstrip())
        self.detail("[cyan]╰─[/cyan]")

    async def until(self, what: str, check: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> None:
        """Return when it is so.

        Raises:
            InstallError: It did not become so in time.
        """
        deadline = time.monotonic() + patience
        while not await check():
            if time.monotonic() > deadline:
                raise InstallError(f"waited {patience:g} s in vain for {what}")
            await asyncio.sleep(POLL)
