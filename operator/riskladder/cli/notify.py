"""``riskladder notify test``: a harmless message through every channel of a ladder, before one is needed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import secrets
import shlex
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.text import Text

from riskladder.api.labels import CHANNELS_SECRET
from riskladder.api.ladder import INCIDENTS, Channel, ChannelType, EscalationLadderSpec
from riskladder.cli.layout import Rows
from riskladder.cli.options import NotifyHost, NotifyNetwork, Output, OutputOption
from riskladder.cli.output import console, count, fail, plain, write_json
from riskladder.cli.people import options
from riskladder.cli.people.options import As, AsGroup, Context, Kubeconfig, Namespace, access_of
from riskladder.cli.people.send import described
from riskladder.cli.people.session import Session, run_in_session
from riskladder.cli.program import group
from riskladder.cluster.client import Client, NotFound
from riskladder.cluster.resources import LADDERS, SECRETS
from riskladder.notify.credentials import credential_of
from riskladder.notify.egress import Egress
from riskladder.notify.errors import Undeliverable
from riskladder.notify.http import TOTAL_SECONDS
from riskladder.notify.notice import Notice, Option, Severity, Status
from riskladder.notify.notifier import Notifier
from riskladder.people.text import listed

NOT_DELIVERED = 1
"""Exit code where a channel did not work."""

ABOUT, TIER = "Test", "TEST"

AT_ONCE = 16
"""The most messages under way at the same time."""

LONGEST = 60.0
"""Seconds after which no channel is waited for any longer, however many stand before it."""

IMAGE_PATH = "/opt/riskladder/bin/"
"""Where the program is in the image."""

notify = group("notify", "Try the channels of a ladder.")


@dataclass(frozen=True, slots=True)
class Trial:
    """A channel, and the roles that it reaches."""

    roles: tuple[str, ...]
    channel: Channel


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message."""

    trial: Trial
    milliseconds: int
    error: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return f"failed: {self.error}" if self.error else f"delivered in {self.milliseconds} ms"


@notify.callback()
def _group() -> None:
    """Try the channels of a ladder."""


