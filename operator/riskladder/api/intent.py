"""What a containment is to do and why: the intent, the evidence it rests on, and what a Resume restores."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from riskladder.api.base import (
    Count,
    DnsLabel,
    KindName,
    LabelValue,
    ListMap,
    Model,
    ObjectName,
    ReasonWord,
    Timestamp,
    Uid,
    WithoutRules,
)
from riskladder.api.foreign import Clipped, ClippedName, distinct
from riskladder.api.signal import MAX_READINGS, Manual, Reading
from riskladder.api.tiers import Connections, ContainmentAction

MAX_IMAGES = 32
MAX_SAVED = 16384
"""Characters of one field that a containment overwrites."""

RevisionText = ClippedName


class SignalRef(Model):
    """The signal that was acted on, as it read at the time."""

    name: ObjectName = Field(description="Name of the ModelRiskSignal.")
    uid: Uid = Field(description="Its uid.")
    source: DnsLabel | None = Field(None, description="Who reported it.")
    observed_at: Timestamp = Field(description="When it was observed.")
    readings: Annotated[tuple[Reading, ...], Field(max_length=MAX_READINGS), ListMap("indicator")] = Field(
        (), description="Its readings."
    )
    manual: Manual | None = Field(None, description="A person's judgement in place of readings.")


class ImageRole(StrEnum):
    """What an image is in a pod."""

    CONTAINER = "Container"
    INIT_CONTAINER = "InitContainer"
    SIDECAR = "Sidecar"
    """An init container that goes on running (``restartPolicy: Always``)."""
    VOLUME = "Volume"
    """An image volume, for example the model itself."""


class Image(Model):
    """What one container ran, or one image volume held."""

    container: ClippedName = Field(description="Name of the container, or of the volume.")
    role: ImageRole = Field(ImageRole.CONTAINER, description="What it is in the pod. Default Container.")
    image: Clipped = Field(description="The image as written in the pod template.")
    image_id: Clipped | None = Field(
        None, alias="imageID", description="The image that ran, by digest, as the node reports it; absent if unknown."
    )


class SavedField(Model):
    """A field that a containment changes, as it was before."""

    path: Annotated[str, Field(min_length=1, max_length=512)] = Field(
        description="Where it is, as a JSON Pointer (RFC 6901)."
    )
    object: Annotated[str, Field(max_length=317)] = Field(
        "", description="The object it is on, as Kind/name in the same namespace. Empty (default): the workload."
    )
    value: Annotated[str, Field(max_length=MAX_SAVED)] | None = Field(
        None, description="What it was, as JSON; absent where the field was not there."
    )
    replacement: Annotated[str, Field(max_length=8192)] | None = Field(
        None,
        description="Of another object, what was put there, as JSON: the selector, or the one backend. It is given "
        "back only where that still stands.",
    )


SavedFields = Annotated[tuple[SavedField, ...], Field(max_length=20), ListMap("path", "object")]


PodSelector = Annotated[str, Field(max_length=2048)]
"""A label selector as the API server takes it in a query, for example `app=scorer,tier in (a,b)`."""


class Evidence(Model):
    """The workload as it was before anything was touched."""

    replicas: Count | None = Field(
        None,
        description="Replicas asked for: what a Resume restores. Of a runtime that has a switch instead, 1 or 0 for on "
        "or off.",
    )
    revision: RevisionText | None = Field(None, description="Revision of the workload.")
    pod_template_hash: RevisionText | None = Field(None, description="Hash of its pod template.")
    images: Annotated[
        tuple[Image, ...],
        Field(max_length=MAX_IMAGES),
        ListMap("container", "role"),
        distinct("container", "role", limit=MAX_IMAGES),
    ] = Field((), description="What its containers ran.")
    ready_pods: Count | None = Field(None, description="Its pods that were ready to serve.")
    ready_endpoints: Count | None = Field(
        None, description="Its pods that a Service listed as ready endpoints: 0, too, where no Service selects them."
    )
    selector: PodSelector | None = Field(
        None, description="The label selector of its pods: what it matches and is no longer its own is not gone."
    )
    fields: SavedFields = Field((), description="What a containment changes besides the replicas, as it was.")
    taken_at: Timestamp = Field(description="When this was read.")


class NetworkTargetRef(Model):
    """The object other than the workload that a Fallback or an Isolate writes, and what is written there."""

    kind: KindName = Field(description="Service, HTTPRoute or NetworkPolicy.")
    name: ObjectName = Field(description="Its name, in the workload's namespace.")
    selector: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        None, description="Of a Service, the labels of the pods that serve instead."
    )
    backend: ObjectName | None = Field(None, description="Of an HTTPRoute, the Service that serves instead.")


class Restore(Model):
    """What a Resume restores."""

    replicas: Count | None = Field(None, description="Replicas.")
    revision: RevisionText | None = Field(None, description="Revision.")
    pod_template_hash: RevisionText | None = Field(None, description="Hash of the pod template.")
    fields: SavedFields = Field((), description="Further fields, as they were.")


class Intent(Model):
    """What a containment is to do, saved in the write that does it. Never changed, at most one act for each."""

    id: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Number of the intent within the escalation, from 1."
    )
    tier: DnsLabel = Field(description="The tier that demands it.")
    action: ContainmentAction = Field(description="The safe state to bring about.")
    revision: RevisionText | None = Field(None, description="For a Rollback, the revision to go back to.")
    pod_template_hash: RevisionText | None = Field(
        None, description="For a Rollback, the hash of that revision's pod template: it stays when the number changes."
    )
    target_ref: NetworkTargetRef | None = Field(
        None, description="For a Fallback or an Isolate, what it acts on in place of the workload."
    )
    connections: Connections | None = Field(
        None,
        description="For an Isolate, Close where its pods are restarted once the policy is in place, so that open "
        "connections end.",
    )
    reason: ReasonWord = Field(description="Why, one word, the same as the reason of its Event.")
    message: Clipped = Field("", description="The same for people: for example why a Rollback was impossible.")
    signal: Annotated[SignalRef | None, WithoutRules()] = Field(
        None, description="The signal that caused it, if not the one of spec.signal."
    )
    decision: ObjectName | None = Field(None, description="The EscalationDecision that demands it, if a person did.")
    evidence: Evidence | None = Field(None, description="The workload before it, if not as in spec.evidence.")
    restore: Restore | None = Field(
        None, description="What a Resume restores, where another escalation had contained the model before."
    )
    replaces: Annotated[int, Field(ge=1)] | None = Field(
        None, description="The intent on the other axis that could no longer be carried out, and ends with this one."
    )
    intended_at: Timestamp = Field(description="When it was saved.")
