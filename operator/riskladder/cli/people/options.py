"""Options that these commands share, so that they are called, explained and completed alike."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import io
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from riskladder.cluster.client import Client
from riskladder.cluster.connection import Access, connect, own_namespace
from riskladder.cluster.resources import ESCALATIONS, LADDERS
from riskladder.people.case import Unreadable, read_case

PATIENCE = 2.0
"""Seconds after which there is no answer: somebody is waiting at a prompt."""

Look = Callable[[Client, str], Awaitable[Iterable[str]]]


def escalations(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the escalations of the namespace."""

    async def look(client: Client, namespace: str) -> Iterable[str]:
        return [obj["metadata"]["name"] for obj in await client.list(ESCALATIONS, namespace)]

    return _quietly(ctx, incomplete, look)


def ladders(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of the ladders of the namespace."""

    async def look(client: Client, namespace: str) -> Iterable[str]:
        return [obj["metadata"]["name"] for obj in await client.list(LADDERS, namespace)]

    return _quietly(ctx, incomplete, look)


def roles(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the roles that the escalation named so far knows; without one, those of all ladders of the namespace."""
    left = (argument for argument in ctx.args if not argument.startswith("-"))  # where --role has no value yet
    name = ctx.params.get("name") or next(left, None)

    async def look(client: Client, namespace: str) -> Iterable[str]:
        if name and "/" not in name:
            with contextlib.suppress(Unreadable):
                return read_case(await client.get(ESCALATIONS, namespace, name)).roles
        found: list[str] = []
        for ladder in await client.list(LADDERS, namespace):
            found += [s["role"] for s in ladder["spec"].get("stakeholders") or ()]
        return found

    return _quietly(ctx, incomplete, look)


def _quietly(ctx: typer.Context, incomplete: str, look: Look) -> list[str]:
    async def run() -> Iterable[str]:
        given = ctx.params
        access = Access(
            given.get("kubeconfig"),
            given.get("context"),
            given.get("as_user") or "",
            tuple(given.get("as_group") or ()),
        )
        async with asyncio.timeout(PATIENCE):
            connection = await connect(access, agent="completion")
            try:
                namespace = given.get("namespace") or own_namespace(access, connection)
                return await look(Client(connection), namespace)
            finally:
                await connection.close()

    with contextlib.suppress(Exception), contextlib.redirect_stderr(io.StringIO()):
        return sorted({name for name in asyncio.run(run()) if name.startswith(incomplete)})
    return []


class Form(StrEnum):
    """How the result of sending something is written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


Name = Annotated[str, typer.Argument(help="Name of the Escalation.", show_default=False, autocompletion=escalations)]
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="Namespace. Default: the context's own.")]
Kubeconfig = Annotated[
    str | None,
    typer.Option(
        "--kubeconfig",
        help="Path of a kubeconfig. Default: $KUBECONFIG, else ~/.kube/config (in a pod: its service account).",
    ),
]
Context = Annotated[str | None, typer.Option("--context", help="Context of the kubeconfig. Default: its current one.")]
As = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="Impersonate this user, as kubectl --as does; RBAC says who may.",
        show_default=False,
        metavar="USER",
    ),
]
AsGroup = Annotated[
    list[str] | None,
    typer.Option("--as-group", help="As a member of this group; repeatable.", show_default=False, metavar="GROUP"),
]
Role = Annotated[
    str | None,
    typer.Option(
        help="The stakeholder role in which you act. Default: the only one that you may use.",
        autocompletion=roles,
        show_default=False,
    ),
]
Rationale = Annotated[
    str | None,
    typer.Option("--rationale", "-m", help="Why; goes on record. Asked for on a terminal.", show_default=False),
]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again whenever something changes, until Ctrl-C.")]


def access_of(
    kubeconfig: str | None, context: str | None, as_user: str | None, as_group: Sequence[str] | None
) -> Access:
    """Return the credentials that these options select."""
    return Access(kubeconfig, context, as_user or "", tuple(as_group or ()))


@dataclass(frozen=True, slots=True)
class How:
    """How something is sent."""

    namespace: str | None = None
    kubeconfig: str | None = None
    context: str | None = None
    as_user: str | None = None
    as_group: Sequence[str] | None = None
    yes: bool = False
    wait: bool = True
    timeout: float = 30.0
    dry_run: bool = False
    decided_by: bool = True
    output: Form = Form.TABLE

    @property
    def decides(self) -> bool:
        """Whether the caller decides by it, and not whoever will apply a manifest."""
        return self.output is not Form.YAML and self.decided_by

    @property
    def access(self) -> Access:
        """With which credentials."""
        return access_of(self.kubeconfig, self.context, self.as_user, self.as_group)


_SHARED = {
    "namespace": Namespace,
    "kubeconfig": Kubeconfig,
    "context": Context,
    "as_user": As,
    "as_group": AsGroup,
    "yes": Annotated[
        bool,
        typer.Option(
            "--yes",
            "-y",
            help="Do not ask for confirmation, and send also what will be refused as things stand: without a terminal "
            "only a stop is sent then.",
        ),
    ],
    "wait": Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer, or only send.")],
    "timeout": Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0, metavar="SECONDS")],
    "dry_run": Annotated[
        bool, typer.Option("--dry-run", help="Ask the API server whether it would take it; nothing is stored.")
    ],
    "decided_by": Annotated[
        bool,
        typer.Option(
            "--decided-by/--no-decided-by",
            help="Write your identity into it. Leave it out if somebody else will apply the manifest, or the API "
            "server fills it in.",
        ),
    ],
    "output": Annotated[
        Form,
        typer.Option(
            "--output", "-o", help="table for people, json for programs; yaml prints the manifest and sends nothing."
        ),
    ],
}


def sends(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command all the options of ``How``; it gets them as its argument ``how``."""
    signature = inspect.signature(command, eval_str=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = [p.replace(kind=keyword) for p in signature.parameters.values() if p.name != "how"]
    defaults = How()
    shared = [
        inspect.Parameter(name, keyword, default=getattr(defaults, name), annotation=annotation)
        for name, annotation in _SHARED.items()
    ]

    @functools.wraps(command)
    def with_options(**given: object) -> None:
        how = {name: given.pop(name) for name in _SHARED}
        command(how=How(**how), **given)  # type: ignore[arg-type]

    with_options.__signature__ = signature.replace(parameters=[*own, *shared])  # type: ignore[attr-defined]
    return with_options
