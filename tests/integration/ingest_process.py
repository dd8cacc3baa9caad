"""`riskladder ingest` as a process of its own under its own service account, and what tests send to it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import aiohttp

from riskladder.cluster.client import Object
from riskladder.cluster.resources import BINDINGS, Resource
from tests.cluster.install import NAMESPACE, install, kubectl, service_account_kubeconfig
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import INDICATOR, LADDER, TestNamespace
from tests.patience import PATIENCE

AUTHENTICATION, RBAC = "authentication.k8s.io", "rbac.authorization.k8s.io"
ACCOUNTS = Resource("", "v1", "serviceaccounts", "ServiceAccount")
ROLES = Resource(RBAC, "v1", "roles", "Role")
ROLE_BINDINGS = Resource(RBAC, "v1", "rolebindings", "RoleBinding")
SOURCE = "fairness-monitor"
INGEST = "riskladder-ingest"


class IngestProcess(OperatorProcess):
    """The process, with a log file that tests can read."""

    command: ClassVar[str] = "ingest"


@dataclass(frozen=True, slots=True)
class Answer:
    """Of one request."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Ingest:
    """A running one."""

    process: IngestProcess
    url: str
    session: aiohttp.ClientSession
    kubeconfig: Path
    """Of an administrator."""
    account: Path
    """Of its own service account."""

    async def send(
        self,
        namespace: str,
        binding: str,
        body: bytes | Object,
        *,
        token: str = "",
        content_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post one body."""
        sent = {"Content-Type": content_type, **(headers or {})}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        url = f"{self.url}/v1/namespaces/{namespace}/bindings/{binding}"
        async with self.session.post(url, data=raw, headers=sent) as response:
            text = await response.text()
            is_json = response.content_type == "application/json"
            return Answer(response.status, json.loads(text) if is_json else {"text": text}, dict(response.headers))

    def token(self, namespace: str, account: str, audience: str = INGEST, seconds: int = 600) -> str:
        """A token of a service account, as the kubelet would project it."""
        options = (f"--audience={audience}",) if audience else ()
        return kubectl(
            self.kubeconfig, "-n", namespace, "create", "token", account, f"--duration={seconds}s", *options
        ).strip()


@asynccontextmanager
async def ingesting(
    kubeconfig: Path, directory: Path, *arguments: str, components: Sequence[str] = ("ingest",)
) -> AsyncIterator[Ingest]:
    """Install the component, with others perhaps, and run one of its replicas here."""
    install(kubeconfig, components=components)
    account = service_account_kubeconfig(kubeconfig, directory / "ingest.kubeconfig", INGEST, NAMESPACE)
    with IngestProcess(account, directory, "--health", "127.0.0.1:0", *arguments) as process:
        url = f"http://{process.wait_for('started')['listen']}"
        async with aiohttp.ClientSession() as session:
            ingest = Ingest(process, url, session, kubeconfig, account)
            await _until_ready(ingest)
            yield ingest


async def _until_ready(ingest: Ingest) -> None:
    address, deadline, said = ingest.process.wait_for("started")["health"], time.monotonic() + PATIENCE, ""
    while time.monotonic() < deadline:
        async with ingest.session.get(f"http://{address}/readyz") as answer:
            said = await answer.text()
            if answer.status == 200:
                return
        await asyncio.sleep(0.03)
    raise AssertionError(f"not ready: {said}\n{ingest.process.log.read_text(errors='replace')[-3000:]}")


async def monitored(world: TestNamespace, name: str = SOURCE) -> None:
    """An account that may report as one source, and that lets ingest act in its name."""
    client, namespace = world.client, world.namespace
    await client.create(ACCOUNTS, namespace, {"metadata": {"name": name}})
    own = [
        {"apiGroups": ["riskladder.dev"], "resources": ["modelrisksignals"], "verbs": ["create", "patch"]},
        {"apiGroups": ["riskladder.dev"], "resources": ["sources"], "resourceNames": [SOURCE], "verbs": ["report"]},
    ]
    acting = [
        {
            "apiGroups": [AUTHENTICATION],
            "resources": ["serviceaccounts"],
            "resourceNames": [name],
            "verbs": ["impersonate:serviceaccount"],
        },
        {
            "apiGroups": ["riskladder.dev"],
            "resources": ["modelrisksignals"],
            "verbs": ["impersonate-on:serviceaccount:create", "impersonate-on:serviceaccount:patch"],
        },
    ]
    for role, rules, subject in (
        (name, own, {"kind": "ServiceAccount", "name": name, "namespace": namespace}),
        (f"{name}-ingest", acting, {"kind": "ServiceAccount", "name": INGEST, "namespace": NAMESPACE}),
    ):
        await client.create(ROLES, namespace, {"metadata": {"name": role}, "rules": rules})
        body = {
            "metadata": {"name": role},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": role},
            "subjects": [subject],
        }
        await client.create(ROLE_BINDINGS, namespace, body)


def binding(name: str = "fairness", **changes: Any) -> Object:
    """A binding of Alertmanager, for the one target scorer."""
    spec: Object = {
        "format": "Alertmanager",
        "ladder": LADDER,
        "target": {"kind": "Deployment", "name": "scorer"},
        "source": SOURCE,
        "serviceAccount": SOURCE,
        "sender": {"audienceToken": {}},
        "readings": [{"indicator": INDICATOR, "as": "Breach"}],
    }
    return {
        "apiVersion": BINDINGS.api_version,
        "kind": BINDINGS.kind,
        "metadata": {"name": name},
        "spec": {k: v for k, v in (spec | changes).items() if v is not None},
    }


def notification(*alerts: Object, **changes: Any) -> Object:
    """What Alertmanager posts."""
    body: Object = {
        "receiver": "riskladder",
        "status": "firing",
        "alerts": list(alerts),
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example",
        "version": "4",
        "groupKey": "{}",
        "truncatedAlerts": 0,
    }
    return body | changes


def alert(at: str, *, firing: bool = True, name: str = "Unfair", **labels: str) -> Object:
    """One alert that began, or ended, at a time."""
    return {
        "status": "firing" if firing else "resolved",
        "labels": {"alertname": name, **labels},
        "annotations": {},
        "startsAt": at,
        "endsAt": "0001-01-01T00:00:00Z" if firing else at,
        "generatorURL": "http://prometheus.example/graph",
        "fingerprint": "28251fda5416fe8a",
    }
