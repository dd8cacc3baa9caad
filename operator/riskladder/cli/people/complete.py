"""Completion of names in the shell: best effort, quick, and silent when there is no answer."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Awaitable, Callable, Iterable

import typer

from riskladder.cli.people.case import Unreadable, read_case
from riskladder.cli.source import own_namespace
from riskladder.cluster.client import Client
from riskladder.cluster.connection import Access, connect
from riskladder.cluster.resources import ESCALATIONS, LADDERS

PATIENCE = 2.0
"""Seconds after which there is no answer: somebody is waiting at a prompt."""

Look = Callable[[Client, str], Awaitable[Iterable[str]]]


def escalations(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the escalations of the namespace."""

    async def look(client: Client, namespace: str) -> Iterable[str]:
        return [obj["metadata"]["name"] for obj in await client.list(ESCALATIONS, namespace)]

    return _quietly(ctx, incomplete, look)


def ladders(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of the ladders of the namespace."""

    async def look(client: Client, namespace: str) -> Iterable[str]:
        return [obj["metadata"]["name"] for obj in await client.list(LADDERS, namespace)]

    return _quietly(ctx, incomplete, look)


def roles(ctx: typer.Context, incomplete: str) -> list[str]:
    """The roles that the escalation named so far knows; without one, those of all ladders of the namespace."""
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
