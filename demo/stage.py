"""What all parts of the demo share: its clock, how it speaks, and how it waits."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from demo.install import InstallError
from riskladder.cli.layout import Hanging, wrapped
from riskladder.cli.output import plain
from riskladder.cluster.client import Client, Object
from riskladder.cluster.resources import Resource

PATIENCE = 60.0
"""Seconds to wait for any one step."""

POLL = 0.05
"""Seconds between two looks at something that has no watch."""

BEAT = 3.0
"""Seconds after which something that is still under way is said to be."""

INDENT = " " * 10


class Stage:
    """Where the demo is shown."""

    def __init__(self) -> None:
        """Start the clock."""
        self._console = Console(highlight=False)
        self._started = time.monotonic()

    def say(self, text: str, style: str = "bold") -> None:
        """Print what happens now, with the time since the start."""
        clock = f"{time.monotonic() - self._started:6.1f} s"
        self._print(Text(text, style), Text(clock, "dim"))

    def detail(self, markup: str) -> None:
        """Print a line below it, on a terminal wrapped between words."""
        self._print(Text.from_markup(markup), Text())

    def command(self, markup: str) -> None:
        """Print a command below it, which stays on one line, so that it can be copied."""
        self._console.print(INDENT + markup, soft_wrap=True)

    def quote(self, title: str, text: str) -> None:
        """Print somebody else's text, in a frame without a right side: commands in it stay whole, and can be copied."""
        self.detail(f"[cyan]╭─[/cyan] [bold]{escape(plain(title))}[/bold]")
        room = self._console.width - len(INDENT) - len("│ ")
        for line in text.splitlines():
            is_prose = self._console.is_terminal and not line.lstrip().startswith("kubectl ")
            parts = wrapped(Text(plain(line)), room, room) if is_prose and line else [Text(plain(line))]
            for part in parts:
                self.command(f"[cyan]│[/cyan] {escape(part.plain)}".rstrip())
        self.detail("[cyan]╰─[/cyan]")

    def _print(self, text: Text, label: Text) -> None:
        if self._console.is_terminal:
            self._console.print(Hanging(text, len(INDENT), label))
        else:
            gap = " " * (len(INDENT) - len(label.plain))
            self._console.print(Text.assemble(label, gap, text), soft_wrap=True)

    async def until(self, what: str, check: Callable[[], Awaitable[bool]], patience: float = PATIENCE) -> None:
        """Return when it is so.

        Raises:
            InstallError: It did not become so in time.
        """
        deadline = time.monotonic() + patience
        async with self.progress(f"waiting for {what}"):
            while not await check():
                if time.monotonic() > deadline:
                    raise InstallError(f"waited {patience:g} s in vain for {what}")
                await asyncio.sleep(POLL)

    @contextlib.asynccontextmanager
    async def progress(self, what: str) -> AsyncIterator[None]:
        """Say that something is still under way, should it take long: a spinner, or lines if it is no terminal."""

        async def say() -> None:
            await asyncio.sleep(BEAT)
            if self._console.is_terminal:
                with self._console.status(f"[dim]{escape(what)} …[/dim]"):
                    await asyncio.Event().wait()
            for beats in itertools.count(1):
                self.detail(f"[dim]… {escape(what)}, {beats * BEAT:.0f} s so far[/dim]")
                await asyncio.sleep(BEAT)

        saying = asyncio.create_task(say())
        try:
            yield
        finally:
            saying.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await saying


class Milestone:
    """When a watched object is first seen in some state, by the monotonic clock."""

    def __init__(self, reached: Callable[[Object, Object], bool]) -> None:
        """Compare each version of the object with the first one seen."""
        self._reached = reached
        self.open = asyncio.Event()
        """Set when the watch is open and the object as it stands has been seen."""
        self.at = 0.0

    async def watch(self, client: Client, resource: Resource, namespace: str) -> None:
        """Watch the one object of the namespace until the state is reached."""
        first: Object | None = None
        async for _, obj in client.watch(resource, namespace):
            if first is None:
                first = obj
                self.open.set()
            elif self._reached(first, obj):
                self.at = time.monotonic()
                return
