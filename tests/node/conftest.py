"""One real node for the package, with policies enforced; on it, the operator in pods as a test asks for it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator

import pytest

from riskladder.cluster.client import Client
from riskladder.cluster.connection import connect
from tests.cluster import resolve
from tests.cluster.host import why_not
from tests.cluster.node import NodeCluster
from tests.conftest import progress
from tests.integration.world import TestNamespace
from tests.node.installation import Installation


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs a real node, and skip it by name where there is none."""
    mine = [item for item in items if "node" in item.path.parts and "tests" in item.path.parts]
    if not mine:
        return
    kind = resolve(config.getoption("--cluster"))
    reason = ""
    if kind != "node":
        reason = why_not() or f"needs a real node, and this is --cluster={kind}: choose --cluster=node"
    for item in mine:
        item.add_marker(pytest.mark.node)
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="package")
def node(request: pytest.FixtureRequest) -> Iterator[NodeCluster]:
    with NodeCluster(policies=True, progress=progress(request.config)) as running:
        yield running


@pytest.fixture(scope="package")
async def admin(node: NodeCluster) -> AsyncIterator[Client]:
    """A client with an administrator's rights."""
    connection = await connect(str(node.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture(scope="package")
def installation(node: NodeCluster, admin: Client) -> Installation:
    """What is installed on the node, nothing at first."""
    return Installation(node, admin)


@pytest.fixture
async def nothing_installed(installation: Installation) -> AsyncIterator[None]:
    """For a test that installs the operator in a way of its own."""
    await installation.remove()
    yield
    await installation.remove()


@pytest.fixture
async def world(admin: Client) -> AsyncIterator[TestNamespace]:
    """A namespace of the test's own."""
    async with TestNamespace(admin, f"test-{uuid.uuid4().hex[:8]}") as fresh:
        yield fresh
