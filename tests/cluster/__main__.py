"""`python -m tests.cluster build [--cluster KIND] | run [--cluster KIND] -- CMD… | shell [--cluster KIND]`."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import FrameType

from tests.cluster import KINDS, ClusterError, ControlPlane, open_cluster, resolve
from tests.cluster.build import ensure_binaries, print_progress
from tests.cluster.current import CurrentContext
from tests.cluster.ending import end_with_make, ending_signals, stop_writing
from tests.cluster.host import why_not
from tests.cluster.images import MODEL
from tests.cluster.launcher import dying_with_us

COMMAND_NOT_FOUND = 127
CHECK_SECONDS = 1.0
"""Between two looks at whether the cluster still runs."""


def main(arguments: list[str] | None = None) -> int:
    """The exit code: that of CMD for `run`, else 0; 2 for wrong usage; 1 if there is no cluster to be had."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    for number in ending_signals():
        signal.signal(number, _end)
    end_with_make()
    try:
        if options.action == "build":
            return _build(resolve(options.cluster))
        if options.cluster == "auto":
            options.cluster = resolve("auto")
            _explain(options.cluster)
        print_progress(f"starting a cluster of kind {options.cluster}")
        plane = open_cluster(options.cluster, print_progress)
        try:
            if options.action == "shell":
                return _shell(plane)
            return _run(options.command, plane)
        finally:
            _ignore_signals()  # Cleaning up takes a moment: an impatient second Ctrl-C must not leave half of it.
            plane.stop()
    except (ClusterError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description="Kubernetes control planes for tests.")
    actions = parser.add_subparsers(dest="action", required=True)
    build = actions.add_parser("build", help="build what a cluster is made of into the cache, and print where it is")
    run = actions.add_parser("run", help="run a command with KUBECONFIG set to a cluster of its own")
    shell = actions.add_parser("shell", help="start a cluster, print its KUBECONFIG, and keep it until Ctrl-C")
    for action in (build, run, shell):
        kind = "local" if action is build else "auto"
        action.add_argument("--cluster", choices=KINDS, default=kind, help="where it runs (default: %(default)s)")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD…", help="the command and its arguments")
    options = parser.parse_args(arguments)
    if options.action == "run":
        options.command = options.command[1:] if options.command[:1] == ["--"] else options.command
        if not options.command:
            run.error("a command is missing after --")
    return options


def _build(kind: str) -> int:
    print(ensure_binaries())
    if kind == "node":
        from tests.cluster.node import ensure_node

        for part in ensure_node(print_progress):
            print(part)
    return 0


def _explain(kind: str) -> None:
    """Say which kind was chosen, and what a better one would take."""
    if kind == "local" and (reason := why_not()):
        print_progress(f"simulated nodes: pods become Ready at once, and no container runs. {reason}")


def _run(command: list[str], plane: ControlPlane) -> int:
    program = shutil.which(command[0])
    if program is None:
        print(f"error: {shlex.join(command)} could not be started: there is no {command[0]}", file=sys.stderr)
        return COMMAND_NOT_FOUND
    child = subprocess.Popen(
        dying_with_us([str(Path(program).absolute()), *command[1:]]), env=os.environ | _environment(plane)
    )

    def forward(number: int, frame: FrameType | None) -> None:
        stop_writing(number)
        # A Ctrl-C in the terminal has reached the child already, and a second one would cut its own cleaning up short.
        if number != signal.SIGINT or not _in_foreground():
            child.send_signal(number)

    for number in ending_signals():
        signal.signal(number, forward)
    while True:
        try:
            code = child.wait(CHECK_SECONDS)
        except subprocess.TimeoutExpired:
            try:
                plane.check()
            except ClusterError:
                child.terminate()
                child.wait()
                raise
        else:
            return code if code >= 0 else 128 - code


def _environment(plane: ControlPlane) -> dict[str, str]:
    """Return the environment variables that say where a command runs, and which model server image it can use."""
    found = {"KUBECONFIG": str(plane.kubeconfig)}
    if not isinstance(plane, CurrentContext):  # it ends with the command
        found["RISKLADDER_THROWAWAY"] = "1"
    if plane.name == "node":
        found["RISKLADDER_MODEL_IMAGE"] = MODEL.rpartition("/")[2]
    return found


def _shell(plane: ControlPlane) -> int:
    print(f"export KUBECONFIG={shlex.quote(str(plane.kubeconfig))}", flush=True)
    print_progress("Ctrl-C ends the cluster")
    done = threading.Event()

    def end(number: int, frame: FrameType | None) -> None:
        stop_writing(number)
        done.set()

    for number in ending_signals():
        signal.signal(number, end)
    while not done.wait(CHECK_SECONDS):
        plane.check()
    print_progress("ending the cluster")
    return 0


def _in_foreground() -> bool:
    """True if a terminal sends its Ctrl-C to our process group, and so to the child too."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)  # Not standard input, which may be something else.
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _end(number: int, frame: FrameType | None) -> None:
    stop_writing(number)
    _ignore_signals()  # What has been started is cleaned up now: an impatient second one must not cut that short.
    raise SystemExit(128 + number)


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
