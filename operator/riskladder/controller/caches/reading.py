"""Stored objects as the models have them."""

from __future__ import annotations

from datetime import datetime

from pydantic import ValidationError

from riskladder.api.chain import digest
from riskladder.api.escalation import EscalationSpec, EscalationStatus
from riskladder.api.ladder import EscalationLadderSpec, EscalationLadderStatus
from riskladder.api.validation import validate
from riskladder.cluster import resources
from riskladder.controller.caches.endpoints import Object
from riskladder.policy.snapshot import (
    Escalation,
    Ladder,
)


def read_escalation(obj: Object, known: Escalation | None = None) -> Escalation | None:
    """Return an Escalation as stored, or ``None`` where it does not validate.

    Args:
        obj: As it is stored now.
        known: As it was before; its spec is not read again where that is of the same generation.
    """
    metadata = obj["metadata"]
    is_same = known is not None and (known.uid, known.generation) == (metadata["uid"], metadata.get("generation"))
    try:
        spec = known.spec if known is not None and is_same else EscalationSpec.model_validate(obj["spec"])
        status = EscalationStatus.model_validate(obj.get("status") or {})
    except ValidationError:
        return None
    return Escalation(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        labels=dict(metadata.get("labels") or {}),
        spec=spec,
        status=status,
        resource_version=metadata["resourceVersion"],
    )


def has_pending_messages(escalation: Escalation) -> bool:
    """Return whether a message of an escalation has still to be sent."""
    return any(n.is_outstanding for n in escalation.status.notifications)


def read_ladder(obj: Object) -> Ladder:
    """Return a ladder as it is stored, with what is wrong with it."""
    metadata = obj["metadata"]
    problems = tuple(str(problem) for problem in validate(resources.LADDERS.kind, obj))
    spec = None if problems else EscalationLadderSpec.model_validate(obj["spec"])
    return Ladder(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        digest=digest(spec.to_api()) if spec else "",
        spec=spec,
        problems=problems,
    )


def created_at(metadata: Object) -> datetime:
    """Return when an object was created, in whole seconds."""
    return datetime.fromisoformat(metadata["creationTimestamp"])


def received_at(metadata: Object) -> datetime | None:
    """Return when observedAt of a signal was written last, in whole seconds, as far as managedFields say so."""
    times = [
        entry["time"]
        for entry in metadata.get("managedFields") or ()
        if entry.get("time") and "f:observedAt" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]
    return max(map(datetime.fromisoformat, times), default=None)


def read_ladder_status(obj: Object) -> EscalationLadderStatus:
    """Return the status of a ladder, or an empty one where what is stored does not validate."""
    try:
        return EscalationLadderStatus.model_validate(obj.get("status") or {})
    except ValidationError:
        return EscalationLadderStatus()
