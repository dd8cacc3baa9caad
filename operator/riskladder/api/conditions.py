"""Conditions as the Kubernetes API conventions have them (``metav1.Condition``), and the one way to set them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from riskladder.api.base import Model, Timestamp
from riskladder.api.reasons import ConditionType, Reason

MESSAGE_LIMIT = 1024
"""Longest condition message, in characters: long enough for a sentence, short enough to list."""


class ConditionStatus(StrEnum):
    """True, False, or Unknown on the first visit."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One observation of an object's state (``metav1.Condition``)."""

    type: Annotated[str, Field(max_length=64, description="What is observed, for example Ready.")]
    status: Annotated[ConditionStatus, Field(description="True, False or Unknown.")]
    reason: Annotated[
        str,
        Field(
            max_length=64,
            pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
            description="One CamelCase word for why; the Event and the record of the same change carry the same word.",
        ),
    ]
    message: Annotated[str, Field(max_length=MESSAGE_LIMIT, description="The same for people, in one sentence.")] = ""
    last_transition_time: Annotated[
        Timestamp, Field(description="When the status last changed from one value to another.")
    ]
    observed_generation: Annotated[
        int | None, Field(ge=0, description="The metadata.generation this observation is about.")
    ] = None


class Conditions:
    """A working set of conditions: set what is observed now, read off the result in a stable order.

    ``lastTransitionTime`` moves only when the status does (Kubernetes API conventions), and is cut to whole seconds as
    ``metav1.Time`` is, so that an unchanged observation yields an equal object and no write.
    """

    def __init__(self, existing: Iterable[Condition], *, generation: int | None, now: datetime) -> None:
        """Start from what is stored.

        Args:
            existing: The conditions as they stand in the object's status.
            generation: The ``metadata.generation`` that the observations are about.
            now: The time to give a condition whose status changes, in UTC.
        """
        self._stored = {condition.type: condition for condition in existing}
        self._by_type = dict(self._stored)
        self._generation = generation
        self._now = now.replace(microsecond=0)

    def set(self, kind: ConditionType, status: bool | None, reason: Reason, message: str = "") -> None:
        """Record an observation; ``None`` is Unknown."""
        value = {True: ConditionStatus.TRUE, False: ConditionStatus.FALSE, None: ConditionStatus.UNKNOWN}[status]
        # Against what is stored first: what is set twice in one pass has not changed in between.
        before = [c for c in (self._stored.get(kind), self._by_type.get(kind)) if c is not None and c.status == value]
        since = before[0].last_transition_time if before else self._now
        if len(message) > MESSAGE_LIMIT:
            message = message[: MESSAGE_LIMIT - 1] + "…"
        stored = self._stored.get(kind)
        said = (value, str(reason), message, self._generation)
        if stored and said == (stored.status, stored.reason, stored.message, stored.observed_generation):
            self._by_type[kind] = stored  # thousands of signals say the same as before in every pass
            return
        self._by_type[kind] = Condition(
            type=str(kind),
            status=value,
            reason=str(reason),
            message=message,
            last_transition_time=since,
            observed_generation=self._generation,
        )

    def get(self, kind: ConditionType) -> Condition | None:
        """Return the condition as it stands now, set or inherited."""
        return self._by_type.get(kind)

    def is_true(self, kind: ConditionType) -> bool:
        """Return whether the condition is present with status True."""
        return is_true(self._by_type.values(), kind)

    def result(self) -> tuple[Condition, ...]:
        """Return all conditions, sorted by type so that equal observations are equal objects."""
        return tuple(self._by_type[kind] for kind in sorted(self._by_type))


def find(conditions: Iterable[Condition], kind: ConditionType) -> Condition | None:
    """Return the condition of that type, or ``None``."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: ConditionType) -> bool:
    """Return whether the condition of that type is present with status True."""
    found = find(conditions, kind)
    return found is not None and found.status is ConditionStatus.TRUE
