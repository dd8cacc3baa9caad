"""A temporary directory that is removed even if its owner could not do it."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

PREFIX = "riskladder-plane-"
LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class Scratch:
    """A directory that lives as long as its owner: the lock in it is released when the owner ends in whatever way."""

    path: Path
    _lock: IO[str]

    @classmethod
    def create(cls) -> Self:
        """Make one, and remove those of owners that were killed."""
        remove_abandoned()
        path = Path(tempfile.mkdtemp(prefix=PREFIX))
        new = path / f"{LOCK}.new"
        lock = new.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(path / LOCK)  # Only now can it be seen, and it has never been seen unlocked.
        return cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def remove_abandoned() -> None:
    """Remove the directories whose owner is dead. A directory without a lock is just being made: it is left alone."""
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), lock.open() as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent, ignore_errors=True)
