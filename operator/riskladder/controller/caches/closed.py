"""What outlasts the closed escalations of one target: of the newest all, of older ones what decisions need."""

from __future__ import annotations

from riskladder.controller.caches.entries import ClosedEntry
from riskladder.policy.containment.opening import escalation_name
from riskladder.policy.snapshot import Handled, latest

MAX_CLOSED = 64
"""Closed escalations of a target that are kept one by one, of each ladder: a reading that flaps closes one each minute.

Of each ladder, since the name of its next escalation is made from its last one.
"""

MAX_BREACHED = 1024
"""Revisions that older ones were about, the newest: no Deployment keeps as many."""


class ClosedEscalations:
    """The closed escalations of one target.

    What is asked for at every look is computed again only after a change.
    """

    def __init__(self) -> None:
        """Start empty."""
        self._entries: dict[str, ClosedEntry] = {}
        self._names: dict[str, str] = {}
        """By uid, of all: a hold that names one of them is over, however old that is."""
        self._older_breached: dict[str, None] = {}
        self._older_handled: tuple[Handled, ...] = ()
        self._handled: tuple[Handled, ...] | None = None
        self._breached: frozenset[str] | None = None
        self._all_names: frozenset[str] | None = None

    def __len__(self) -> int:
        """Return how many are kept one by one."""
        return len(self._entries)

    def __bool__(self) -> bool:
        """Return whether there is any."""
        return bool(self._names)

    def put(self, uid: str, entry: ClosedEntry) -> None:
        """Take in one; the oldest is summed up with those before it."""
        if self._entries.get(uid) == entry:
            return
        self._changed()
        self._names[uid] = entry.name
        self._entries[uid] = entry
        alike = [k for k, e in self._entries.items() if (e.ladder, e.drill) == (entry.ladder, entry.drill)]
        if len(alike) <= MAX_CLOSED:
            return
        oldest = min(alike, key=lambda known: (self._entries[known].created, known))
        dropped = self._entries.pop(oldest)
        self._older_handled = latest((*self._older_handled, *dropped.handled))
        for revision in sorted(dropped.breached):
            self._older_breached.pop(revision, None)
            self._older_breached[revision] = None
        while len(self._older_breached) > MAX_BREACHED:
            del self._older_breached[next(iter(self._older_breached))]

    def remove(self, uid: str) -> None:
        """Forget one that was deleted."""
        self._changed()
        self._names.pop(uid, None)
        self._entries.pop(uid, None)

    def _changed(self) -> None:
        self._handled = self._breached = self._all_names = None

    @property
    def handled(self) -> tuple[Handled, ...]:
        """Return the breaches that people have handled, the latest of each ladder and tier."""
        if self._handled is None:
            newer = (one for entry in self._entries.values() for one in entry.handled)
            self._handled = latest((*self._older_handled, *newer))
        return self._handled

    @property
    def breached(self) -> frozenset[str]:
        """Hashes of the revisions that they were about."""
        if self._breached is None:
            newer = (revision for entry in self._entries.values() for revision in entry.breached)
            self._breached = frozenset((*self._older_breached, *newer))
        return self._breached

    @property
    def names(self) -> frozenset[str]:
        """The names of all of them."""
        if self._all_names is None:
            self._all_names = frozenset(self._names.values())
        return self._all_names

    def last(self, target: str, target_uid: str) -> dict[str, str]:
        """Return by ladder the uid of the newest one.

        Creation times are whole seconds, so several episodes may share one: the last is the one that the name of no
        other was made from.
        """
        closed = {uid: entry for uid, entry in self._entries.items() if not entry.drill}
        names, found = {entry.name for entry in closed.values()}, {}
        for uid, entry in sorted(closed.items(), key=lambda item: (item[1].created, item[0])):
            if escalation_name(target, target_uid, entry.ladder, uid) not in names:
                found[entry.ladder] = uid
        return found
