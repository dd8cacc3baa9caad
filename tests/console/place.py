"""People of service accounts with roles, models that escalate, and a console as a process, on a real control plane."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

import yaml

from riskladder.cluster import resources
from riskladder.cluster.authority import may_i
from riskladder.cluster.client import Client, Object
from riskladder.cluster.connection import Access, connect
from riskladder.cluster.resources import Resource
from riskladder.console.sessions import Credential
from riskladder.console.visitor import client_of
from tests.console.scriptless import Browser, Page
from tests.integration.operator_process import OperatorProcess
from tests.integration.people import ACCOUNTS, BINDINGS, EXAMPLE, ROLES, PeopleNamespace, Receivers, quorum
from tests.integration.world import INDICATOR, TestNamespace, condition, ladder, signal
from tests.patience import PATIENCE

PEOPLE = {"ann": "legal", "eve": "executive", "max": "model-risk", "olga": "model-risk", "sam": "security"}
"""Who holds which role. Nobody but them may do anything; olga owns models."""

OPENED = re.compile(r"http://127\.0\.0\.1:\d+/start\?key=\S+")


class ConsoleProcess(OperatorProcess):
    """``riskladder console``."""

    command: ClassVar[str] = "console"


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def console(kubeconfig: Path, directory: Path, *arguments: str) -> Iterator[tuple[ConsoleProcess, str]]:
    """A console for many, and where it is."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    where = ("--url", url, "--listen", f"127.0.0.1:{port}")
    with ConsoleProcess(kubeconfig, directory, *where, *arguments) as process:
        process.wait_for("started")
        yield process, url


class ConsolePlace(TestNamespace):
    """A namespace in which people hold roles by their service accounts."""

    def __init__(self, client: Client, namespace: str, kubeconfig: Path) -> None:
        super().__init__(client, namespace)
        self.kubeconfig = kubeconfig
        self.tokens: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        for document in yaml.safe_load_all(EXAMPLE.read_text()):
            document["metadata"]["namespace"] = self.namespace
            resource = ROLES if document["kind"] == ROLES.kind else BINDINGS
            await self.client.apply(resource, self.namespace, document, manager="tests")
        for person, role in PEOPLE.items():
            await self.account(person, "stakeholders-read", f"stakeholder-{role}")
        await self.account("nora")
        for person, role in PEOPLE.items():
            await self.until(lambda p=person, r=role: self._holds(p, r), f"the role of {person}")  # type: ignore[misc]
        await PeopleNamespace(self.client, self.namespace, {}, Receivers()).decisions_count()
        await self.apply(
            ladder(
                stakeholders=quorum(*dict.fromkeys(PEOPLE.values()), "data-science"),
                indicators=[{"name": INDICATOR}],
                tiers=[
                    {
                        "name": "high",
                        "triggers": [{"indicator": INDICATOR, "above": 0.20}],
                        "notify": [{"role": "legal"}],
                        "acknowledge": {"within": "30m"},
                        "decide": {"within": "2h", "quorum": quorum("legal", "executive")},
                        "resume": {"quorum": quorum("legal", "model-risk")},
                        "acceptRisk": {"atMost": "30d"},
                        "containment": {"action": "ScaleToZero", "lock": False},
                    }
                ],
            )
        )
        await self.ladder_ready()
        return self

    async def account(self, person: str, *roles: str) -> None:
        """A service account that is bound to these Roles, and a token of it."""
        await self.client.create(ACCOUNTS, self.namespace, {"metadata": {"name": person}})
        subject = {"kind": "ServiceAccount", "name": person, "namespace": self.namespace}
        for role in roles:
            reference = {"apiGroup": ROLES.group, "kind": "Role", "name": role}
            body = {"metadata": {"name": f"{person}-{role}"}, "roleRef": reference, "subjects": [subject]}
            await self.client.create(BINDINGS, self.namespace, body)
        self.tokens[person] = await self.token(person)

    async def token(self, person: str) -> str:
        """A token by the TokenRequest API."""
        path = ACCOUNTS.path(self.namespace, person, "token")
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        answer = await self.client.request("POST", path, verb="create", resource="serviceaccounts/token", body=body)
        return str(answer["status"]["token"])

    async def _holds(self, person: str, role: str) -> bool:
        connection = await connect(Access(str(self.kubeconfig)), agent="tests", anonymous=True)
        try:
            client = client_of(connection, Credential(self.tokens[person]))
            return bool(await may_i(client, self.namespace, ["comment"], [role]))
        finally:
            await connection.close()

    def username(self, person: str) -> str:
        return f"system:serviceaccount:{self.namespace}:{person}"

    async def escalated(self, target: str, **changes: Any) -> str:
        """A model that was stopped; the name of its escalation."""
        await self.serve_without_waiting(target)
        await self.apply(signal(target, target, 0.3, **changes))
        found = await self.escalation_says(target, "Contained", "True")
        return str(found["metadata"]["name"])

    async def decisions(self, escalation: str) -> list[Object]:
        found = await self.client.list(resources.DECISIONS, self.namespace)
        return [d for d in found if d["spec"]["escalation"] == escalation]

    async def decided(self, escalation: str) -> list[str]:
        """What was decided, and whether it counts."""
        found = await self.decisions(escalation)
        return sorted(f"{d['spec']['action']} {condition(d, 'Accepted')['status']}" for d in found)

    def page(self, escalation: str) -> str:
        return f"/escalations/{self.namespace}/{escalation}"

    @asynccontextmanager
    async def browser(self, url: str, person: str = "") -> AsyncIterator[Browser]:
        """A browser, signed in as somebody."""
        async with Browser(url) as browser:
            if person:
                page = await browser.sign_in(self.tokens[person])
                assert page.status == 200, page.words
            yield browser

    async def opened(self, browser: Browser, escalation: str) -> Page:
        """The page of an escalation about which the operator has nothing more to write."""
        await self.settled(escalation)
        page = await browser.get(self.page(escalation))
        assert page.status == 200, page.words
        return page

    async def settled(self, escalation: str) -> None:
        """Wait until everything that happened is on record: two equal looks in a row."""
        before = ""

        async def check() -> bool:
            nonlocal before
            found = await self.get(resources.ESCALATIONS, escalation)
            now, before = found["metadata"]["resourceVersion"], found["metadata"]["resourceVersion"]
            await asyncio.sleep(0.3)
            again = await self.get(resources.ESCALATIONS, escalation)
            return bool(now == again["metadata"]["resourceVersion"])

        await self.until(check, f"{escalation} to be quiet")


def link_of(process: ConsoleProcess) -> str:
    """The link that a console for one person has printed."""
    found = OPENED.findall(process.log.read_text(errors="replace"))
    return str(found[0]) if found else ""


async def local_link(process: ConsoleProcess) -> str:
    """The same, once it is there."""
    async with asyncio.timeout(PATIENCE):
        while not (found := link_of(process)):
            assert process.process.poll() is None, process.log.read_text(errors="replace")
            await asyncio.sleep(0.03)
    return found


__all__ = ["BINDINGS", "ConsolePlace", "ConsoleProcess", "Resource", "console", "free_port", "local_link"]
