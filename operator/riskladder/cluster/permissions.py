"""Whether the operator may do what it needs: asked of the API server, and believed for a while."""

from __future__ import annotations

import time
from collections.abc import Iterable

from riskladder.cluster.client import Client
from riskladder.cluster.grants import NAMESPACED, Grant
from riskladder.workloads.grant import Component
from riskladder.workloads.model import Runtime

CHECK_EVERY = 300.0
"""Seconds for which a complete set of permissions is believed."""


class Permissions:
    """Asks the API server what the operator may not do (SelfSubjectAccessReview, which is allowed to everybody)."""

    def __init__(self, client: Client, runtimes: Iterable[Runtime | Component] = ()) -> None:
        """Ask through this client, about what is always needed and what these runtimes need."""
        self._client = client
        self._checks = _checks((*NAMESPACED, *(grant for runtime in runtimes for grant in runtime.permissions)))
        self._known: dict[str, tuple[float, tuple[str, ...]]] = {}

    def forget(self, namespace: str) -> None:
        """Ask again next time."""
        self._known.pop(namespace, None)

    async def missing(self, namespace: str) -> tuple[str, ...]:
        """What is missing in a namespace, for example ``patch deployments.apps in namespace models``."""
        known = self._known.get(namespace)
        if known is not None and not known[1] and time.monotonic() - known[0] < CHECK_EVERY:
            return known[1]
        missing = []
        for group, resource, verb in self._checks:
            plural, _, subresource = resource.partition("/")
            answer = await self._client.request(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                verb="create",
                resource="selfsubjectaccessreviews.authorization.k8s.io",
                body={
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {
                        "resourceAttributes": {
                            "namespace": namespace,
                            "group": group,
                            "resource": plural,
                            "subresource": subresource,
                            "verb": verb,
                        }
                    },
                },
            )
            if not (answer.get("status") or {}).get("allowed"):
                title = f"{plural}.{group}" if group else plural
                title += f"/{subresource}" if subresource else ""
                missing.append(f"{verb} {title} in namespace {namespace}")
        self._known[namespace] = (time.monotonic(), tuple(missing))
        return tuple(missing)


def _checks(grants: Iterable[Grant]) -> list[tuple[str, str, str]]:
    return [(g.group, resource, verb) for g in grants if g.checked for resource in g.resources for verb in g.verbs]
