"""Build a real Kubernetes control plane from source, once per pin, into a cache outside of the work tree.

No container engine and no download of a prebuilt binary is needed: the programs come through Go modules, verified by
go.sum. A cold build takes minutes, so it says what it does, and every later call returns at once.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.base import ClusterError, Progress
from tests.cluster.gotool import environment, find_go
from tests.cluster.launcher import dying_with_us, yielding
from tests.cluster.versions import ALL, KUBERNETES, KWOK, Module, digest

RECIPE = "1"
"""Raise it when the way of building changes: the cache is keyed by it."""

STAGES = ("node/fast", "node/heartbeat", "pod/fast")
"""What kwok plays for nodes and pods: Ready at once, heartbeats, Ready and gone at once."""

HEARTBEAT_SECONDS = 15.0
LOG_TAIL_LINES = 30


def cache_directory() -> Path:
    """`$RISKLADDER_CACHE`, else `$XDG_CACHE_HOME/riskladder`, else `~/.cache/riskladder`."""
    if own := os.environ.get("RISKLADDER_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "riskladder"


def print_progress(line: str) -> None:
    """One line on standard error."""
    print(f"[cluster] {line}", file=sys.stderr, flush=True)


def ensure_binaries(progress: Progress = print_progress) -> Path:
    """The directory with etcd, kwok and the Kubernetes programs; kwok's stages are in `stages/` next to it.

    Safe to call from several processes at once: one builds, the others wait for it. Raises ClusterError with the tail
    of the log if a build fails.
    """
    root = cache_directory() / "controlplane"
    home = root / f"{KUBERNETES.version}-{digest(RECIPE, *STAGES)}"
    if (home / "bin").is_dir():
        return home / "bin"
    root.mkdir(parents=True, exist_ok=True)
    with locked(home.with_name(home.name + ".lock"), progress):
        if not (home / "bin").is_dir():
            _build(home, progress)
    return home / "bin"


def ensure_programs(module: Module, progress: Progress = print_progress) -> Path:
    """The directory with the programs of a module, built on the first call; some minutes.

    Safe to call from several processes at once: one builds, the others wait for it. Raises ClusterError with the tail
    of the log if a build fails.
    """
    home = _programs(module)
    root = home.parent
    if not home.is_dir():
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f"{module.directory}.lock", progress):
            if not home.is_dir():
                partial = home.with_name(home.name + ".partial")
                shutil.rmtree(partial, ignore_errors=True)
                partial.mkdir()
                with locked(root / "go.lock", progress):
                    go = find_go(cache_directory(), progress)
                compile_program(go, module, partial, home.with_name(home.name + ".log"), progress)
                partial.rename(home)
    return home


def is_built(module: Module) -> bool:
    """Return whether the programs of a module are in the cache."""
    return _programs(module).is_dir()


def _programs(module: Module) -> Path:
    recipe = (RECIPE, module.tags) if module.tags else (RECIPE,)
    name = f"{module.directory}-{module.version}-{digest(*recipe, modules=(module,))}"
    return cache_directory() / "programs" / name


def _build(home: Path, progress: Progress) -> None:
    started = time.monotonic()
    progress(f"building the control plane into {home} (once; some minutes when nothing is cached)")
    go = find_go(cache_directory(), progress)
    partial = home.with_name(home.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "bin").mkdir(parents=True)
    for module in ALL:
        compile_program(go, module, partial / "bin", home.with_name(f"{home.name}.{module.directory}.log"), progress)
    _copy_stages(go, partial / "stages")
    partial.rename(home)  # Atomic: nobody ever sees half a directory.
    progress(f"control plane built in {time.monotonic() - started:.0f} s")


def compile_program(go: str, module: Module, target: Path, log: Path, progress: Progress) -> None:
    # One program is named here, since etcd's package is called "server"; several take their names in the directory.
    output = target / module.programs[0][0] if len(module.programs) == 1 else f"{target}/"
    command = [go, "build", "-v", "-trimpath", f"-ldflags={_ldflags(module)}", "-o", str(output)]
    command += [f"-tags={module.tags}"] if module.tags else []
    command += [package for _, package in module.programs]
    progress(f"{module.names} {module.version}: compiling (log: {log})")
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            dying_with_us(yielding(command)),
            cwd=module.path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = _wait(process, module, log, progress)
        except BaseException:
            # The compilers are children of go: end the whole group, which is ours alone.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
    if code != 0:
        raise ClusterError(
            f"Building {module.names} {module.version} failed: go exited with {code}. The end of {log}:\n{tail(log)}"
        )
    progress(f"{module.names} {module.version}: done in {time.monotonic() - started:.0f} s")
    log.unlink()


def _wait(process: subprocess.Popen[bytes], module: Module, log: Path, progress: Progress) -> int:
    """Wait for the build, with a sign of life at times. `go build -v` logs one line for each package or download."""
    started = time.monotonic()
    while True:
        try:
            return process.wait(timeout=HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            lines = log.read_text(errors="replace").splitlines()
            now_at = f", now {lines[-1]}" if lines else ""
            progress(f"{module.names}: {time.monotonic() - started:.0f} s, {len(lines):,} packages{now_at}")


def _ldflags(module: Module) -> str:
    """Strip debug data, and stamp the version: a build from a module has no git tag to read it from."""
    flags = ["-s", "-w"]
    if module.upstream == KUBERNETES.upstream:
        major, minor, _ = module.version.removeprefix("v").split(".")
        stamp = {"gitVersion": module.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamp.items()]
    return " ".join(flags)


def _copy_stages(go: str, target: Path) -> None:
    result = subprocess.run(
        [go, "list", "-m", "-f", "{{.Dir}}", KWOK.upstream],
        cwd=KWOK.path,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    source = Path(result.stdout.strip()) / "kustomize" / "stage"
    if result.returncode != 0 or not source.is_dir():
        raise ClusterError(f"{KWOK.upstream} {KWOK.version}: no stage files found at {source}. {result.stderr.strip()}")
    for stage in STAGES:
        (target / stage).mkdir(parents=True)
        for file in sorted((source / stage).glob("*.yaml")):
            if file.name != "kustomization.yaml":
                (target / stage / file.name).write_bytes(file.read_bytes())  # Not copy: module files are read-only.


@contextlib.contextmanager
def locked(file: Path, progress: Progress) -> Iterator[None]:
    with file.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"another process is building {file.stem}: waiting for it")
            started = last = time.monotonic()
            while True:
                try:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    time.sleep(0.2)
                if time.monotonic() - last >= HEARTBEAT_SECONDS:
                    last = time.monotonic()
                    progress(f"still waiting for the other build of {file.stem} after {last - started:.0f} s")
        yield


def tail(log: Path, lines: int = LOG_TAIL_LINES) -> str:
    """The last lines of a log, or a word that there is none."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) or "(the log is empty)"
    except OSError as error:
        return f"(no log: {error})"
