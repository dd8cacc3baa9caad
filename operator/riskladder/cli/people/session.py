"""The cluster as these commands need it: one connection, one namespace, the role, and one sentence for each failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import typer
import yaml

from riskladder.cli.output import complain, fail
from riskladder.cluster.authority import may_i
from riskladder.cluster.client import ApiError, Client, Forbidden, NotFound
from riskladder.cluster.connection import Access, Connection, ConnectionFailed, connect, own_namespace
from riskladder.cluster.resources import ESCALATIONS, Resource
from riskladder.people.answers import COULD_NOT_ASK, RBAC, REFUSED, explain, refusal, usable
from riskladder.people.case import Case, Object, Unreadable, read_case
from riskladder.people.text import listed

T = TypeVar("T")

FIELD_MANAGER = "kubectl-riskladder"
"""How managedFields name what people write with these commands; never the operator's own name."""

NOT_YET = "There can be a delay"
"""What an API server says (503) that has not got the schema of a kind yet; nothing was stored then."""

AGAIN_AFTER, PATIENCE = 0.25, 15.0
"""Seconds between two attempts then, and for how long; about four seconds were measured."""

POLL_FIRST, POLL_LONGEST = 0.1, 1.0
"""Seconds between two looks at an object that is waited for: short at first, then longer."""


@dataclass(frozen=True, slots=True)
class Session:
    """An open connection and the namespace that is meant."""

    connection: Connection
    client: Client
    namespace: str

    async def case(self, name: str, *, hint: str = "") -> Case:
        """Return an escalation by name; end the command where there is none.

        Args:
            name: Its name.
            hint: What else may have been meant, to be said where there is none.
        """
        try:
            return read_case(await self.client.get(ESCALATIONS, self.namespace, name))
        except NotFound as error:
            if f'"{name}" not found' not in error.message:
                raise  # not the object is missing, but its kind
            there = [c.name for c in await self.cases() if c.is_open]
            known = f"open there: {', '.join(there[:5])}{' …' if len(there) > 5 else ''}" if there else "none is open"
            elsewhere = await self._namespaces_with(name)
            if elsewhere:
                known = f"there is one in {listed(elsewhere, 'or')}: name it with -n"
            fail(f"there is no escalation {name} in namespace {self.namespace}; {known}{hint}")
        except Unreadable as error:
            fail(str(error))

    async def _namespaces_with(self, name: str) -> list[str]:
        """Return the namespaces with an escalation of that name; none where the caller may not look."""
        try:
            return [c.namespace for c in await self.cases(everywhere=True, quiet=True) if c.name == name]
        except ApiError:
            return []

    async def cases(self, *, everywhere: bool = False, quiet: bool = False) -> list[Case]:
        """Return all escalations; those of another version are left out, and named on stderr unless ``quiet``."""
        found = []
        for obj in await self.client.list(ESCALATIONS, None if everywhere else self.namespace):
            try:
                found.append(read_case(obj))
            except Unreadable as error:
                if not quiet:
                    complain(str(error))
        return found

    async def create(self, resource: Resource, body: Object, *, dry_run: bool = False) -> Object:
        """Create an object, or ask the API server whether it would take it; ends the command where it is refused.

        One that has just started, or has just learnt the kinds, refuses it for some seconds, and is asked again.
        """
        params = {"fieldManager": FIELD_MANAGER} | ({"dryRun": "All"} if dry_run else {})
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return await self.client.request(
                    "POST",
                    resource.path(self.namespace),
                    verb="create",
                    resource=resource.title,
                    body=body,
                    params=params,
                )
            except ApiError as error:
                if error.status != 503 or NOT_YET not in error.message or time.monotonic() > deadline:
                    end(*refusal(error, self.namespace))
            await asyncio.sleep(AGAIN_AFTER)

    async def until(self, look: Callable[[], Awaitable[T | None]], deadline: float) -> T | None:
        """Look again and again until there is something to see, or ``deadline`` (of ``time.monotonic``) has passed.

        What was sent stays sent: a cluster that does not answer for a moment is asked again.
        """
        pause = POLL_FIRST
        while True:
            found = None
            try:
                found = await look()
            except ApiError as error:
                if 0 < error.status < 500 and error.status != 429:
                    raise
            left = deadline - time.monotonic()
            if found is not None or left <= 0:
                return found
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.3, POLL_LONGEST)


def end(code: int, message: str) -> NoReturn:
    """Say in one sentence why it ends here."""
    complain(message)
    raise typer.Exit(code)


def run_in_session(access: Access, namespace: str | None, work: Callable[[Session], Awaitable[T]]) -> T:
    """Do some work with an open connection; whatever goes wrong is one sentence and exit code 2."""
    try:
        return asyncio.run(_run(access, namespace, work))
    except (ConnectionFailed, OSError, yaml.YAMLError) as error:
        end(COULD_NOT_ASK, str(error))
    except ApiError as error:
        end(COULD_NOT_ASK, _in_namespace(error, named=namespace is not None))


def _in_namespace(error: ApiError, *, named: bool) -> str:
    """Return why the cluster could not be asked; where a permission lacks, in which namespace, and how to name another.

    Args:
        error: What it answered.
        named: Whether the namespace was named.
    """
    rbac = RBAC.search(error.message) if isinstance(error, Forbidden) else None
    if rbac is None:
        return explain(error)
    where = f"in namespace {rbac['namespace']}" if rbac["namespace"] else "in all namespaces"
    advice = "" if named or not rbac["namespace"] else ", your context's own: -n names another one"
    return f"{rbac['user']} may not {rbac['verb']} {rbac['resource']} {where}{advice}"


async def _holds(session: Session, role: str, verbs: Sequence[str]) -> bool:
    """Return whether the caller holds a role, or nobody can say."""
    try:
        return bool(usable(await may_i(session.client, session.namespace, verbs, [role]), verbs, [role]))
    except ApiError:
        return True


async def _run(access: Access, namespace: str | None, work: Callable[[Session], Awaitable[T]]) -> T:
    connection = await connect(access, agent="cli")
    try:
        where = namespace or own_namespace(access, connection)
        return await work(Session(connection, Client(connection), where))
    finally:
        await connection.close()


async def choose_role(
    session: Session, given: str | None, verbs: Sequence[str], roles: Sequence[str], *, is_asked: bool = True
) -> str:
    """Return the role given, else the only one for which the caller has the verbs; else end the command.

    Args:
        session: The connection.
        given: The role that was named, if any.
        verbs: What is to be done in it.
        roles: Those of the policy.
        is_asked: Whether to ask beforehand if the caller holds the role given. The API server refuses it in any case;
            a stop does not wait for that, and what another person will send is not for the caller to hold.
    """
    words = listed(verbs)
    needed = f"that needs the verb{'s' if len(verbs) > 1 else ''} {words} on stakeholders.riskladder.dev"
    if given is not None:
        if roles and given not in roles:
            end(COULD_NOT_ASK, f"the policy has no role {given}, only {listed(roles)}")
        if is_asked and not await _holds(session, given, verbs):
            end(REFUSED, f"you may not {words} as {given}: {needed}/{given} in namespace {session.namespace}")
        return given
    found = usable(await may_i(session.client, session.namespace, verbs, roles), verbs, roles)
    if not found:
        end(
            REFUSED,
            f"you may not {words} in any role of this policy ({', '.join(roles) or 'it has none'}): {needed} in "
            f"namespace {session.namespace}",
        )
    if len(found) > 1:
        end(COULD_NOT_ASK, f"you may {words} as {listed(found, 'or')}: choose with --role")
    return found[0]
