"""The demo's namespace on a real cluster: what is applied to it, and what is looked for in it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import yaml

from demo.install import InstallError
from riskladder.api.base import format_time
from riskladder.cluster import resources
from riskladder.cluster.client import Client, Object
from riskladder.cluster.resources import Resource
from riskladder.controller.caches.endpoints import serves

MANAGER = "riskladder-demo"
NAMESPACES = Resource("", "v1", "namespaces", "Namespace")
SERVICES = Resource("", "v1", "services", "Service")
BY_KIND = {
    r.kind: r for r in (resources.LADDERS, resources.SIGNALS, resources.DEPLOYMENTS, SERVICES, resources.SECRETS)
}
LADDER = "credit-scoring"


class Scene:
    """One namespace, with the examples of the checkout."""

    def __init__(self, client: Client, checkout: Path, namespace: str) -> None:
        """Prepare; nothing is created."""
        self._client, self._checkout, self._namespace = client, checkout, namespace

    def documents(self, path: str) -> list[Object]:
        """Return the objects of an example. Raises InstallError if there is no such file."""
        file = self._checkout / "examples" / path
        if not file.is_file():
            raise InstallError(f"{file} is missing: run the demo from a checkout, or give --checkout")
        documents: list[Object] = list(yaml.safe_load_all(file.read_text()))
        for document in documents:
            document["metadata"]["namespace"] = self._namespace
            stringify_times(document)
        return documents

    async def apply(self, document: Object) -> Object:
        """Apply an object, and return it as it is stored."""
        return await self._client.apply(BY_KIND[document["kind"]], self._namespace, document, manager=MANAGER)

    async def ladder_ready(self) -> bool:
        """Return whether the ladder is Ready."""
        return condition(await self._client.get(resources.LADDERS, self._namespace, LADDER), "Ready")

    async def endpoints(self, number: int) -> bool:
        """Return whether that many endpoints are ready."""
        slices = await self._client.list(resources.ENDPOINTSLICES, self._namespace)
        return sum(len(ready(s)) for s in slices) == number

    async def signal(self) -> Object:
        """Return the signal of the example monitor."""
        return await self._client.get(resources.SIGNALS, self._namespace, "credit-scorer-fairness")

    async def tier(self, tier: str) -> bool:
        """Return whether that signal is in a tier."""
        return ((await self.signal()).get("status") or {}).get("tier") == tier

    async def escalation(self) -> Object | None:
        """Return the first escalation, or None before there is one."""
        found = await self._client.list(resources.ESCALATIONS, self._namespace)
        return found[0] if found else None

    async def is_proved(self) -> bool:
        """Return whether the escalation is Contained."""
        escalation = await self.escalation()
        return escalation is not None and condition(escalation, "Contained")


def version(deployment: Object) -> str:
    """Return the version of the model that a Deployment serves."""
    return str(deployment["spec"]["template"]["spec"]["containers"][0]["env"][0]["value"])


def condition(obj: Object, kind: str) -> bool:
    """Return whether a condition of an object is True."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(c["type"] == kind and c["status"] == "True" for c in conditions)


def ready(slice_: Object) -> set[str]:
    """Return the names of the pods that an EndpointSlice lists as ready."""
    return {
        (e.get("targetRef") or {}).get("name", "")
        for e in slice_.get("endpoints") or ()
        if (e.get("conditions") or {}).get("ready") is not False
    }


def serving(slice_: Object) -> set[str]:
    """Return the names of the pods that may still get traffic through an EndpointSlice, as the operator judges it."""
    return {
        (e.get("targetRef") or {}).get("name", "")
        for e in slice_.get("endpoints") or ()
        if serves(e.get("conditions") or {})
    }


def is_out_of_service(before: Object, now: Object) -> bool:
    """Return whether none of the pods that an EndpointSlice listed as ready gets traffic through it any more."""
    return not ready(before) & serving(now)


def readings(document: Object) -> str:
    """Return the readings of a signal in one line."""
    return ", ".join(f"{r['indicator']} {r['value']}" for r in document["spec"]["readings"])


def stringify_times(document: Object) -> None:
    """Make times text again: YAML reads an unquoted time as a time, and the API wants the text."""
    spec = document.get("spec") or {}
    if isinstance(spec.get("observedAt"), datetime):
        spec["observedAt"] = format_time(spec["observedAt"])
    review = ((spec.get("charter") or {}).get("review")) or {}
    if "lastReviewed" in review:
        review["lastReviewed"] = str(review["lastReviewed"])
