"""What there is of Riskladder in a cluster, as far as the caller may see it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from riskladder.api.ladder import EscalationLadderSpec
from riskladder.cluster.client import Client, Forbidden, NotFound, Object
from riskladder.cluster.definitions import Definitions, Finding
from riskladder.cluster.permissions import Account
from riskladder.cluster.resources import DEPLOYMENTS, LADDERS
from riskladder.workloads.registry import Runtimes

OPERATOR = "app.kubernetes.io/name=riskladder,app.kubernetes.io/component=operator"
"""Labels of the Deployment of the operator."""

LEASE = "riskladder"

VERSION_LABEL = "app.kubernetes.io/version"


class Unseen(Exception):  # noqa: N818 - reads as a sentence at the call site
    """Something could not be looked at; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an operator was started with, as far as checks go by it."""

    enable: tuple[str, ...] = ()
    scalable: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    """Those that it watches; empty for all."""
    hosts: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Object) -> Options:
        """Return the options of a Deployment."""
        containers = deployment["spec"]["template"]["spec"].get("containers") or [{}]
        given = dict(_options(containers[0].get("args") or ()))
        env = {e.get("name"): str(e.get("value") or "").split() for e in containers[0].get("env") or ()}

        def both(*names: str, variable: str = "") -> tuple[str, ...]:
            found = [value for name in names for value in given.get(name, ())]
            return tuple(found or env.get(variable, ()))

        return cls(
            enable=both("--enable", variable="RISKLADDER_ENABLE"),
            scalable=both("--scalable", variable="RISKLADDER_SCALABLE"),
            namespaces=both("--namespace", "-n"),
            hosts=both("--notify-host", variable="RISKLADDER_NOTIFY_HOSTS"),
            networks=both("--notify-network", variable="RISKLADDER_NOTIFY_NETWORKS"),
        )


def _options(args: list[Any] | tuple[Any, ...]) -> Iterator[tuple[str, list[str]]]:
    """Yield each option with all of its values."""
    found: dict[str, list[str]] = {}
    words = [str(word) for word in args]
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("-"):
            name, given, value = word.partition("=")
            found.setdefault(name, []).append(value if given else following)
    yield from found.items()


@dataclass(frozen=True, slots=True)
class Ladder:
    """A ladder as stored."""

    stored: Object

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.stored["metadata"]["namespace"])

    @property
    def title(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.stored['metadata']['name']}"

    @property
    def spec(self) -> EscalationLadderSpec | None:
        """Its spec; ``None`` where this version does not understand it, which its condition says."""
        with contextlib.suppress(ValidationError):
            return EscalationLadderSpec.model_validate(self.stored.get("spec") or {})
        return None

    @property
    def conditions(self) -> Mapping[str, Object]:
        """Its conditions, by type."""
        return {str(c.get("type")): c for c in (self.stored.get("status") or {}).get("conditions") or ()}


@dataclass(slots=True)
class Site:
    """The installation that is looked at."""

    client: Client
    own_namespace: str
    """Where the operator is expected."""
    namespace: str | None
    """Of the ladders to look at; ``None`` for all."""
    deployments: list[Object] | None = field(default=None)
    """Those of operators, of the whole cluster where the caller may see it; ``None`` where nobody may say."""
    is_everywhere: bool = False
    """Whether they were looked for in every namespace."""
    _kinds: tuple[Finding, ...] | None = None
    _ladders: list[Ladder] | None = None

    @classmethod
    async def look(cls, client: Client, own_namespace: str, namespace: str | None) -> Site:
        """Look for operators."""
        site = cls(client, own_namespace, namespace)
        with contextlib.suppress(Forbidden):
            site.deployments = await client.list(DEPLOYMENTS, own_namespace, labels=OPERATOR)
        with contextlib.suppress(Forbidden):
            site.deployments = await client.list(DEPLOYMENTS, None, labels=OPERATOR)
            site.is_everywhere = True
        return site

    @property
    def deployment(self) -> Object | None:
        """The Deployment of the operator: the one in its namespace, else the first one there is."""
        found = self.deployments or []
        here = [d for d in found if d["metadata"]["namespace"] == self.own_namespace]
        return next(iter(here or found), None)

    @property
    def home(self) -> str:
        """The namespace of the operator."""
        return str(self.deployment["metadata"]["namespace"]) if self.deployment else self.own_namespace

    @property
    def account(self) -> Account:
        """Whom the operator is."""
        spec = self.deployment["spec"]["template"]["spec"] if self.deployment else {}
        return Account.of(self.home, str(spec.get("serviceAccountName") or LEASE))

    @property
    def options(self) -> Options | None:
        """What the operator was started with; ``None`` where its Deployment is not seen."""
        return Options.of(self.deployment) if self.deployment else None

    @property
    def runtimes(self) -> Runtimes | None:
        """What is enabled; ``None`` where its Deployment is not seen."""
        if self.options is None:
            return None
        try:
            return Runtimes(self.options.enable, self.options.scalable)
        except ValueError as error:  # a component of another version
            raise Unseen(f"what the operator was started with is not understood: {error}") from error

    async def ladders(self) -> list[Ladder]:
        """Return the ladders, which are listed once for all checks.

        Raises:
            ApiError: They cannot be listed.
            Unseen: The kind is not installed.
        """
        try:
            if self._ladders is None:
                self._ladders = [Ladder(obj) for obj in await self.client.list(LADDERS, self.namespace)]
        except NotFound as error:
            raise Unseen("the kinds are not installed") from error
        return self._ladders

    async def kinds(self) -> tuple[Finding, ...]:
        """Return how the kinds stand, which are looked at once for all checks."""
        if self._kinds is None:
            self._kinds = await Definitions(self.client).look()
        return self._kinds