@notify.command("test")
def try_channels(
    ladder: Annotated[
        str, typer.Argument(help="Name of the EscalationLadder.", show_default=False, autocompletion=options.ladders)
    ],
    role: Annotated[
        str | None, typer.Option(help="Only the channels of this role. Default: all of the ladder.", show_default=False)
    ] = None,
    namespace: Namespace = None,
    notify_host: NotifyHost = None,
    notify_network: NotifyNetwork = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds for one exchange.", min=0.1, max=LONGEST, metavar="SECONDS")
    ] = TOTAL_SECONDS,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    as_user: As = None,
    as_group: AsGroup = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Send a message marked as TEST through each channel of a ladder.

    It is sent from where this command runs, with your own permission to read the
    Secret riskladder-channels, not by the operator: other networks and other
    options (--notify-host, --notify-network) may hold there.

    Exit code 0: all were delivered; 1: one was not; 2: it could not be tried.

    \b
    riskladder notify test credit-scoring -n models --notify-host mail.example.com
    """
    try:
        egress = Egress(notify_host or (), tuple(ip_network(network) for network in notify_network or ()))
    except ValueError as error:
        fail(f"--notify-host, --notify-network: {error}")

    async def work(session: Session) -> tuple[str, list[Outcome]]:
        found = trials(await _ladder(session, ladder), role)
        if isinstance(found, str):
            fail(found)
        values = (
            await credentials(session.client, session.namespace)
            if any(trial.channel.secret_key for trial in found)
            else None
        )
        notices = Notices(session.namespace, ladder)
        return session.namespace, await send_all(found, values, notices, egress, timeout)

    where, outcomes = run_in_session(access_of(kubeconfig, context, as_user, as_group), namespace, work)
    if output is Output.JSON:
        write_json(as_json(outcomes, where, ladder))
    else:
        show(outcomes, where, ladder)
    if any(outcome.error for outcome in outcomes):
        raise typer.Exit(NOT_DELIVERED)


# --- What to send -----------------------------------------------------------------------------------------------------


def trials(ladder: EscalationLadderSpec, role: str | None) -> list[Trial] | str:
    """Return the channels to try, each once, or why there is none."""
    reached: dict[str, list[str]] = {channel.name: [] for channel in ladder.channels}
    for stakeholder in ladder.stakeholders:
        for name in stakeholder.notify:
            reached.setdefault(name, []).append(stakeholder.role)
    known = [stakeholder.role for stakeholder in ladder.stakeholders]
    if role is not None and role not in known:
        return f"the ladder has no role {role}; its roles: {listed(known) or 'none'}"
    chosen = [c for c in ladder.channels if role is None or role in reached[c.name]]
    if not chosen:
        who = f"role {role}" if role else "the ladder"
        return f"{who} has no channel: it is notified through Events only"
    return [Trial(tuple(reached[c.name]) if role is None else (role,), c) for c in chosen]


@dataclass(frozen=True, slots=True)
class Notices:
    """The messages of one test."""

    namespace: str
    ladder: str
    uid: str = field(default_factory=lambda: secrets.token_hex(8))
    """Every test has an identity of its own, so that no receiver takes it for one that it knows."""

    def compose(self, trial: Trial, status: Status, at: datetime) -> Notice:
        """Return a message that says of itself that it is a test."""
        role, name = next(iter(trial.roles), "nobody"), f"test-{self.uid}"
        command = _command(self.namespace, self.ladder)
        return Notice(
            key=f"test/{trial.channel.name}/{status}",
            dedup=f"{self.namespace}/{name}/{role}/{trial.channel.name}",
            status=status,
            severity=Severity.INFO,
            drill=False,
            headline=f"TEST of channel {trial.channel.name} of ladder {self.ladder}: nothing has happened, and nothing "
            "is to be done",
            about=ABOUT,
            at=at,
            namespace=self.namespace,
            escalation=name,
            uid=f"{self.uid}/{trial.channel.name}",
            ladder=self.ladder,
            tier=TIER,
            role=role,
            target="none (a test)",
            model="",
            model_version="",
            observed_at=at,
            readings=(),
            judgement=None,
            remedies=(),
            options=(Option("Nothing. This is how the test was sent", "nobody is asked for anything", command),),
            due_at=None,
            deadline="",
            asked=(),
            references=(),
        )


# --- Sending ----------------------------------------------------------------------------------------------------------


async def send_all(
    found: Sequence[Trial],
    values: Mapping[str, str] | None,
    notices: Notices,
    egress: Egress,
    timeout: float,  # noqa: ASYNC109 - of one exchange, enforced by the notifier
    *,
    pagerduty_url: str | None = None,
) -> list[Outcome]:
    """Send to all channels at the same time; each succeeds or fails by itself."""
    notifier = Notifier(egress, timeout=timeout, at_once=AT_ONCE, pagerduty_url=pagerduty_url)
    try:
        return list(await asyncio.gather(*(_send(notifier, trial, values, notices) for trial in found)))
    finally:
        await notifier.close()


async def _send(notifier: Notifier, trial: Trial, values: Mapping[str, str] | None, notices: Notices) -> Outcome:
    channel, begun = trial.channel, time.monotonic()

    def took() -> int:
        return round((time.monotonic() - begun) * 1000)

    # A webhook's receiver may keep incidents as well: it gets the end only.
    first = Status.RESOLVED if channel.type is ChannelType.WEBHOOK else Status.FIRING
    now = datetime.now(UTC)
    delivered: int | None = None
    try:
        async with asyncio.timeout(LONGEST):
            credential = credential_of(channel, values)
            await notifier.send(channel, credential, notices.compose(trial, first, now), attempted_at=now, ends_at=None)
            delivered = took()
            if channel.type in INCIDENTS:  # what the test opens there it resolves at once
                end = notices.compose(trial, Status.RESOLVED, now)
                await notifier.send(channel, credential, end, attempted_at=datetime.now(UTC))
    except TimeoutError:
        error = f"not done within {LONGEST:g} s"
    except Undeliverable as undeliverable:
        error = str(undeliverable) or "not delivered"
    except Exception as unexpected:  # whatever it says may quote a secret
        error = f"{type(unexpected).__name__} while sending"
    else:
        return Outcome(trial, delivered)
    open_still = "opened, and not resolved: " if delivered is not None else ""
    return Outcome(trial, took(), open_still + error)


async def _ladder(session: Session, name: str) -> EscalationLadderSpec:
    try:
        obj = await session.client.get(LADDERS, session.namespace, name)
    except NotFound as error:
        if f'"{name}" not found' not in error.message:
            raise  # not the object is missing, but its kind
        fail(f"there is no ladder {name} in namespace {session.namespace}")
    try:
        return EscalationLadderSpec.model_validate(obj.get("spec") or {})
    except ValidationError as error:
        fail(f"ladder {name} is not valid: {described(error)}")


async def credentials(client: Client, namespace: str) -> dict[str, str] | None:
    """Return what the Secret of the channels holds, as text; ``None`` where there is no Secret.

    Raises:
        ApiError: It could not be read.
    """
    try:
        stored: dict[str, Any] = await client.get(SECRETS, namespace, CHANNELS_SECRET)
    except NotFound:
        return None
    values = {}
    for name, encoded in (stored.get("data") or {}).items():
        with contextlib.suppress(ValueError):  # not text: no channel can use it
            values[name] = base64.b64decode(encoded).decode()
    return values


# --- What became of it ------------------------------------------------------------------------------------------------


def sender() -> str:
    """Return where the messages were sent from."""
    return f"pod {socket.gethostname()}" if "KUBERNETES_SERVICE_HOST" in os.environ else "this machine"


def show(outcomes: Iterable[Outcome], namespace: str, ladder: str) -> None:
    """Print one line for each channel, and what the test does not say."""
    found = list(outcomes)
    rows = [
        (
            Text(plain(", ".join(outcome.trial.roles)) or "-"),
            Text(plain(outcome.trial.channel.name), "bold"),
            Text(outcome.trial.channel.type),
            Text(plain(outcome.text), "red" if outcome.error else "green"),
        )
        for outcome in found
    ]
    table = Rows(("ROLE", "CHANNEL", "TYPE", "RESULT"), rows, wraps=("ROLE", "RESULT"))
    to = console()
    to.print(table, crop=False)
    failed = sum(bool(outcome.error) for outcome in found)
    to.print(Text(f"\n{count(len(found), 'channel')} tried from {sender()}, {failed or 'none'} failed."))
    if sender() == "this machine":
        command = f"kubectl exec -n riskladder-system deploy/riskladder -- {IMAGE_PATH}{_command(namespace, ladder)}"
        to.print(
            Text(
                "The operator sends from its pod, where another network and its own options --notify-host and "
                "--notify-network hold. To try it from there, add the options that the operator was given to this:"
                f"\n{command}",
                "dim",
            ),
            soft_wrap=not to.is_terminal,
        )


def _command(namespace: str, ladder: str) -> str:
    return f"riskladder notify test {shlex.quote(ladder)} -n {shlex.quote(namespace)}"


def as_json(outcomes: Iterable[Outcome], namespace: str, ladder: str) -> dict[str, Any]:
    """Return the same for programs."""
    return {
        "namespace": namespace,
        "ladder": ladder,
        "sentFrom": sender(),
        "channels": [
            {
                "channel": outcome.trial.channel.name,
                "type": str(outcome.trial.channel.type),
                "roles": list(outcome.trial.roles),
                "delivered": not outcome.error,
                "milliseconds": outcome.milliseconds,
                "error": outcome.error or None,
            }
            for outcome in outcomes
        ],
    }
