"""The parts of the demo that need no cluster: its receiver, its ladder, and how it shows things."""

from __future__ import annotations

import asyncio
import io
from datetime import UTC, datetime

import aiohttp
import pytest
from rich.console import Console

from riskladder.api.ladder import Channel, EscalationLadderSpec
from riskladder.api.reasons import Reason
from riskladder.api.validation import validate
from riskladder.cli.demo_inbox import HOST, KEY, NETWORK, Inbox
from riskladder.cli.demo_people import PEOPLE, told_by
from riskladder.cli.demo_stage import Stage
from riskladder.notify.courier import Courier
from riskladder.notify.egress import Egress, IPNetwork
from riskladder.policy.quorum import resume_quorum
from tests.people import LADDER
from tests.unit.notify_support import LOOPBACK, notice


async def test_what_the_operator_sends_is_taken_once() -> None:
    networks: list[IPNetwork] = [LOOPBACK]
    assert str(LOOPBACK) == NETWORK
    courier = Courier(Egress([HOST], networks))
    async with Inbox() as inbox:
        channel = Channel.model_validate(inbox.channel())
        credential = inbox.secret_manifest()["stringData"][KEY]
        for _ in range(2):
            await courier.send(channel, credential, notice(), attempted_at=datetime.now(UTC))
        message = await inbox.message("legal", Reason.NOTIFIED, 1)
        assert await inbox.message("executive", Reason.NOTIFIED, 0.01) is None
    await courier.close()
    assert message is not None
    assert message.data["text"].startswith("credit-scorer (Deployment credit-scorer) is in tier high: ")


async def test_what_others_send_is_not_taken() -> None:
    async with Inbox() as inbox, aiohttp.ClientSession() as session, session.post(inbox.url, json={}) as answer:
        assert answer.status == 401


async def test_message_that_comes_later_is_waited_for() -> None:
    courier = Courier(Egress([HOST], [LOOPBACK]))
    async with Inbox() as inbox:
        waiting = asyncio.create_task(inbox.message("legal", Reason.NOTIFIED, 5))
        await asyncio.sleep(0)
        channel = Channel.model_validate(inbox.channel())
        await courier.send(channel, inbox.secret, notice(about="Notified"), attempted_at=datetime.now(UTC))
        assert await waiting is not None
    await courier.close()


def test_ladder_of_the_demo_is_valid_and_asks_those_who_play() -> None:
    ladder = {"apiVersion": LADDER["apiVersion"], "kind": LADDER["kind"], "metadata": {"name": "x", "namespace": "y"}}
    document = ladder | {"spec": EscalationLadderSpec.model_validate(LADDER["spec"]).to_api()}
    inbox = Inbox()
    inbox.url = "http://127.0.0.1:9/riskladder"
    told_by(document, inbox)
    assert validate("EscalationLadder", document, unknown_fields=True) == []
    spec = EscalationLadderSpec.model_validate(document["spec"])
    roles = {person.role for person in PEOPLE}
    assert {s.role for s in spec.stakeholders} == roles
    assert {member.role for member in resume_quorum(spec.tiers[-1])} <= roles
    assert not spec.tiers[-1].clocks


def test_text_of_others_is_quoted_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    written = io.StringIO()
    monkeypatch.setattr(stage, "_console", Console(file=written, width=40, highlight=False))
    stage.quote("title", "one [bold]line[/bold] \x1b[31m" + "x" * 60 + "\n\nlast")
    assert written.getvalue().splitlines() == [
        "          ╭─ title",
        "          │ one [bold]line[/bold] \\x1b[31m" + "x" * 60,
        "          │",
        "          │ last",
        "          ╰─",
    ]
