"""Targets of any kind on a control plane of the module's own: contained, written to, and restored by a decision."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from riskladder.api.resource import Resource
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Forbidden, Object
from riskladder.cluster.connection import connect
from tests.cluster import LocalControlPlane
from tests.cluster.install import install, service_account_kubeconfig
from tests.cluster.peers import install_definitions
from tests.integration.operator_process import OperatorProcess
from tests.integration.world import LABEL, LADDER, TestNamespace, condition, signal

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
HELD = "is contained by Escalation"


class RuntimeNamespace(TestNamespace):
    """A namespace, and the kind of target that is tried in it."""

    def __init__(self, client: Client, namespace: str, resource: Resource, operator: OperatorProcess) -> None:
        super().__init__(client, namespace)
        self.resource = resource
        self.operator = operator

    def another(self) -> RuntimeNamespace:
        """A namespace of its own, for the same operator and kind of target."""
        return RuntimeNamespace(self.client, f"{self.namespace}-{uuid.uuid4().hex[:6]}", self.resource, self.operator)

    # --- Doing ---

    async def put(self, name: str, spec: Object, *, manager: str = "tests", **metadata: object) -> Object:
        """Server-side apply a target that has opted in."""
        body = {
            "apiVersion": self.resource.api_version,
            "kind": self.resource.kind,
            "metadata": {"name": name, "labels": {LABEL: LADDER}, **metadata},
            "spec": spec,
        }
        return await self.client.apply(self.resource, self.namespace, body, manager=manager)

    async def service(self, name: str, selector: dict[str, str]) -> None:
        """A Service, whose EndpointSlices Kubernetes fills."""
        spec = {"selector": selector, "ports": [{"port": 80}]}
        await self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})

    async def read_risk(self, target: str, value: float, name: str = "fairness") -> Object:
        """A reading about the target."""
        body = signal(name, target, value)
        body["spec"]["target"]["kind"] = self.resource.kind
        return await self.apply(body)

    async def breach(self, target: str, reason: str = "ScaledToZero", *, status: str = "True") -> Object:
        """Have it contained by a reading; the escalation once its condition Contained says so."""
        await self.read_risk(target, 0.31)
        return await self.escalation_says(target, "Contained", status, reason)

    async def baseline(self, target: str, name: str = "fairness") -> Object:
        """Report at baseline until the revision in place is noted as known good; what is noted."""

        async def check() -> Object | None:
            await self.read_risk(target, 0.05, name)
            found: Object | None = (await self.tier(name, "baseline"))["status"].get("lastKnownGood")
            return found

        return await self.until(check, f"a known good revision of {target}")

    async def resume(self, escalation: Object) -> Object:
        """Bring it back by a decision (an administrator holds every role); the escalation once all is restored."""
        name = escalation["metadata"]["name"]

        async def counted() -> Object | None:
            """Decide until it counts: not before the policy that proves who decided is in force."""
            decision = f"resume-{uuid.uuid4().hex[:6]}"
            spec = {"escalation": name, "action": "Resume", "role": "legal", "rationale": "it was repaired"}
            body = {**resources_head(resources.DECISIONS, decision), "spec": spec}
            await self.client.create(resources.DECISIONS, self.namespace, body)

            async def judged() -> Object | None:
                found = await self.get(resources.DECISIONS, decision)
                return found if condition(found, "Accepted")["status"] else None

            found = await self.until(judged, f"decision {decision} to be judged")
            return found if condition(found, "Accepted")["status"] == "True" else None

        await self.until(counted, f"a Resume of {name} to count")

        async def restored() -> Object | None:
            found = await self.get(resources.ESCALATIONS, name)
            return found if (found["status"].get("resume") or {}).get("appliedAt") else None

        return await self.until(restored, f"{name} to be restored")

    async def refused(self, name: str, patch: Object, *, subresource: str | None = None) -> str:
        """Return the message with which a merge patch of an administrator is refused."""
        if subresource is not None:  # a scale carries no label: it is held by name
            resource, namespace = self.resource, self.namespace
            await self.held_by_name(
                lambda dry: dry.merge_patch(resource, namespace, name, patch, subresource=subresource)
            )
        try:
            await self.client.merge_patch(self.resource, self.namespace, name, patch, subresource=subresource)
        except Forbidden as error:
            return error.message
        raise AssertionError(f"{self.resource.kind} {name} could be changed: {patch}")

    async def drift(self, target: str) -> Object:
        """Wait until somebody has reverted its containment, and that is noted; the escalation."""

        async def noted() -> Object | None:
            found = (await self.escalations(target))[0]
            return found if found["status"]["containments"][0].get("drift") else None

        return await self.until(noted, "the drift to be noted")

    # --- Reading ---

    async def target(self, name: str) -> Object:
        """The target as it is stored."""
        return await self.get(self.resource, name)

    async def pods(self, labels: str) -> list[Object]:
        """Pods by a label selector."""
        return await self.client.list(resources.PODS, self.namespace, labels=labels)

    async def served(self, service: str, number: int) -> None:
        """Wait until so many pods are ready behind a Service."""

        async def check() -> bool:
            return len(await self.endpoints(service)) == number

        await self.until(check, f"{number} ready endpoints of {service}")


def resources_head(resource: Resource, name: str) -> Object:
    """apiVersion, kind and name."""
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": name}}


@asynccontextmanager
async def place(
    plane: LocalControlPlane,
    directory: Path,
    resource: Resource,
    *,
    components: Sequence[str] = (),
    options: Sequence[str] = (),
    crds: Sequence[Object] = (),
) -> AsyncIterator[RuntimeNamespace]:
    """A namespace with an operator at work that has the components enabled and may do what they grant.

    Args:
        plane: The control plane.
        directory: For logs and credentials.
        resource: The kind of target.
        components: Names of components of manifests/components.
        options: Further options of the operator.
        crds: CustomResourceDefinitions to install first.
    """
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    client = Client(connection)
    try:
        await asyncio.to_thread(install_definitions, plane.kubeconfig, crds)
        install(plane.kubeconfig, components=components)
        account = service_account_kubeconfig(plane.kubeconfig, directory / "operator.kubeconfig")
        enabled = [f"--enable={component}" for component in components]
        with OperatorProcess(account, directory, *enabled, *options) as operator:
            operator.wait_until_leading()
            async with RuntimeNamespace(client, f"test-{uuid.uuid4().hex[:8]}", resource, operator) as made:
                yield made
            await made.alone()  # while whoever has to let go of what is in the namespaces still runs
    finally:
        await connection.close()
