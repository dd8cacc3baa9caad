"""Names that are part of the API beyond the kinds: labels, the Secret of the channels, the field manager. Each once."""

from __future__ import annotations

from riskladder.api.base import GROUP

LABEL_LADDER = f"{GROUP}/ladder"
"""On what a ladder has made: the name of the ladder."""

LABEL_TIER = f"{GROUP}/tier"
"""On an Escalation: the tier that it is in."""

LABEL_CONTAINMENT = f"{GROUP}/containment"
"""On an Escalation whose target is contained and locked: the action."""

LABEL_CONTAINED_BY = f"{GROUP}/contained-by"
"""On what a containment has changed: the name of the Escalation. The lock holds what carries it."""

LABEL_LOCK = f"{GROUP}/lock"
"""On the same, where its ladder wants it locked: the action that the lock holds it to."""

ANNOTATION_CONTAINMENT = f"{GROUP}/containment"
"""On the same: the hold (hold.py), which says why."""

LABEL_ESCALATION = f"{GROUP}/escalation"
"""On records and NetworkPolicies: the escalation that they belong to."""

LABEL_DRILL = f"{GROUP}/drill"
"""On the Escalation of a drill."""

CHANNELS_SECRET = "riskladder-channels"  # noqa: S105 - the name of a Secret
"""The Secret of a namespace that holds the credentials of its channels."""

VIA = "riskladder.dev/via"
"""Of a user's extra: what acts in somebody's name says so there."""

CONSOLE = "console"
"""What the console says there."""

INGEST_SECRET = "riskladder-ingest"  # noqa: S105 - the name of a Secret
"""The Secret of a namespace that holds the keys by which its monitors sign."""

BINDING_ANNOTATION = f"{GROUP}/binding"
"""On a ModelRiskSignal that was translated: the name of the MonitorBinding."""

FIELD_MANAGER = "riskladder"
"""The field manager of the operator's writes, and the actor of its records."""
