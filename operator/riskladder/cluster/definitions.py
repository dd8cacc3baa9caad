"""Whether the CustomResourceDefinitions in the cluster are those that this version was built with.

Their schemas themselves are compared, since an annotation stays when somebody edits one. They are large, so that after
the first look only their metadata are read, until a generation has changed.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from riskladder import __version__
from riskladder.api.definitions import SCHEMA_HASH, compare, definition_name, schema_hash, stored_schema
from riskladder.api.kinds import KINDS, Kind
from riskladder.api.resource import Resource
from riskladder.api.text import first
from riskladder.cluster.client import METADATA_ONLY, ApiError, Client, Forbidden, NotFound, Object

CRDS = Resource("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")

NAMES = tuple(sorted(definition_name(kind) for kind in KINDS.values()))

CONFIRM_DELETE = "riskladder.dev/confirm-delete"
"""Annotation that lets a kind be deleted, where it has its name: the policy riskladder-kinds asks for it."""

APPLY = "kubectl apply --server-side --force-conflicts -k crds"
"""Mends what kubectl has applied, from a checkout."""

SHOWN = 3
"""Fields that are named at most."""


class State(StrEnum):
    """How a CustomResourceDefinition stands."""

    CURRENT = "Current"
    MISSING = "Missing"
    OUTDATED = "Outdated"
    NEWER = "Newer"
    ALTERED = "Altered"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was seen of one CustomResourceDefinition."""

    name: str
    state: State
    what: str = ""
    """What differs, for people: a clause behind the name."""
    remedy: str = APPLY
    """The command that mends it."""
    hash: str = ""
    """Digest of its schema as stored."""
    is_forbidden: bool = False
    """Whether it could not be looked at for lack of a permission."""
    is_ending: bool = False
    """Whether it is being deleted."""
    is_unguarded: bool = False
    """Whether an annotation lets anybody delete it."""


@dataclass(slots=True)
class _Known:
    """A finding, and what it is about."""

    of: tuple[str, int]
    """uid and generation."""
    finding: Finding


@dataclass(slots=True)
class Definitions:
    """Looks at the CustomResourceDefinitions through a client."""

    client: Client
    _known: dict[str, _Known] = field(default_factory=dict)

    async def look(self) -> tuple[Finding, ...]:
        """Return how each stands, in order of name. One that could not be asked for is Unknown; nothing is raised."""
        return tuple(await asyncio.gather(*map(self._look, sorted(KINDS.values(), key=definition_name))))

    async def _look(self, kind: Kind) -> Finding:
        name = definition_name(kind)
        try:
            if (known := self._known.get(name)) is not None:
                metadata = (await self.client.get(CRDS, None, name, accept=METADATA_ONLY))["metadata"]
                if _identity(metadata) == known.of:
                    return _marked(known.finding, metadata)
            stored = await self.client.get(CRDS, None, name)
        except NotFound:
            self._known.pop(name, None)
            return Finding(name, State.MISSING, "is missing")
        except Forbidden:
            return Finding(name, State.UNKNOWN, "may not be looked at", is_forbidden=True)
        except ApiError as error:
            return Finding(name, State.UNKNOWN, f"could not be looked at: {error}"[:256])
        found = judge(kind, stored)
        self._known[name] = _Known(_identity(stored["metadata"]), found)
        return _marked(found, stored["metadata"])


def judge(kind: Kind, stored: Object) -> Finding:
    """Return how a stored CustomResourceDefinition stands against the one of this version. Pure."""
    name, remedy = definition_name(kind), remedy_of(stored["metadata"])
    schema = stored_schema(kind, stored)
    if isinstance(schema, str):
        return Finding(name, State.ALTERED, schema, remedy)
    digest = schema_hash(schema)
    shipped = (stored["metadata"].get("annotations") or {}).get(SCHEMA_HASH)
    edited = " (edited since it was applied)" if shipped not in (None, digest) else ""
    found = compare(kind, schema)
    if found.lacking:
        return Finding(name, State.OUTDATED, f"lacks {first(found.lacking, SHOWN)}{edited}", remedy, digest)
    if found.unknown:
        what = f"has {first(found.unknown, SHOWN)}, which version {__version__} does not know{edited}"
        return Finding(name, State.NEWER, what, remedy, digest)
    if found.changed:
        return Finding(name, State.ALTERED, f"differs in {first(found.changed, SHOWN)}{edited}", remedy, digest)
    return Finding(name, State.CURRENT, "", remedy, digest)


def remedy_of(metadata: Mapping[str, Any]) -> str:
    """Return the command that applies the definitions of this version the way in which they were applied before.

    Which chart a release was installed from, metadata do not say, and one that is upgraded by another chart loses all
    that the other does not have, the operator and the lock: so the chart is left to whoever runs the command.
    """
    annotations, labels = metadata.get("annotations") or {}, metadata.get("labels") or {}
    release = annotations.get("meta.helm.sh/release-name")
    if labels.get("app.kubernetes.io/managed-by") != "Helm" or not release:
        return APPLY
    release, namespace = (
        shlex.quote(release),
        shlex.quote(annotations.get("meta.helm.sh/release-namespace") or "default"),
    )
    return f"helm upgrade {release} CHART --version {__version__} --reset-then-reuse-values -n {namespace}"


def _identity(metadata: Mapping[str, Any]) -> tuple[str, int]:
    return str(metadata["uid"]), int(metadata.get("generation") or 0)


def _marked(finding: Finding, metadata: Mapping[str, Any]) -> Finding:
    """Return a finding with what metadata alone say: that changes without a new generation."""
    confirmed = (metadata.get("annotations") or {}).get(CONFIRM_DELETE) == finding.name
    return replace(
        finding,
        is_ending=bool(metadata.get("deletionTimestamp")),
        is_unguarded=confirmed,
        remedy=remedy_of(metadata),
    )
