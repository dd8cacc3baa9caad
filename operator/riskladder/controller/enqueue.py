"""Enqueueing: which keys are looked at again because of what, and how long changes of each kind are gathered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from riskladder.controller.caches.entries import IndexKey, Key, LadderKey
from riskladder.controller.caches.store import Store
from riskladder.controller.scheduler import Scheduler
from riskladder.policy.snapshot import TargetKey

INDEX_DELAY = 0.1
"""Seconds for which changes of what is contained in a namespace are gathered."""

LADDER_DELAY = 0.5
"""Seconds for which changes of a ladder's status are gathered."""


class Enqueuer:
    """Puts keys into the work queue."""

    def __init__(self, scheduler: Scheduler[Key, Any], *, urgent: Callable[[TargetKey], None]) -> None:
        """Put keys into a scheduler.

        Args:
            scheduler: The work queue.
            urgent: Called with each target of which something changed that a containment may depend on.
        """
        self._scheduler = scheduler
        self._urgent = urgent

    def changed(self, key: Key, urgent: bool) -> None:
        """Enqueue what a change concerns."""
        if not isinstance(key, TargetKey):
            self._scheduler.add(key, after={LadderKey: LADDER_DELAY, IndexKey: INDEX_DELAY}.get(type(key), 0.0))
            return
        if urgent:
            self._urgent(key)
        self._scheduler.add(key, urgent=urgent)

    def notified(self, key: TargetKey | LadderKey) -> None:
        """Enqueue a key whose notification was delivered, or was not, so that its trail says so."""
        self._scheduler.add(key, after=LADDER_DELAY if isinstance(key, LadderKey) else 0.0)

    def again(self, key: Key, after: float) -> None:
        """Enqueue a key after so many seconds."""
        self._scheduler.add(key, after=after)

    def everything(self, store: Store) -> None:
        """Enqueue every target and every ladder."""
        for key in store.targets():
            self._scheduler.add(key)
        self.ladders(store)

    def ladders(self, store: Store) -> None:
        """Enqueue every ladder."""
        for namespace, name in store.ladders:
            self._scheduler.add(LadderKey(namespace, name))

    def ladders_of(self, namespace: str, store: Store) -> None:
        """Enqueue the ladders of a namespace, so that they say what has come to light."""
        for ladder_namespace, name in store.ladders:
            if ladder_namespace == namespace:
                self._scheduler.add(LadderKey(namespace, name), after=LADDER_DELAY)
