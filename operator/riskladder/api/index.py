"""ContainmentIndex: the names of what is contained in one namespace, for the requests that say no more than a name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from riskladder.api.base import DnsLabel, KindName, Model, ObjectName
from riskladder.api.intent import RevisionText
from riskladder.api.tiers import ContainmentAction

INDEX_NAME = "riskladder"
"""Name of the one object of a namespace that the lock reads."""

MAX_INDEXED = 4096


class IndexedTarget(Model):
    """What holds a workload of that name."""

    kind: KindName = Field(description="Its kind.")
    escalation: ObjectName = Field(description="The Escalation.")
    tier: DnsLabel = Field(description="Its tier.")
    action: ContainmentAction = Field(description="ScaleToZero: nobody raises it. Rollback: nobody creates it again.")
    quarantined: RevisionText | None = Field(
        None, description="Of a Rollback, the hash of the revision taken out of service: nobody raises its ReplicaSet."
    )


class ContainmentIndexSpec(Model):
    """Everything that is contained and locked in the namespace."""

    targets: Annotated[dict[str, IndexedTarget], Field(max_length=MAX_INDEXED)] = Field(
        default_factory=dict,
        description="By resource, group and name, for example deployments.apps/credit-scorer. Beyond the limit, those "
        "that come first; what is done to others is re-applied.",
        json_schema_extra={"default": {}},
    )


def index_key(plural: str, group: str, name: str) -> str:
    """Return the key of a workload, as the lock makes it from a request."""
    return f"{plural}.{group}/{name}"
