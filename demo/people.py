"""The people of the demo: who they are, what they may do, and what they decide, with the commands that people have.

Nobody logs in: the administrator who runs the demo acts as each of them (impersonation), so that admission and the
operator see different people, with the permissions that RBAC gives them and no others.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import typer
import yaml
from rich.markup import escape

from demo.inbox import Inbox
from demo.install import InstallError
from demo.stage import Stage
from riskladder.api.decision import DecisionAction, Resolution
from riskladder.cli.people.decide import decide_at
from riskladder.cli.people.options import How
from riskladder.cli.people.session import Session
from riskladder.cluster import resources
from riskladder.cluster.authority import proof
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.cluster.connection import connect

RBAC = "docs/examples/people-rbac.yaml"
READ = "stakeholders-read"
"""The Role in it that lets all of them read escalations."""

ROLES = resources.Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = resources.Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
CONFIGMAPS = resources.Resource("", "v1", "configmaps", "ConfigMap")


class Person(NamedTuple):
    """Somebody who decides."""

    name: str
    role: str


LEGAL, EXECUTIVE, MODEL_RISK = Person("ann", "legal"), Person("eve", "executive"), Person("max", "model-risk")
OWNER = Person("olga", "model-risk")
"""Owns the model, and has the same permissions as max."""

PEOPLE = (LEGAL, EXECUTIVE, MODEL_RISK, OWNER)


class LedgerEntry(NamedTuple):
    """What somebody decides, and the command for it."""

    action: DecisionAction
    rationale: str
    word: str
    resolution: Resolution | None = None


def notify_over(ladder: Object, inbox: Inbox) -> None:
    """Have a ladder notify the roles of the demo over its inbox, and drop what the demo has no means for."""
    spec = ladder["spec"]
    roles = list(dict.fromkeys(person.role for person in PEOPLE))
    spec.pop("sourceContacts", None)
    spec["channels"] = [inbox.channel()]
    spec["stakeholders"] = [{"role": role, "notify": [spec["channels"][0]["name"]]} for role in roles]
    for tier in spec["tiers"]:
        tier["notify"] = [{"role": role} for role in roles]
        tier.pop("clocks", None)
        tier.get("resume", {}).pop("steps", None)
        tier.get("containment", {}).pop("alsoSuspend", None)


class People:
    """They act in one namespace."""

    def __init__(self, stage: Stage, client: Client, kubeconfig: Path, checkout: Path, namespace: str) -> None:
        """Prepare.

        Args:
            stage: Where it is shown.
            client: The administrator's.
            kubeconfig: The administrator's.
            checkout: Where the example of their permissions is.
            namespace: Where they act.
        """
        self._stage = stage
        self._client = client
        self._kubeconfig = kubeconfig
        self._checkout = checkout
        self._namespace = namespace

    async def admit(self, manager: str) -> None:
        """Give each of them what the example gives, and nothing else; all of it goes with the namespace."""
        for document in self._rules():
            resource = ROLES if document["kind"] == ROLES.kind else ROLE_BINDINGS
            document["metadata"]["namespace"] = self._namespace
            await self._client.apply(resource, self._namespace, document, manager=manager)

    def _rules(self) -> list[Object]:
        file = self._checkout / RBAC
        if not file.is_file():
            raise InstallError(f"{file} is missing: run the demo from a checkout, or give --checkout")
        members = {f"stakeholder-{role}": [p for p in PEOPLE if p.role == role] for role in {p.role for p in PEOPLE}}
        members[READ] = list(PEOPLE)
        found = [d for d in yaml.safe_load_all(file.read_text()) if d["metadata"]["name"] in members]
        for document in found:
            if document["kind"] == ROLE_BINDINGS.kind:
                document["subjects"] = _users(members[document["metadata"]["name"]])
        return found

    async def until_they_count(self, ladder: str) -> None:
        """Wait until decisions made from now on count: they do some seconds after the admission policy was changed."""

        async def counted() -> bool:
            obj = await self._client.get(resources.LADDERS, self._namespace, ladder)
            conditions = (obj.get("status") or {}).get("conditions") or ()
            return any(c["type"] == "DecisionsCount" and c["status"] == "True" for c in conditions)

        async def in_force() -> bool:
            found = await proof(self._client)
            return found.since is not None and await self._server_time() > f"{found.since:%Y-%m-%dT%H:%M:%SZ}"

        async def readable() -> bool:
            for person in PEOPLE:
                async with self._desk(person) as session:
                    try:
                        await session.client.list(resources.ESCALATIONS, self._namespace)
                    except Forbidden:
                        return False
            return True

        await self._stage.until("the ladder's condition DecisionsCount", counted)
        await self._stage.until("the admission policy to have in_force", in_force)
        await self._stage.until("the people's permissions", readable)

    async def _server_time(self) -> str:
        """Return the time by which the API server would date a decision made now."""
        answer = await self._client.request(
            "POST",
            CONFIGMAPS.path(self._namespace),
            verb="create",
            resource=CONFIGMAPS.title,
            body={"apiVersion": "v1", "kind": CONFIGMAPS.kind, "metadata": {"generateName": "time-"}},
            params={"dryRun": "All"},
        )
        return str(answer["metadata"]["creationTimestamp"])

    async def decide(self, person: Person, act: LedgerEntry, escalation: str, *, refused: bool = False) -> None:
        """Decide as somebody, by the very command that they would type, and show what it prints.

        Raises:
            InstallError: It was answered otherwise than expected.
        """
        option = f" --resolution {act.resolution}" if act.resolution else ""
        self._stage.command(
            f"[dim]{person.name} $[/dim] "
            + escape(f'kubectl riskladder {act.word} {escalation}{option} -m "{act.rationale}"')
        )
        further: Mapping[str, Any] = {"resolution": act.resolution} if act.resolution else {}
        printed, code = io.StringIO(), 0
        async with self._desk(person) as session:
            case = await session.case(escalation)
            with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
                try:
                    await decide_at(
                        session, How(yes=True), case, act.action, None, act.rationale, lambda case, now: further
                    )
                except typer.Exit as end:
                    code = end.exit_code
        for line in printed.getvalue().splitlines():
            style = "red" if line.startswith("error:") else "green" if line.startswith("Accepted") else ""
            self._stage.detail(f"  [{style}]{escape(line)}[/{style}]" if style else f"  {escape(line)}")
        if code != (1 if refused else 0):
            raise InstallError(f"{person.name}'s {act.action} was answered with code {code}: {printed.getvalue()}")

    @contextlib.asynccontextmanager
    async def _desk(self, person: Person) -> AsyncIterator[Session]:
        """Open a connection on which the administrator acts as somebody."""
        connection = await connect(str(self._kubeconfig), namespace=self._namespace, agent="demo")
        try:
            connection.session.headers["Impersonate-User"] = person.name
            yield Session(connection, Client(connection), self._namespace)
        finally:
            await connection.close()


def _users(people: Any) -> Sequence[Object]:
    return [{"apiGroup": ROLES.group, "kind": "User", "name": person.name} for person in people]
