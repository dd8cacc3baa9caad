"""Consoles of the people of the demo: each shows what that person may see, and decides in their name."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from urllib.parse import quote

from demo.install import InstallError
from demo.people import Person
from tests.cluster.launcher import dying_with_us

PATIENCE = 20.0
"""Seconds in which a console has to have started."""

_LINK = re.compile(rb"^Open (http://\S+)")


@contextlib.asynccontextmanager
async def consoles(kubeconfig: Path, people: Iterable[Person], page: str) -> AsyncIterator[dict[Person, str]]:
    """Run a console for each person; yield the link that opens a page as them, once.

    Args:
        kubeconfig: The administrator's, who acts as each of them.
        people: Who gets one.
        page: Path of the page.

    Raises:
        InstallError: One did not start.
    """
    links: dict[Person, str] = {}
    async with contextlib.AsyncExitStack() as stack:
        for person in people:
            links[person] = f"{await stack.enter_async_context(_console(kubeconfig, person))}&to={quote(page)}"
        yield links


@contextlib.asynccontextmanager
async def _console(kubeconfig: Path, person: Person) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "riskladder", "console", "--kubeconfig", str(kubeconfig), "--as", person.name]
    process = await asyncio.create_subprocess_exec(
        *dying_with_us(command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        async with asyncio.timeout(PATIENCE):
            found = _LINK.match(await process.stdout.readline())
        if found is None:
            raise InstallError(f"the console of {person.name} did not start")
        yield found[1].decode()
    except TimeoutError as error:
        raise InstallError(f"the console of {person.name} did not start within {PATIENCE:g} s") from error
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
