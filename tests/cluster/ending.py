"""Ending in order: on Ctrl-C, on SIGTERM, where the terminal is closed, and with the make that started us."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from pathlib import Path
from types import FrameType

_PR_SET_PDEATHSIG = 1


def ending_signals() -> tuple[signal.Signals, ...]:
    """Return the signals that end a program; SIGHUP is none of them under nohup, which has it ignored."""
    found = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return tuple(found)


def stop_writing(number: int) -> None:
    """Write nothing more to a terminal that was closed: each attempt would fail, and cut the cleaning up short."""
    if number != signal.SIGHUP:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def end_with_make() -> None:
    """Have us ended with SIGTERM when a make that has started us ends, however that is (on Linux).

    Nobody else waits for us then. Whoever starts us from a shell may want us to go on without it.
    """
    if sys.platform != "linux":
        return
    parent = os.getppid()
    try:
        name = Path(f"/proc/{parent}/comm").read_text().strip()
    except OSError:
        return
    if name not in ("make", "gmake"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:
        raise SystemExit("the make that started this has ended already")


def end_in_order() -> None:
    """Have SIGTERM, and a terminal that is closed, end us as Ctrl-C does: what was started is ended first."""
    for number in ending_signals()[1:]:
        signal.signal(number, _end)


def _end(number: int, frame: FrameType | None) -> None:
    stop_writing(number)
    for other in ending_signals()[1:]:
        signal.signal(other, signal.SIG_IGN)  # an impatient second one must not cut the cleaning up short
    raise SystemExit(128 + number)
