"""The cache of ladders, as stored and as read."""

from __future__ import annotations

from collections.abc import Callable

from riskladder.controller.caches.endpoints import Name, Object
from riskladder.controller.caches.entries import Enqueue, LadderEntry, LadderKey, version_of
from riskladder.controller.caches.reading import created_at, read_ladder, read_ladder_status


class LadderCache:
    """Every ladder by namespace and name."""

    def __init__(self, enqueue: Enqueue, *, changed: Callable[[Name], None]) -> None:
        """Start empty.

        Args:
            enqueue: Called with each ladder that was stored, whatever changed of it.
            changed: Called with the name of a ladder whose rules are new, or gone.
        """
        self._enqueue = enqueue
        self._changed = changed
        self.entries: dict[Name, LadderEntry] = {}

    def put(self, obj: Object) -> None:
        """Take in a ladder; its rules are read again only where its generation is another one."""
        metadata = obj["metadata"]
        name = (metadata["namespace"], metadata["name"])
        before = self.entries.get(name)
        version = (metadata["uid"], metadata.get("generation", 0))
        if before is not None and (before.ladder.uid, before.ladder.generation) == version:
            ladder = before.ladder
        else:
            ladder = read_ladder(obj)
        self.entries[name] = LadderEntry(ladder, read_ladder_status(obj), created_at(metadata), version_of(obj))
        self._enqueue(LadderKey(*name), False)
        if before is None or before.ladder.generation != ladder.generation or before.ladder.uid != ladder.uid:
            self._changed(name)

    def drop(self, obj: Object) -> None:
        """Forget a deleted ladder."""
        name = (obj["metadata"]["namespace"], obj["metadata"]["name"])
        entry = self.entries.get(name)
        if entry is not None and entry.ladder.uid == obj["metadata"]["uid"]:
            del self.entries[name]
            self._changed(name)
