"""The pages in a real browser, with its scripts: forms come from here, nothing breaks the policy, pages follow."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.cluster.launcher import dying_with_us
from tests.console.place import ConsolePlace
from tests.patience import PATIENCE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here")


class Tab:
    """One page of a browser, over the protocol of its developer tools."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._numbers = socket, itertools.count(1)
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            said = await self._socket.receive_json(timeout=30)
            if said.get("method") == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])
            if said.get("id") == number:
                assert "error" not in said, said
                found: dict[str, Any] = said["result"]
                return found

    async def run(self, script: str) -> Any:
        """The value of an expression, in the page."""
        said = await self.call("Runtime.evaluate", expression=script, returnByValue=True)
        return said["result"].get("value")

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def until(self, script: str) -> Any:
        """Wait until an expression is true; its value."""
        deadline = asyncio.get_running_loop().time() + 30
        while not (found := await self.run(f"document.readyState === 'complete' && ({script})")):
            if asyncio.get_running_loop().time() > deadline:
                shown = await self.run("location.href + ': ' + document.body.innerText")
                raise AssertionError(f"waited in vain for {script} on {shown}; {self.complaints}")
            await asyncio.sleep(0.05)
        return found


@asynccontextmanager
async def tab(directory: Path) -> AsyncIterator[Tab]:
    """A browser with an empty profile, which ends with the test."""
    assert CHROMIUM is not None
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
    command = dying_with_us([CHROMIUM, *options, f"--user-data-dir={directory}", "about:blank"])
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet)
    try:
        file = directory / "DevToolsActivePort"
        async with asyncio.timeout(PATIENCE):
            while not file.exists() or len(file.read_text().split()) < 2:
                assert process.returncode is None, "the browser has ended"
                await asyncio.sleep(0.05)
        port = file.read_text().split()[0]
        async with aiohttp.ClientSession() as session:
            async with session.put(f"http://127.0.0.1:{port}/json/new?about:blank") as answer:
                page = await answer.json()
            async with session.ws_connect(page["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                found = Tab(socket)
                await found.call("Log.enable")
                yield found
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_counsel_signs_in_and_decides_in_a_real_browser(place: ConsolePlace, url: str, tmp_path: Path) -> None:
    name = await place.escalated("chromium-1")
    await place.settled(name)
    async with tab(tmp_path) as browser:
        await browser.open(url + place.page(name))
        await browser.until("location.pathname === '/sign-in' && document.querySelector('#credential') !== null")
        token = json.dumps(place.tokens["ann"])
        await browser.run(f"document.querySelector('#credential').value = {token}")
        await browser.run("document.querySelector('form[action=\"/sign-in/token\"] button').click()")
        await browser.until(f"location.pathname === {json.dumps(place.page(name))}")
        form = "document.querySelector('input[name=action][value=Acknowledge]').form"
        await browser.run(f"{form}.querySelector('textarea').value = 'in a browser'; {form}.requestSubmit()")
        await browser.until("document.body.innerText.includes('Accepted: ')")
        async with place.browser(url, "max") as max_:
            await max_.decide(await max_.get(place.page(name)), "Comment", "seen by the other page")
        await browser.until(
            "[...document.querySelectorAll('[data-live=timeline] .steps li')]"
            ".some(step => step.innerText.includes('seen by the other page'))"
        )
        await browser.run("document.querySelector('form[action=\"/sign-out\"]').requestSubmit()")
        await browser.until("document.body.innerText.includes('You are signed out here.')")
        assert browser.complaints == []
    assert await place.decided(name) == ["Acknowledge True", "Comment True"]
