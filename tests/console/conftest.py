"""A control plane of these tests' own, with an operator that they may stop, and a console for many."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from tests.cluster import LocalControlPlane, control_plane_kind
from tests.cluster.install import install, service_account_kubeconfig
from tests.console.place import ConsolePlace, ConsoleProcess, console
from tests.integration.operator_process import OperatorProcess


@pytest.fixture(scope="session")
def plane(request: pytest.FixtureRequest) -> Iterator[LocalControlPlane]:
    """A control plane with the default overlay, which these tests may break."""
    if control_plane_kind(request.config.getoption("--cluster")) != "local":
        pytest.skip("stops the operator and the API server: needs --cluster=local")
    with LocalControlPlane() as plane:
        install(plane.kubeconfig)
        yield plane


@pytest.fixture(scope="session")
def operator(plane: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    """The operator at work."""
    directory = tmp_path_factory.mktemp("console-operator")
    account = service_account_kubeconfig(plane.kubeconfig, directory / "operator.kubeconfig")
    with OperatorProcess(account, directory) as process:
        process.wait_until_leading()
        yield process


@pytest.fixture(scope="session")
async def chief(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """An administrator."""
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture(scope="session")
def running(plane: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ConsoleProcess, str]]:
    """A console for many, beside an administrator's kubeconfig, of whose credentials it is to use none."""
    directory = tmp_path_factory.mktemp("console")
    with console(plane.kubeconfig, directory, "--link-host", "good.example") as found:
        yield found


@pytest.fixture(scope="session")
def url(running: tuple[ConsoleProcess, str]) -> str:
    return running[1]


@pytest.fixture(scope="session")
async def place(plane: LocalControlPlane, operator: OperatorProcess, chief: Client) -> AsyncIterator[ConsolePlace]:
    """A namespace with people in it."""
    del operator
    async with ConsolePlace(chief, f"console-{uuid.uuid4().hex[:8]}", Path(plane.kubeconfig)) as found:
        yield found
