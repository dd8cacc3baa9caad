"""The charts, packaged, and both versions of Helm."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.charts.helm import CHART, CRDS, Helm, ensure_helm, packaged
from tests.conftest import progress


@pytest.fixture(scope="session")
def programs(request: pytest.FixtureRequest) -> dict[int, Path]:
    return ensure_helm(progress(request.config))


@pytest.fixture(scope="session", params=[3, 4], ids=["helm3", "helm4"])
def helm(request: pytest.FixtureRequest, programs: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Each version of Helm."""
    return Helm(request.param, programs[request.param], tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def helm4(programs: dict[int, Path], tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """The newer one, for what does not depend on the version."""
    return Helm(4, programs[4], tmp_path_factory.mktemp("helm4"))


@pytest.fixture(scope="session")
def chart(helm4: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged(helm4, CHART, tmp_path_factory.mktemp("chart"))


@pytest.fixture(scope="session")
def crds_chart(helm4: Helm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged(helm4, CRDS, tmp_path_factory.mktemp("crds-chart"))
