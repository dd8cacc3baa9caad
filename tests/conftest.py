"""Fixtures that every test shares. A cluster is started only when a test asks for it, and once per session."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.cluster import KINDS, ControlPlane, open_cluster, resolve
from tests.cluster.base import Progress
from tests.cluster.build import ensure_binaries, print_progress


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--cluster",
        choices=KINDS,
        default="auto",
        help="where integration tests run: local processes, kind, the current kubeconfig context, or what fits (auto)",
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
    needed = any("integration" in item.path.parts for item in session.items)
    config = session.config
    if needed and not config.option.collectonly and resolve(config.getoption("--cluster")) == "local":
        ensure_binaries(progress(config))


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest) -> Iterator[ControlPlane]:
    """A running control plane, stopped after the last test."""
    plane = open_cluster(request.config.getoption("--cluster"), progress(request.config))
    try:
        yield plane
    finally:
        plane.stop()
