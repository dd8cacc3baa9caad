"""Fixtures that every test shares. A cluster is started only when a test asks for it, and once per session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.cluster import KINDS, ControlPlane, control_plane_kind, open_cluster, resolve
from tests.cluster.base import Progress
from tests.cluster.build import ensure_binaries, print_progress
from tests.cluster.node import ensure_node


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
    config = session.config
    parts = {part for item in session.items for part in item.path.relative_to(config.rootpath).parts}
    if config.option.collectonly or not parts & {"integration", "node"}:
        return
    kind = resolve(config.getoption("--cluster"))
    if control_plane_kind(kind) == "local":
        ensure_binaries(progress(config))
    if kind == "node" and "node" in parts:
        ensure_node(progress(config))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A running control plane, stopped after the last test."""
    kind = control_plane_kind(request.config.getoption("--cluster"))
    plane = open_cluster(kind, progress(request.config))
    try:
        yield plane
    finally:
        plane.stop()
