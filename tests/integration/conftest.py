"""One operator for the session, under the manifests and the service account of users; a namespace for each test."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from tests.cluster import ControlPlane, LocalControlPlane, control_plane_kind
from tests.cluster.install import install, service_account_kubeconfig
from tests.integration.operator_process import OperatorProcess
from tests.integration.runtimes import RuntimeNamespace
from tests.integration.world import TestNamespace


@pytest.fixture(scope="session")
def installed(cluster: ControlPlane) -> ControlPlane:
    """The control plane with the default overlay applied: CRDs, RBAC and admission policies."""
    install(cluster.kubeconfig)
    return cluster


@pytest.fixture(scope="session")
def operator_kubeconfig(installed: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's service account."""
    return service_account_kubeconfig(installed.kubeconfig, tmp_path_factory.mktemp("operator") / "operator.kubeconfig")


@pytest.fixture(scope="session")
def operator(operator_kubeconfig: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """A running operator that leads; tests that kill or replace it start their own, on a plane of their own."""
    with OperatorProcess(operator_kubeconfig, tmp_path_factory.mktemp("operator-log")) as process:
        process.wait_until_leading()
        yield process


@pytest.fixture(scope="session")
async def admin(installed: ControlPlane) -> AsyncIterator[Client]:
    """A client with an administrator's rights."""
    connection = await connect(str(installed.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture
async def world(admin: Client, operator: OperatorProcess) -> AsyncIterator[TestNamespace]:
    """A fresh namespace with the operator at work."""
    del operator
    async with TestNamespace(admin, f"test-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh


def needs_local(config: pytest.Config) -> None:
    """Skip what starts control planes itself where tests are to run on another cluster."""
    if control_plane_kind(config.getoption("--cluster")) != "local":
        pytest.skip("starts, kills or reaches parts of a control plane of its own: needs --cluster=local")


@pytest.fixture(scope="session")
def common(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """A control plane for modules that have operators of their own, or break and mend it: one after the other.

    Components change what the base may do and nothing else, so each installation leaves what it enables, exactly.
    """
    needs_local(request.config)
    with LocalControlPlane() as plane:
        yield plane


@pytest.fixture(scope="module")
async def plane(common: LocalControlPlane) -> LocalControlPlane:
    """The common control plane, installed by default, with nothing left of earlier modules and without an operator."""
    connection = await connect(str(common.kubeconfig), namespace="default", agent="tests")
    await TestNamespace(Client(connection), "").alone()
    await connection.close()
    await asyncio.to_thread(install, common.kubeconfig)
    return common


@pytest.fixture(scope="module")
def account(plane: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig of the operator's service account, there."""
    return service_account_kubeconfig(plane.kubeconfig, tmp_path_factory.mktemp("account") / "operator.kubeconfig")


@pytest.fixture
async def scene(home: RuntimeNamespace) -> AsyncIterator[RuntimeNamespace]:
    """A namespace of the test's own, in modules about a kind of target: their ``home`` is the operator at work."""
    async with home.another() as own:
        yield own
