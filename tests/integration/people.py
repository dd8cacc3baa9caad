"""People of the integration tests: ladders that notify them over webhooks, what they receive, and what they decide.

The permissions are those of docs/examples/people-rbac.yaml. Every message is checked as its receiver would check it.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from riskladder.cluster import resources
from riskladder.cluster.authority import may_i, proof
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.cluster.connection import connect
from riskladder.cluster.resources import Resource
from tests.cluster.install import service_account_kubeconfig
from tests.integration.operator_process import ROOT, OperatorProcess
from tests.integration.world import INDICATOR, LADDER, TestNamespace, condition, ladder, signal

HOST = "127.0.0.1"
NOTIFY = ("--notify-host", HOST, "--notify-network", "127.0.0.0/8")
"""Options of an operator that may notify these people."""

KEY = "signing"
SIGNING_KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
SECRETS = Resource("", "v1", "secrets", "Secret")
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
REVIEWS = Resource("authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview")
BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
EXAMPLE = ROOT / "docs" / "examples" / "people-rbac.yaml"

PEOPLE = {
    "ann": "legal",
    "eve": "executive",
    "sam": "security",
    "max": "model-risk",
    "olga": "model-risk",
    "dan": "data-science",
}
"""Who is in which group, and so in which role."""

OWNER = "olga"
MODEL = {"name": "credit-scorer", "version": "2026.11.3", "owners": [OWNER]}


# --- Receiving --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Message:
    """One request that came in."""

    channel: str
    identity: str
    """The header webhook-id."""
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = self.event["data"]
        return found

    @property
    def key(self) -> str:
        return str(self.data["key"])

    @property
    def role(self) -> str:
        return str(self.data["role"])

    @property
    def about(self) -> str:
        return str(self.data["about"])


class Receivers:
    """One HTTP server for all channels: each has its path, and takes only what is signed with the key."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.messages: list[Message] = []
        self.hanging: list[str] = []
        """The channels of the requests that wait for an answer in vain, as long as the sender does."""
        self.hangs: set[str] = set()
        """The channels whose receiver accepts and never answers."""
        self.on_message: Callable[[Message], None] | None = None
        """Called with each message before it is answered."""
        self._released = asyncio.Event()

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_post("/{channel}", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, HOST, self.port).start()
        self.port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(self, *_: object) -> None:
        self.release()
        await self._runner.cleanup()

    def release(self) -> None:
        """Nothing hangs any more."""
        self.hangs.clear()
        self._released.set()
        self._released = asyncio.Event()

    def url(self, channel: str) -> str:
        return f"http://{HOST}:{self.port}/{channel}"

    async def _take(self, request: web.Request) -> web.Response:
        channel, body = request.match_info["channel"], await request.read()
        try:
            Webhook(SIGNING_KEY).verify(body.decode(), dict(request.headers))
        except WebhookVerificationError:
            return web.Response(status=401)
        message = Message(channel, request.headers["webhook-id"], body)
        if channel in self.hangs:
            self.hanging.append(channel)
            try:
                await asyncio.wait_for(self._released.wait(), 60)
            finally:
                self.hanging.remove(channel)
            return web.Response(status=503)
        self.messages.append(message)
        if self.on_message is not None:
            self.on_message(message)
        return web.Response(status=204)

    def of(self, namespace: str) -> list[Message]:
        """Return what came in of one namespace, in order."""
        return [m for m in self.messages if m.data["namespace"] == namespace]

    def keys(self, namespace: str) -> list[str]:
        """The keys of those, each once, in order of arrival."""
        return list(dict.fromkeys(m.key for m in self.of(namespace)))


