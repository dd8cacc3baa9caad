"""The hold: what a contained object carries, in an annotation, of why it is contained.

It is written in the very patch that contains, so that intent, evidence and act become durable together or not at all.
The Escalation is created from it. It counts only together with the label that names the same escalation, on the object
whose uid it has: a copy that a controller makes of it is inert.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Annotated, Literal

from pydantic import Field

from riskladder.api.base import DnsLabel, Model, ObjectName
from riskladder.api.escalation import LadderRef, TargetIdentity
from riskladder.api.intent import Evidence, Intent, SignalRef
from riskladder.api.signal import ModelInfo, Reading

MAX_HOLD = 16 * 1024
"""Bytes of the annotation that are aimed at: what is not needed to restore is shortened for it, and no stop waits for
more room (an object takes 256 KiB of annotations)."""

_CLIPPED = 256
"""Characters of free text that are kept where the annotation would be too long."""


class Hold(Model):
    """Why an object is contained, and what was there before."""

    version: Literal[1] = Field(1, description="Format of the annotation.")
    uid: Annotated[str, Field(max_length=128)] = Field(
        "", description="uid of the object that carries it; empty where that was created with it."
    )
    escalation: ObjectName = Field(description="The Escalation that contains it.")
    tier: DnsLabel = Field(description="The tier of that escalation.")
    target: TargetIdentity = Field(description="The workload that the escalation is about.")
    ladder: LadderRef = Field(description="The version of the ladder.")
    signal: SignalRef = Field(description="The signal that was acted on, as it read then.")
    model: ModelInfo | None = Field(None, description="What the workload serves.")
    evidence: Evidence = Field(description="The workload as it was before.")
    intent: Intent = Field(
        description="What was intended; its signal and its evidence are in the fields of the same name."
    )


def write_hold(hold: Hold) -> str:
    """Return the annotation: compact JSON, of at most ``MAX_HOLD`` bytes where what is not needed to restore fits."""
    for shorter in (lambda h: h, _without_images, _clipped, lambda h: h.model_copy(update={"model": None})):
        hold = shorter(hold)
        text = json.dumps(hold.to_api(), separators=(",", ":"), ensure_ascii=False)
        if len(text.encode()) <= MAX_HOLD:
            break
    return text


@lru_cache(maxsize=1024)
def read_hold(text: str) -> Hold | None:
    """Return what an annotation says, or ``None`` where it is none of ours."""
    try:
        return Hold.model_validate_json(text)
    except ValueError:
        return None


def _without_images(hold: Hold) -> Hold:
    return hold.model_copy(update={"evidence": hold.evidence.model_copy(update={"images": ()})})


def _clipped(hold: Hold) -> Hold:
    """Drop what explains a reading, and cut free text short: both are in the signal."""
    manual = hold.signal.manual
    if manual is not None:
        manual = manual.model_copy(update={"rationale": manual.rationale[:_CLIPPED]})
    readings = tuple(
        Reading(indicator=r.indicator, value=r.value, sample_size=r.sample_size) for r in hold.signal.readings
    )
    signal = hold.signal.model_copy(update={"manual": manual, "readings": readings})
    intent = hold.intent.model_copy(update={"message": hold.intent.message[:_CLIPPED]})
    return hold.model_copy(update={"signal": signal, "intent": intent})
