"""What readings and people have said about the revisions of a target: which a Rollback may go back to."""

from __future__ import annotations

from collections.abc import Iterator

from riskladder.api.signal import LastKnownGood
from riskladder.policy.signals.groups import Group
from riskladder.policy.snapshot import LONG_AGO, Snapshot, breached_by
from riskladder.workloads.model import History


def history_of(snapshot: Snapshot, group: Group | None) -> History:
    """Return what is known of the revisions of the target.

    Args:
        snapshot: The target and everything that bears on it.
        group: The signals on whose account it is contained, if any are.
    """
    breached = snapshot.breached.union(*(breached_by(escalation) for escalation in snapshot.escalations))
    observed = group.observed_at if group is not None else frozenset()
    return History(frozenset(_known_good(snapshot)), breached, observed)


def _known_good(snapshot: Snapshot) -> Iterator[str]:
    for signal in snapshot.signals:
        note = signal.status.last_known_good
        if note is not None and note.digest and not is_outdated(snapshot, note):
            yield note.digest


def is_outdated(snapshot: Snapshot, note: LastKnownGood) -> bool:
    """Return whether a revision was taken out of service after it had been noted as good."""
    since = note.since or LONG_AGO
    return any(
        evidence is not None and evidence.pod_template_hash == note.digest and intent.intended_at >= since
        for escalation in snapshot.escalations
        if not escalation.spec.drill
        for intent in escalation.intents
        for evidence in (escalation.evidence(intent),)
    )