async def closed_port() -> int:
    """A port on which nobody listens."""
    server = await asyncio.start_server(lambda *_: None, HOST, 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


# --- The operator -----------------------------------------------------------------------------------------------------


class Lives:
    """An operator that is killed now and then, and started again: another process, the same place."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._place = (kubeconfig, directory)
        self.process = OperatorProcess(kubeconfig, directory, *NOTIFY)

    def __enter__(self) -> Self:
        self.process.start().wait_until_leading()
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    @property
    def alive(self) -> bool:
        return self.process.process.poll() is None

    def kill(self) -> None:
        self.process.kill()

    async def start(self) -> None:
        self.process = OperatorProcess(*self._place, *NOTIFY).start()
        await asyncio.to_thread(self.process.wait_until_leading)


# --- Ladders ----------------------------------------------------------------------------------------------------------


def tier(name: str, above: float, *roles: str, **changes: Any) -> Object:
    """A tier that one reading above a number enters, and that notifies these roles."""
    return {
        "name": name,
        "triggers": [{"indicator": INDICATOR, "above": above}],
        "notify": [{"role": role} for role in roles],
    } | changes


def containing(name: str, above: float, *roles: str, **changes: Any) -> Object:
    """A tier that contains at once, and that legal and executive decide; legal and model-risk resume."""
    declared = {
        "decide": {"within": "2h", "quorum": quorum("legal", "executive")},
        "resume": {"quorum": quorum("legal", "model-risk")},
        "containment": {"action": "ScaleToZero"},
    }
    return tier(name, above, *roles, **(declared | changes))


def quorum(*roles: str) -> list[Object]:
    return [{"role": role} for role in roles]


def human_ladder(
    receivers: Receivers,
    *tiers: Object,
    alternates: Mapping[str, list[str]] | None = None,
    urls: Mapping[str, str] | None = None,
    name: str = LADDER,
    **changes: Any,
) -> Object:
    """A ladder whose roles have a channel each, under model-risk."""
    roles = list(dict.fromkeys(PEOPLE.values()))
    spec: Object = {
        "charter": {"owner": "model-risk"},
        "stakeholders": [
            {"role": role, "notify": [role], "alternates": (alternates or {}).get(role, [])} for role in roles
        ],
        "channels": [
            {"name": role, "type": "Webhook", "secretKey": KEY, "url": (urls or {}).get(role, receivers.url(role))}
            for role in roles
        ],
        "indicators": [{"name": INDICATOR, "description": "Selection-rate gap between groups"}],
        "tiers": list(tiers),
    }
    return ladder(name, **(spec | changes))


# --- Deciding ---------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def impersonated(kubeconfig: Path, user: str, *groups: str) -> AsyncIterator[Client]:
    """Requests of somebody else, whom an administrator impersonates."""
    connection = await connect(str(kubeconfig), namespace="riskladder-system", agent="tests")
    connection.session.headers.add("Impersonate-User", user)
    for group in groups:
        connection.session.headers.add("Impersonate-Group", group)
    try:
        yield Client(connection)
    finally:
        await connection.close()


class PeopleNamespace(TestNamespace):
    """A namespace in which people hold the roles of the example and can be notified."""

    def __init__(
        self, client: Client, namespace: str, people: Mapping[str, Client], receivers: Receivers, prefix: str = ""
    ) -> None:
        """`prefix`: of their groups, where a provider says which those are."""
        super().__init__(client, namespace)
        self.people = people
        self.receivers = receivers
        self._prefix = prefix

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "riskladder-channels"}}
        await self.client.apply(SECRETS, self.namespace, secret | {"stringData": {KEY: SIGNING_KEY}}, manager="tests")
        for document in yaml.safe_load_all(EXAMPLE.read_text()):
            document["metadata"]["namespace"] = self.namespace
            for subject in document.get("subjects", ()):
                subject["name"] = self._prefix + subject["name"]
            resource = ROLES if document["kind"] == ROLES.kind else BINDINGS
            await self.client.apply(resource, self.namespace, document, manager="tests")
        for name, role in PEOPLE.items():
            await self.until(self._holds(name, role), f"the permissions of {name}")
        await self.decisions_count()
        return self

    @asynccontextmanager
    async def by_token(self, person: str, kubeconfig: Path, directory: Path) -> AsyncIterator[PeopleNamespace]:
        """The same place, where one person calls with the token of a service account that holds their role."""
        await self.client.create(ACCOUNTS, self.namespace, {"metadata": {"name": person}})
        reading = {"kind": "ServiceAccount", "name": person, "namespace": self.namespace}
        for role in ("stakeholders-read", f"stakeholder-{PEOPLE[person]}"):
            reference = {"apiGroup": ROLES.group, "kind": "Role", "name": role}
            binding = {"metadata": {"name": f"{person}-{role}"}, "roleRef": reference, "subjects": [reading]}
            await self.client.create(BINDINGS, self.namespace, binding)
        own = service_account_kubeconfig(kubeconfig, directory / f"{person}.kubeconfig", person, self.namespace)
        connection = await connect(str(own), agent="tests")
        try:
            place = PeopleNamespace(
                self.client, self.namespace, {**self.people, person: Client(connection)}, self.receivers
            )
            await place.until(place._holds(person, PEOPLE[person]), f"the permissions of the account {person}")
            yield place
        finally:
            await connection.close()

    def _holds(self, name: str, role: str) -> Callable[[], Awaitable[object]]:
        async def check() -> object:
            return await may_i(self.people[name], self.namespace, ["comment"], [role])

        return check

    async def decisions_count(self) -> None:
        """Wait until a decision made now is later than the last change of the policy that proves it."""

        async def check() -> bool:
            found = await proof(self.client)
            return found.since is not None and datetime.now(UTC) >= found.since + timedelta(seconds=1)

        await self.until(check, "decisions to count")

    async def may(self, person: str, rule: Object) -> None:
        """Grant somebody something more of riskladder.dev."""
        name = f"{person}-{rule['resources'][0]}"
        rules = [{"apiGroups": ["riskladder.dev"], **rule}]
        reference = {"apiGroup": ROLES.group, "kind": "Role", "name": name}
        subject = {"apiGroup": ROLES.group, "kind": "User", "name": person}
        await self.client.create(ROLES, self.namespace, {"metadata": {"name": name}, "rules": rules})
        binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
        await self.client.create(BINDINGS, self.namespace, binding)
        attributes = {"group": "riskladder.dev", "namespace": self.namespace, "resource": rule["resources"][0]}
        attributes |= {"verb": rule["verbs"][0], "name": rule.get("resourceNames", [""])[0]}
        review = {"apiVersion": REVIEWS.api_version, "kind": REVIEWS.kind, "spec": {"resourceAttributes": attributes}}

        async def check() -> object:
            return (await self.people[person].create(REVIEWS, None, review))["status"]["allowed"]

        await self.until(check, f"{person} to be granted {name}")

    async def stop(self, person: str, target: str, **particulars: Any) -> Object:
        """Press the stop button, as the command does."""
        stop = {"tier": "moderate", "rationale": "it rejects everybody", "containment": "ScaleToZero"}
        return await self._raise(person, target, stop | particulars)

    async def drill(self, person: str, target: str, **changes: Any) -> Object:
        """Ask for a drill of the highest tier."""
        return await self._raise(person, target, {"tier": "high", "rationale": "an exercise"}, drill=True, **changes)

    async def _raise(self, person: str, target: str, manual: Object, **changes: Any) -> Object:
        manual = {"role": PEOPLE[person]} | manual
        body = signal(f"{target}-{person}", target, None, source="manual", manual=manual, **changes)
        return await self.people[person].create(resources.SIGNALS, self.namespace, body)

    async def decide(self, person: str, action: str, escalation: str, **particulars: Any) -> Object:
        """Create a decision as somebody, in their role; as it was stored."""
        spec = {"escalation": escalation, "action": action, "role": PEOPLE[person], "rationale": "as discussed"}
        body = {
            "apiVersion": resources.DECISIONS.api_version,
            "kind": resources.DECISIONS.kind,
            "metadata": {"generateName": f"{person}-{action.lower()}-"},
            "spec": spec | particulars,
        }
        return await self.people[person].create(resources.DECISIONS, self.namespace, body)

    async def admitted(self, person: str, action: str, escalation: str, **particulars: Any) -> Object:
        """Decide, once nothing refuses it at admission any more."""

        async def check() -> Object | None:
            with suppress(Forbidden):
                return await self.decide(person, action, escalation, **particulars)
            return None

        return await self.until(check, f"{action} of {person} to be admitted")

    async def answered(self, decision: Object) -> tuple[str, str]:
        """Status and reason of the condition Accepted, once there is one."""

        async def check() -> tuple[str, str] | None:
            found = condition(await self.get(resources.DECISIONS, decision["metadata"]["name"]), "Accepted")
            return (found["status"], found["reason"]) if found["status"] else None

        return await self.until(check, f"an answer to {decision['metadata']['name']}")

    async def decided(self, person: str, action: str, escalation: str, **particulars: Any) -> tuple[str, str]:
        """Decide, and wait for the answer."""
        return await self.answered(await self.decide(person, action, escalation, **particulars))

    async def counted(self, person: str, action: str, escalation: str, **particulars: Any) -> str:
        """The reason with which it was counted."""
        status, reason = await self.decided(person, action, escalation, **particulars)
        assert status == "True", reason
        return reason

    async def refused(self, person: str, action: str, escalation: str, **particulars: Any) -> str:
        """The reason with which it was not counted."""
        status, reason = await self.decided(person, action, escalation, **particulars)
        assert status == "False", reason
        return reason

    async def received(self, about: str, role: str, number: int = 1) -> Message:
        """The message of that reason to that role, once so many different ones have come in; the last of them."""

        async def check() -> Message | None:
            found = {m.key: m for m in self.messages() if (m.about, m.role) == (about, role)}
            return list(found.values())[number - 1] if len(found) >= number else None

        return await self.until(check, f"message {number} about {about} to {role}")

    def messages(self) -> list[Message]:
        return self.receivers.of(self.namespace)

    def keys(self) -> list[str]:
        return self.receivers.keys(self.namespace)

    async def escalation(self, target: str) -> Object:
        """The one escalation of a target."""

        async def check() -> Object | None:
            found = await self.escalations(target)
            assert len(found) <= 1, [e["metadata"]["name"] for e in found]
            return found[0] if found else None

        return await self.until(check, f"an escalation of {target}")

    async def ladder_says(self, kind: str, status: str, reason: str) -> Object:
        """That condition of the ladder, once it says so."""

        async def check() -> Object | None:
            found = condition(await self.get(resources.LADDERS, LADDER), kind)
            return found if (found["status"], found["reason"]) == (status, reason) else None

        return await self.until(check, f"the ladder to say {kind}={status} {reason}")  # it looks now and then

    async def on_rung(self, target: str, number: int) -> Object:
        """The escalation of a target, once it has entered that rung."""

        async def check() -> Object | None:
            for found in await self.escalations(target):
                if ((found.get("status") or {}).get("rung") or {}).get("number") == number:
                    return found
            return None

        return await self.until(check, f"rung {number} of {target}")

    async def recorded(self, escalation: str, event: str, number: int = 1) -> Object:
        """The record of that event, once there are so many; the last of them."""

        async def check() -> Object | None:
            found = [r for r in await self.records(escalation) if r["spec"]["event"] == event]
            return found[number - 1] if len(found) >= number else None

        return await self.until(check, f"record {number} of {event}")

    async def replicas_are(self, name: str, number: int) -> Object:
        async def check() -> Object | None:
            found = await self.deployment(name)
            return found if found["spec"]["replicas"] == number else None

        return await self.until(check, f"{name} to have {number} replicas")
