"""Fixtures that every test shares. A cluster is started only when a test asks for it, and once per session."""

from __future__ import annotations

import contextlib
import gc
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer.testing
from hypothesis import HealthCheck, settings

from tests.cluster import KINDS, ControlPlane, control_plane_kind, open_cluster, resolve
from tests.cluster.ahead import build_ahead
from tests.cluster.base import Progress
from tests.cluster.build import ensure_binaries, print_progress
from tests.cluster.node import ensure_programs_of_node
from tests.node import report
from tests.stash import TRUSTED

os.environ.setdefault("GOGC", "400")
"""Control planes of tests live for minutes, and have more memory than cores."""

typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]
"""Typer makes all commands anew for each call, out of annotations, which takes longer than most calls: once will do."""

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

# Property tests: few examples and always the same ones by default, many and new ones when asked, and none in a hurry.
# `HYPOTHESIS_PROFILE=thorough` looks for what the default has not found; what it prints of a failure reproduces it.
settings.register_profile("default", deadline=None, derandomize=True, max_examples=20, suppress_health_check=SLOW)
settings.register_profile("thorough", deadline=None, max_examples=3000, print_blob=True, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

pytest_plugins = ("tests.order", "tests.console.issuer", "tests.console.browser")
"""The order of the tests, and fixtures that several directories use."""

MEASURED = pytest.StashKey[list[tuple[str, list[str]]]]()
"""What was measured on the real node: the worker that ran there hands it over when it ends."""


AHEAD = pytest.StashKey[subprocess.Popen[bytes] | None]()
"""What builds, meanwhile, what tests will need."""


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (ahead := session.config.stash.get(AHEAD, None)) is not None:
        ahead.terminate()
        ahead.wait()
    found = [(title, list(lines)) for title, lines in report.sections()]
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["measured"] = found
    else:
        session.config.stash.setdefault(MEASURED, []).extend(found)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(MEASURED, []).extend(getattr(node, "workeroutput", {}).get("measured", ()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured: it is asserted nowhere how long anything takes."""
    for title, lines in config.stash.get(MEASURED, []):
        terminalreporter.section(title)
        for line in lines:
            terminalreporter.write_line(line)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster",
        choices=KINDS,
        default="auto",
        help="where tests run: local processes, a real node, kind, the current kubeconfig context, or what fits (auto)",
    )


def progress(config: pytest.Config) -> Progress:
    """Shows lines past pytest's capture, so that people see what takes its time."""
    capture = config.pluginmanager.getplugin("capturemanager")

    def show(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            print_progress(line)

    return show


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test: a cold build takes minutes, which is not to count towards the timeout of a test."""
    gc.freeze()  # All that was imported and collected stays: no garbage collection is to look through it again.
    gc.set_threshold(50_000)  # Not every 700 objects: models of a test are many, and hardly ever in a cycle.
    config = session.config
    parts = {part for item in session.items for part in item.path.relative_to(config.rootpath).parts}
    if config.option.collectonly or not parts & {"console", "integration", "node"}:
        return
    kind = resolve(config.getoption("--cluster"))
    if control_plane_kind(kind) == "local":
        ensure_binaries(progress(config))
    if kind == "node" and "node" in parts:
        ensure_programs_of_node(progress(config))  # Its images are made meanwhile, by the worker that has the node.
    if os.environ.get("PYTEST_XDIST_WORKER") == "gw0":
        config.stash[AHEAD] = build_ahead(item.nodeid for item in session.items)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A running control plane, stopped after the last test."""
    kind = control_plane_kind(request.config.getoption("--cluster"))
    plane = open_cluster(kind, progress(request.config), request.config.stash.get(TRUSTED, []))
    try:
        yield plane
    finally:
        plane.stop()
