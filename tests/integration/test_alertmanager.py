"""A real Alertmanager: what it makes of our alerts, and what its receivers get."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from riskladder.api.ladder import Channel
from riskladder.notify.notice import Notice
from riskladder.notify.notifier import Notifier
from tests.cluster.build import ensure_programs
from tests.cluster.ports import HOST, Ports
from tests.cluster.process import Component, Spawner
from tests.cluster.versions import ALERTMANAGER
from tests.conftest import progress
from tests.patience import PATIENCE
from tests.unit.notify_support import HERE, Peer, answering, notice

CONFIG = """
route:
  receiver: here
  group_by: ['...']
  group_wait: 100ms
  group_interval: 500ms
  repeat_interval: 1h
receivers:
- name: here
  webhook_configs:
  - url: {url}
    send_resolved: true
"""


QUIET = 2.0
"""Seconds in which one that must not come would have come: four group intervals."""


@pytest.fixture(scope="module")
def program(request: pytest.FixtureRequest) -> Path:
    return ensure_programs(ALERTMANAGER, progress(request.config)) / "alertmanager"


@pytest.fixture(scope="module")
def ports() -> Iterator[Ports]:
    claimed = Ports()
    yield claimed
    claimed.release()


@pytest.fixture
async def receiver() -> AsyncIterator[Peer]:
    async with Peer(answering(200)) as peer:
        yield peer


@pytest.fixture
async def url(program: Path, ports: Ports, receiver: Peer, tmp_path: Path) -> AsyncIterator[str]:
    """A running Alertmanager that notifies the receiver."""
    port = ports.claim()
    config = tmp_path / "alertmanager.yaml"
    config.write_text(CONFIG.format(url=receiver.url))
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.listen-address={HOST}:{port}",
        "--cluster.listen-address=",
    ]
    spawner = Spawner()
    component = Component(
        "alertmanager", command, log=tmp_path / "alertmanager.log", directory=tmp_path, spawner=spawner
    )
    component.start()
    try:
        base = f"http://{HOST}:{port}"
        await ready(base, component)
        yield base
    finally:
        component.stop(5)
        spawner.close()


async def ready(base: str, component: Component) -> None:
    deadline = time.monotonic() + PATIENCE
    async with aiohttp.ClientSession() as session:
        while True:
            component.check()
            try:
                async with session.get(f"{base}/-/ready") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            assert time.monotonic() < deadline, "not ready in time"
            await asyncio.sleep(0.1)


async def alerts(base: str) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/api/v2/alerts") as response:
        found: list[dict[str, Any]] = await response.json()
        return found


def notifications(receiver: Peer) -> list[tuple[str, dict[str, Any]]]:
    """The status and the alert of every notification that came."""
    bodies = [json.loads(got.body) for got in receiver.got]
    return [(alert["status"], alert) for body in bodies for alert in body["alerts"]]


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "nothing came in time"
        await asyncio.sleep(0.05)


async def deliver(base: str, *messages: Notice) -> None:
    notifier = Notifier(HERE)
    channel = Channel.model_validate({"name": "am", "type": "Alertmanager", "url": base})
    for message in messages:
        await notifier.send(channel, None, message, attempted_at=datetime.now(UTC))
    await notifier.close()


async def test_alert_fires_once_rises_and_is_resolved(url: str, receiver: Peer) -> None:
    at = datetime.now(UTC).replace(microsecond=0)
    await deliver(url, notice(at=at))
    await until(lambda: bool(notifications(receiver)))
    [(status, alert)] = notifications(receiver)
    assert status == "firing"
    assert alert["labels"]["alertname"] == "RiskladderEscalation"
    assert alert["labels"]["role"] == "legal"
    assert "demographic_parity_difference is 0.31" in alert["annotations"]["description"].splitlines()[0]
    assert datetime.fromisoformat(alert["startsAt"]) == at

    # The same again, as after a lost answer; then a reminder: one alert all along, no new message.
    await deliver(url, notice(at=at), notice(key="reminder", about="Reminded", at=datetime.now(UTC)))
    await asyncio.sleep(QUIET)
    assert len(notifications(receiver)) == 1

    # A higher tier is an alert of another severity, so that routes apply to it; that of the rung that was left ends.
    left = notice(key="left", about="RungLeft", at=datetime.now(UTC))
    await deliver(url, left, notice(key="rung-2", tier="critical", at=datetime.now(UTC)))
    await until(lambda: len(notifications(receiver)) > 2)
    assert sorted((status, a["labels"]["severity"]) for status, a in notifications(receiver)[1:]) == [
        ("firing", "critical"),
        ("resolved", "error"),
    ]
    [stored] = await alerts(url)
    assert stored["status"]["state"] == "active"

    over = notice(
        key="closed", tier="critical", about="Remediated", at=datetime.now(UTC), message="Closed as Remediated"
    )
    await deliver(url, over)
    await until(lambda: len(notifications(receiver)) > 3)
    status, alert = notifications(receiver)[-1]
    assert status == "resolved"
    assert alert["labels"] == stored["labels"]
    assert alert["annotations"]["summary"].endswith("Closed as Remediated")
    assert await alerts(url) == []


async def test_roles_and_escalations_are_alerts_of_their_own(url: str, receiver: Peer) -> None:
    now = datetime.now(UTC)
    await deliver(url, notice(at=now), notice(at=now, role="executive"), notice({"drill": True}, at=now))
    await until(lambda: len(notifications(receiver)) == 3)
    assert {(a["labels"]["role"], a["labels"]["drill"]) for _, a in notifications(receiver)} == {
        ("legal", "false"),
        ("executive", "false"),
        ("legal", "true"),
    }
    await deliver(url, notice(about="Remediated", at=datetime.now(UTC)))
    await until(lambda: len(notifications(receiver)) == 4)
    assert len(await alerts(url)) == 2


async def test_a_resolution_of_what_never_fired_notifies_nobody(url: str, receiver: Peer) -> None:
    await deliver(url, notice(about="Cleared", at=datetime.now(UTC)))
    await asyncio.sleep(QUIET)
    assert notifications(receiver) == []
