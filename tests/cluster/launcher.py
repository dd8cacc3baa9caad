"""Child processes that do not outlive us, whatever ends us."""

from __future__ import annotations

import os
import shutil
import sys

# Runs in the child, becomes the component by exec, and so keeps the process id. The kernel then kills the component
# when its parent dies, even by SIGKILL, which no handler can see. A launcher instead of subprocess's preexec_fn: that
# runs Python between fork and exec, which can deadlock in a process with threads, as pytest plugins and asyncio have.
_LAUNCHER = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL)) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG) failed")
if os.getppid() != int(sys.argv[1]):
    sys.exit("the parent process has died already")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
os.execv(sys.argv[2], sys.argv[2:])
"""

ALONE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation=private")
"""Before a command that root runs: in mount and PID namespaces of its own, so that its children end with it, too."""


def dying_with_us(command: list[str]) -> list[str]:
    """Return a command that becomes the given one, and is killed when the thread that starts it ends (on Linux).

    The program must be an absolute path.
    """
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(os.getpid()), *command]


def yielding(command: list[str]) -> list[str]:
    """Return a command that runs at the lowest priority: a build waits for nothing, and tests do for answers."""
    nice = shutil.which("nice")
    return [nice, "-n", "19", *command] if nice else command
