"""The parts of the demo that need no cluster: its receiver, its ladder, and how it shows things."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import aiohttp
import pytest
from rich.console import Console
from typer.testing import CliRunner

from demo import other_clients
from demo.__main__ import app
from demo.ending import Ending
from demo.inbox import HOST, KEY, NETWORK, Inbox
from demo.install import InstallError
from demo.other_clients import OtherClients
from demo.people import PEOPLE, notify_over
from demo.run import Demo, End
from demo.scenario import Options
from demo.scene import is_out_of_service
from demo.stage import Stage
from riskladder.api.ladder import Channel, EscalationLadderSpec
from riskladder.api.reasons import Reason
from riskladder.api.validation import validate
from riskladder.cluster.authority import LOCK, LOCK_NAMES
from riskladder.cluster.client import Client, NotFound, Object
from riskladder.cluster.resources import Resource
from riskladder.notify.egress import Egress, IPNetwork
from riskladder.notify.notifier import Notifier
from riskladder.policy.quorum import resume_quorum
from tests.people import LADDER
from tests.unit.notify_support import LOOPBACK, notice


async def test_what_the_operator_sends_is_taken_once() -> None:
    networks: list[IPNetwork] = [LOOPBACK]
    assert str(LOOPBACK) == NETWORK
    notifier = Notifier(Egress([HOST], networks))
    async with Inbox() as inbox:
        channel = Channel.model_validate(inbox.channel())
        credential = inbox.secret_manifest()["stringData"][KEY]
        for _ in range(2):
            await notifier.send(channel, credential, notice(), attempted_at=datetime.now(UTC))
        message = await inbox.message("legal", Reason.NOTIFIED, 1)
        assert await inbox.message("executive", Reason.NOTIFIED, 0.01) is None
    await notifier.close()
    assert message is not None
    assert message.data["text"].startswith("credit-scorer (Deployment credit-scorer) is in tier high: ")


async def test_what_others_send_is_not_taken() -> None:
    async with Inbox() as inbox, aiohttp.ClientSession() as session, session.post(inbox.url, json={}) as answer:
        assert answer.status == 401


async def test_message_that_comes_later_is_waited_for() -> None:
    notifier = Notifier(Egress([HOST], [LOOPBACK]))
    async with Inbox() as inbox:
        waiting = asyncio.create_task(inbox.message("legal", Reason.NOTIFIED, 5))
        await asyncio.sleep(0)
        channel = Channel.model_validate(inbox.channel())
        await notifier.send(channel, inbox.secret, notice(about="Notified"), attempted_at=datetime.now(UTC))
        assert await waiting is not None
    await notifier.close()


def test_ladder_of_the_demo_is_valid_and_asks_those_who_play() -> None:
    ladder = {"apiVersion": LADDER["apiVersion"], "kind": LADDER["kind"], "metadata": {"name": "x", "namespace": "y"}}
    document = ladder | {"spec": EscalationLadderSpec.model_validate(LADDER["spec"]).to_api()}
    inbox = Inbox()
    inbox.url = "http://127.0.0.1:9/riskladder"
    notify_over(document, inbox)
    assert validate("EscalationLadder", document, unknown_fields=True) == []
    spec = EscalationLadderSpec.model_validate(document["spec"])
    roles = {person.role for person in PEOPLE}
    assert {s.role for s in spec.stakeholders} == roles
    assert {member.role for member in resume_quorum(spec.tiers[-1])} <= roles
    assert not spec.tiers[-1].clocks


def staged(monkeypatch: pytest.MonkeyPatch) -> tuple[Stage, io.StringIO]:
    """A stage, and what is written on it."""
    stage, written = Stage(), io.StringIO()
    monkeypatch.setattr(stage, "_console", Console(file=written, width=40, highlight=False))
    return stage, written


def test_text_of_others_is_quoted_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, written = staged(monkeypatch)
    stage.quote("title", "one [bold]line[/bold] \x1b[31m" + "x" * 60 + "\n\nlast")
    assert written.getvalue().splitlines() == [
        "          ╭─ title",
        "          │ one [bold]line[/bold] \\x1b[31m" + "x" * 60,
        "          │",
        "          │ last",
        "          ╰─",
    ]


@pytest.mark.parametrize("width", [60, 80, 100])
def test_prose_is_wrapped_between_words_and_commands_stay_whole(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    stage, written = Stage(), io.StringIO()
    to = Console(file=written, width=width, force_terminal=True, color_system=None, highlight=False)
    monkeypatch.setattr(stage, "_console", to)
    names = [f"population_stability_index_{number}" for number in range(12)]
    command = f"kubectl riskladder resume credit-scorer-3f9a1c2b -n {'models' * 12} --rationale 'fixed'"
    stage.say(f"The monitor reports: {', '.join(names)}")
    stage.detail(f"the [bold]record[/bold] says: {', '.join(names)}")
    stage.quote("title", f"It reads {', '.join(names)}\n    {command}\n\nlast")
    stage.command(command)
    lines = written.getvalue().splitlines()
    assert re.match(r" {3}\d\.\d s  The monitor reports: ", lines[0])
    assert any(line.startswith("          the record says: ") for line in lines)
    assert sum(not line.strip() for line in lines) == 0
    assert all(len(line) <= width for line in lines if "kubectl" not in line), lines
    assert sum(command in line for line in lines) == 2
    for name in names:
        assert sum(f"{name}," in line or line.endswith(name) for line in lines) == 3, name


async def test_what_takes_long_is_said_to_be_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.stage.BEAT", 0.01)
    stage, lines, before = Stage(), asyncio.Queue[str](), asyncio.all_tasks()
    monkeypatch.setattr(stage, "detail", lines.put_nowait)
    async with stage.progress("cooking [tea]"):
        assert await lines.get() == "[dim]… cooking \\[tea], 0 s so far[/dim]"
        await lines.get()
    assert asyncio.all_tasks() <= before, "nothing is said afterwards"


async def nothing(*_: object) -> None:
    pass


@pytest.mark.parametrize("throwaway", [False, True])
async def test_cluster_that_ends_with_the_demo_is_not_cleaned_up(
    monkeypatch: pytest.MonkeyPatch, throwaway: bool
) -> None:
    """Removing what was installed takes longer than anything else in the demo."""
    removed: list[bool] = []

    async def fails(*_: object, **__: object) -> None:
        raise InstallError("there is no cluster")

    async def clean_up(_: Demo, fresh: bool) -> None:
        removed.append(fresh)

    monkeypatch.setattr(Demo, "_exists", nothing)
    monkeypatch.setattr(Demo, "_clean_up", clean_up)
    monkeypatch.setattr("asyncio.to_thread", fails)
    demo = Demo(cast(Client, None), Path(), Path(), "demo", Options(), End(throwaway=throwaway), Ending())
    with pytest.raises(InstallError):
        await demo.run()
    assert removed == ([] if throwaway else [True])


def test_short_demo_has_no_lock_to_show() -> None:
    refused = CliRunner().invoke(app, ["--short", "--lock"])
    assert refused.exit_code == 2
    assert "--short leaves out what --lock shows" in " ".join(refused.output.replace("│", " ").split())


# --- The lock ---------------------------------------------------------------------------------------------------------

DENIED = (
    'Error from server (Forbidden): deployments.apps "credit-scorer" is forbidden: ValidatingAdmissionPolicy '
    "'riskladder-lock' with binding 'riskladder-lock' denied request: "
)
REASON = "Deployment credit-scorer cannot have more than 0 replicas, and 3 are asked for: it is held by Escalation x"
ADVICE = "It is restored by a decision: kubectl riskladder show x -n models says whose it is"


class Cluster:
    """What the lock's part of the demo asks for: its binding, the contained models, and kubectl."""

    def __init__(self, *, held: str = "models") -> None:
        self.bindings = {n: {"metadata": {"name": n, "uid": "1"}, "spec": {"a": 1}} for n in (LOCK, LOCK_NAMES)}
        self.held = held
        self.commands: list[str] = []
        self.answer: str | InstallError = ""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Object:
        if name not in self.bindings:
            raise NotFound(404, "NotFound", "", verb="get", resource=resource.title, where=name)
        return self.bindings[name]

    async def create(self, resource: Resource, namespace: str | None, body: Object) -> Object:
        self.bindings[body["metadata"]["name"]] = body
        return body

    async def list(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> list[Object]:
        assert labels == other_clients.LABEL
        return [{"metadata": {"namespace": self.held, "name": "x"}}]

    def kubectl(self, kubeconfig: Path, *arguments: str, given: str | None = None) -> str:
        self.commands.append(" ".join(arguments))
        if isinstance(self.answer, InstallError):
            raise self.answer
        return self.answer


def clients_of_the_demo(monkeypatch: pytest.MonkeyPatch, cluster: Cluster) -> tuple[OtherClients, io.StringIO]:
    stage, written = staged(monkeypatch)
    monkeypatch.setattr(other_clients, "kubectl", cluster.kubectl)
    return OtherClients(stage, cast("Client", cluster), Path("admin.kubeconfig"), Path(), "models"), written


@pytest.mark.parametrize(
    ("summarise", "expected"),
    [
        (str, f"{DENIED}{REASON} (tier high). {ADVICE}"),
        (other_clients.reason_of, f"refused: {REASON} (tier high). {ADVICE}"),
        (other_clients.briefly, f"refused: {REASON} (tier high)"),
    ],
)
async def test_refusal_is_shown_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, summarise: Callable[[str], str], expected: str
) -> None:
    cluster = Cluster()
    command = "-n models scale deployment/credit-scorer --replicas=3"
    cluster.answer = InstallError(f"kubectl {command}: {DENIED}{REASON} (tier high). {ADVICE}")
    those, written = clients_of_the_demo(monkeypatch, cluster)
    assert not await those.attempt(*other_clients.SCALE, summarise=summarise)
    assert cluster.commands == [command]
    assert written.getvalue().splitlines() == [
        "          admin $ kubectl scale deployment/credit-scorer --replicas=3",
        f"            {expected}",
    ]


