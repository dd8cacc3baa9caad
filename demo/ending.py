"""What ends the demo before its time, in order: Ctrl-C, SIGTERM, and a terminal that is closed."""

from __future__ import annotations

import asyncio
from typing import Any, Self

from tests.cluster.ending import ending_signals, stop_writing


class Ending:
    """Takes the signals as long as it is entered: the first one ends the demo, later ones change nothing."""

    def __init__(self) -> None:
        """Wait for nothing yet."""
        self.number = 0
        """The signal that cut the demo short; 0 where none did."""
        self._stays: asyncio.Event | None = None
        self._is_over = False

    def __enter__(self) -> Self:
        """Take the signals, on behalf of the task that is running."""
        self._task, self._taken = asyncio.current_task(), ending_signals()
        for number in self._taken:
            asyncio.get_running_loop().add_signal_handler(number, self._end, number)
        return self

    def __exit__(self, *_: Any) -> None:
        """Leave them to whoever comes next."""
        for number in self._taken:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _end(self, number: int) -> None:
        stop_writing(number)
        if self._is_over:
            return
        self._is_over = True
        if self._stays is not None:
            self._stays.set()
        elif self._task is not None:
            self.number = number
            self._task.cancel()

    async def stay(self) -> None:
        """Wait for a signal: it is how this ends, and cuts nothing short."""
        self._stays = asyncio.Event()
        await self._stays.wait()
