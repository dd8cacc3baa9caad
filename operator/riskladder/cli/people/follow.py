"""Showing something once, or again whenever it has changed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rich.console import RenderableType

from riskladder.cli.options import Output
from riskladder.cli.output import complain, console, write_json
from riskladder.cli.people.session import Session, run_in_session
from riskladder.cluster.client import ApiError
from riskladder.cluster.connection import Access
from riskladder.cluster.resources import ESCALATIONS
from riskladder.people.answers import explain

T = TypeVar("T")

LOOK_EVERY = 30.0
"""Seconds after which to look again, though nothing has been heard: what the reader may do can have changed, too."""

LOOK_AT_MOST_EVERY = 0.2
"""Seconds between a change and the next look, so that a burst of changes is looked at once."""

WRITE_EVERY = 1.0
"""Seconds after which what was found may read otherwise, since time goes on."""

AGAIN_AFTER = 3.0
"""Seconds before asking again a cluster that did not answer."""

WIDE = 1000
"""Columns where no terminal sets a limit: one line stays one line, for grep and for email."""


def show(
    access: Access,
    namespace: str | None,
    look: Callable[[Session], Awaitable[T]],
    *,
    render: Callable[[T], RenderableType],
    facts: Callable[[T], Any],
    output: Output,
    watch: bool,
    is_over: Callable[[T], bool] = lambda found: False,
    everywhere: bool = False,
) -> None:
    """Look, and write what was found as a render or as JSON; with ``watch`` again on every change, until it is over."""

    async def work(session: Session) -> None:
        if not watch:
            _write(await look(session), None, render, facts, output, watch=watch)
            return
        changed = asyncio.Event()
        notice = asyncio.create_task(_notice(session, changed, everywhere=everywhere))
        try:
            await follow(session, changed)
        finally:
            notice.cancel()

    async def follow(session: Session, changed: asyncio.Event) -> None:
        written: Any = None
        while True:
            changed.clear()
            try:
                found = await look(session)
            except ApiError as error:
                if written is None:
                    raise
                complain(f"{explain(error)}; trying again")
                await asyncio.sleep(AGAIN_AFTER)
                continue
            looked = time.monotonic()
            while True:
                written = _write(found, written, render, facts, output, watch=watch)
                if is_over(found):
                    return
                with contextlib.suppress(TimeoutError):  # "in 12 min" becomes "in 11 min" without any change
                    await asyncio.wait_for(changed.wait(), WRITE_EVERY)
                if changed.is_set() or time.monotonic() > looked + LOOK_EVERY:
                    break
            await asyncio.sleep(LOOK_AT_MOST_EVERY)

    if watch and sys.stdin.isatty() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Inherited from a shell that ran something in the background; nothing but Ctrl-C ends a watch.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run_in_session(access, namespace, work)
    except KeyboardInterrupt:
        if not watch:
            raise


async def _notice(session: Session, changed: asyncio.Event, *, everywhere: bool) -> None:
    """Say so whenever an escalation changes; where watching is not allowed, every few seconds."""
    namespace = None if everywhere else session.namespace
    while True:
        try:
            _, since = await session.client.list_at(ESCALATIONS, namespace, limit=1)
            changed.set()
            async for kind, _ in session.client.watch(ESCALATIONS, namespace, since=since):
                if kind != "BOOKMARK":
                    changed.set()
        except ApiError:
            await asyncio.sleep(AGAIN_AFTER)
            changed.set()


def _write(
    found: T,
    before: Any,
    render: Callable[[T], RenderableType],
    facts: Callable[[T], Any],
    output: Output,
    *,
    watch: bool,
) -> Any:
    """Write it unless it reads as before; what it reads."""
    if output is Output.JSON:
        now = facts(found)
        if now != before:
            write_json(now)
        return now
    to = console()
    if not to.is_terminal:
        to.width = WIDE
    with to.capture() as captured:
        to.print(render(found), crop=False)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"
    if text != before:
        if watch and to.is_terminal:
            to.clear()
        elif before is not None:
            to.print()
        to.file.write(text)
        to.file.flush()
    return text