async def test_what_is_taken_is_shown_and_what_fails_otherwise_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    cluster.answer = "deployment.apps/[b]scaled[/b]\n"
    those, written = clients_of_the_demo(monkeypatch, cluster)
    assert await those.attempt("scale", who="gitops", shown="kubectl [x]")
    assert written.getvalue().splitlines() == [
        "          gitops $ kubectl [x]",
        "            deployment.apps/[b]scaled[/b]",
    ]
    cluster.answer = InstallError("kubectl scale: connection refused")
    with pytest.raises(InstallError, match="connection refused"):
        await those.attempt("scale")


async def test_lock_that_holds_others_is_not_broken_for_a_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster(held="production")
    those, written = clients_of_the_demo(monkeypatch, cluster)
    await those.break_glass("x")
    assert cluster.commands == []
    assert "left out: it holds 1 other model(s) on this cluster" in written.getvalue()


async def test_lock_is_reinstated_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    those, _ = clients_of_the_demo(monkeypatch, cluster)

    def broken(kubeconfig: Path, *arguments: str, given: str | None = None) -> str:
        cluster.bindings.clear()
        raise InstallError("kubectl: interrupted")

    monkeypatch.setattr(other_clients, "kubectl", broken)
    with pytest.raises(InstallError, match="interrupted"):
        await those.break_glass("x")
    assert cluster.bindings == {n: {"metadata": {"name": n}, "spec": {"a": 1}} for n in (LOCK, LOCK_NAMES)}


