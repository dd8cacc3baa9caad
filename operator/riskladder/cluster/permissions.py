"""Whether the operator may do what it needs: asked of the API server, and believed for a while.

One answer serves all ladders of a namespace. While something is missing only that is asked for again, so that one
missing permission costs one request a look and not one for each permission and each ladder.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from riskladder.cluster.client import Client
from riskladder.cluster.grants import NAMESPACED, Grant
from riskladder.workloads.grant import Component
from riskladder.workloads.model import Runtime

CHECK_EVERY = 300.0
"""Seconds for which what is permitted is believed."""

LOOK_EVERY = 10.0
"""Seconds between two looks in one namespace at least, whoever asks, and however often a request is refused."""

Check = tuple[str, str, str]
"""API group, resource and verb."""


@dataclass(slots=True)
class _Known:
    """What is known of one namespace."""

    complete_at: float
    """When everything was asked for last (monotonic)."""
    looked_at: float
    """When anything was asked for last (monotonic)."""
    missing: tuple[Check, ...]
    doubted: bool = False
    """Whether a request has been refused since: everything has to be asked for again."""

    def is_outdated(self, now: float) -> bool:
        """Return whether everything has to be asked for again."""
        if self.doubted:
            return now - self.looked_at >= LOOK_EVERY
        return not self.missing and now - self.complete_at >= CHECK_EVERY


class Permissions:
    """Asks the API server what the operator may not do (SelfSubjectAccessReview, which is allowed to everybody)."""

    def __init__(self, client: Client, runtimes: Iterable[Runtime | Component] = ()) -> None:
        """Ask through this client, about what is always needed and what these runtimes need."""
        self._client = client
        self._checks = _checks((*NAMESPACED, *(grant for runtime in runtimes for grant in runtime.permissions)))
        self._known: dict[str, _Known] = {}
        self._looking: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self, namespace: str) -> None:
        """Ask for everything again with the next look, since a request was refused."""
        if (known := self._known.get(namespace)) is not None:
            known.doubted = True

    async def missing(self, namespace: str) -> tuple[str, ...]:
        """Return what is missing in a namespace, for example ``patch deployments.apps in namespace models``.

        Raises:
            ApiError: The API server could not be asked.
        """
        async with self._looking[namespace]:
            known = self._known.get(namespace)
            now = time.monotonic()
            if known is None or known.is_outdated(now):
                refused = await self._ask(namespace, self._checks)
                self._known[namespace] = _Known(now, now, refused)
            elif known.missing and now - known.looked_at >= LOOK_EVERY:
                known.missing = await self._ask(namespace, known.missing)
                known.looked_at = now
            return tuple(title_of(check, namespace) for check in self._known[namespace].missing)

    async def _ask(self, namespace: str, checks: Sequence[Check]) -> tuple[Check, ...]:
        """Return which of them the API server refuses."""
        return tuple([check for check in checks if not await allowed(self._client, check, namespace)])


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody about whom is asked."""

    user: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, namespace: str, name: str) -> Account:
        """Return a service account."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(f"system:serviceaccount:{namespace}:{name}", groups)


async def allowed(
    client: Client, check: Check, namespace: str | None = None, *, name: str = "", account: Account | None = None
) -> bool:
    """Return whether the caller, or an account, may do something.

    Args:
        client: Asks the API server.
        check: What.
        namespace: Where; ``None`` for all namespaces, or for what has none.
        name: To which object alone; by default to all.
        account: Who. To ask about somebody else takes a permission of its own.

    Raises:
        ApiError: The API server could not be asked.
    """
    group, resource, verb = check
    plural, _, subresource = resource.partition("/")
    attributes = {"group": group, "resource": plural, "subresource": subresource, "verb": verb}
    attributes |= {"namespace": namespace} if namespace is not None else {}
    attributes |= {"name": name} if name else {}
    spec: dict[str, object] = {"resourceAttributes": attributes}
    kind = "SelfSubjectAccessReview"
    if account is not None:
        kind = "SubjectAccessReview"
        spec |= {"user": account.user, "groups": list(account.groups)}
    answer = await client.request(
        "POST",
        f"/apis/authorization.k8s.io/v1/{kind.lower()}s",
        verb="create",
        resource=f"{kind.lower()}s.authorization.k8s.io",
        body={"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec},
    )
    return bool((answer.get("status") or {}).get("allowed"))


def title_of(check: Check, namespace: str | None, name: str = "") -> str:
    """Return what is permitted or missing, for example ``delete pods in namespace models``.

    Args:
        check: What.
        namespace: Where; ``None`` for what has none, empty for all of them.
        name: Of the one object that it is about.
    """
    group, resource, verb = check
    plural, _, subresource = resource.partition("/")
    title = f"{plural}.{group}" if group else plural
    title += f"/{subresource}" if subresource else ""
    title = f"{verb} {title} {name}".rstrip()
    if namespace is None:
        return title
    return f"{title} in namespace {namespace}" if namespace else f"{title} in all namespaces"


def _checks(grants: Iterable[Grant]) -> list[Check]:
    return [(g.group, resource, verb) for g in grants if g.checked for resource in g.resources for verb in g.verbs]