def test_lock_is_shown_on_a_model_that_was_scaled_to_zero() -> None:
    result = CliRunner().invoke(app, ["--lock", "--action", "Rollback"])
    assert result.exit_code == 2
    assert "--lock is about a model that was scaled to zero" in result.output


def test_options_of_the_demo_are_checked_before_a_cluster_is_started() -> None:
    """Each target of the Makefile that starts a cluster for the demo has the demo look at its options first."""
    for code, options in (
        (2, ["--bogus"]),
        (2, ["--action", "Isolate"]),
        (2, ["--short", "--lock"]),
        (0, ["--short"]),
        (0, ["--on-term", "ignore"]),
    ):
        result = CliRunner().invoke(app, ["--check-options", *options], env={"KUBECONFIG": "/nonexistent"})
        assert result.exit_code == code, (options, result.output)
    recipes = (Path(__file__).parents[2] / "Makefile").read_text().splitlines()
    started = [number for number, line in enumerate(recipes) if "-m tests.cluster run" in line and "-m demo" in line]
    assert len(started) == 5
    for number in started:
        module, _, own = recipes[number].partition(" -- $(PY) -m ")[2].partition(" ")
        assert recipes[number - 1] == f"\t@$(PY) -m {module} --check-options {own}"


@pytest.mark.parametrize(
    ("conditions", "is_out"),
    [
        ({"ready": True, "serving": True, "terminating": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, False),
        ({"ready": False, "serving": False, "terminating": True}, True),
        ({"ready": False}, True),
        ({}, False),
    ],
)
def test_model_is_out_of_service_once_no_pod_serves_and_not_when_none_is_ready(
    conditions: dict[str, bool], is_out: bool
) -> None:
    """A pod that ignores SIGTERM answers until its grace period is over, though it is not ready."""

    def listing(conditions: dict[str, bool]) -> Object:
        return {"endpoints": [{"targetRef": {"kind": "Pod", "name": "a"}, "conditions": conditions}]}

    before = listing({"ready": True, "serving": True})
    assert is_out_of_service(before, listing(conditions)) is is_out
    assert is_out_of_service(before, {"endpoints": []})
