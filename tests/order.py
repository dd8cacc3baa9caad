"""The order in which tests run, and which control planes stand meanwhile: plugin hooks of the whole session."""

from __future__ import annotations

import os
from collections import defaultdict
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LONGEST = (
    "tests/node",
    "tests/integration/test_faults.py",
    "tests/integration/test_console_stories.py",
    "tests/integration/test_helm.py",
    "tests/integration/test_lifecycle.py",
    "tests/integration/test_cli_people.py",
    "tests/integration/test_authority.py",
    "tests/integration/test_soak.py",
    "tests/integration/test_examples.py",
    "tests/integration/test_operator.py",
    "tests/integration/test_monitors_page.py",
    "tests/integration/test_what_serves.py",
    "tests/integration/test_boards.py",
    "tests/integration/test_doctor.py",
    "tests/console",
    "tests/release",
    "tests/integration/test_argo_rollouts.py",
    "tests/integration/test_ingest_alone.py",
    "tests/integration/test_keda.py",
    "tests/integration/test_peers.py",
    "tests/integration/test_unrecorded.py",
    "tests/unit/test_invariants.py",
    "tests/charts",
    "tests/channels",
    "tests/unit/test_network_path_invariants.py",
    "tests/unit/test_api_rules.py",
    "tests/monitors",
)
"""What takes longest, in this order, of several workers: one that gets it last keeps the others waiting."""


class Together(LoadScopeScheduling):
    """Gives the tests of a module, or of the real node, to one worker: what they share is made once, not by each."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/node" if nodeid.startswith("tests/node/") else _module(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    config.option.loadscopereorder = False  # The order is that of the collection.
    return Together(config, log)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One more than there are cores: a third of the time tests wait for the cluster, which waits, too.

    Beyond four, control planes need too much memory. ``logical`` is for what needs none, and waits for nothing.
    """
    cores = os.cpu_count() or 1
    return cores if config.option.numprocesses == "logical" else min(cores + 1, 4)


SHARED = ("plane", "cluster", "common")
"""The control planes of a session, in the order in which a worker has them: one after the other, since one at which
nobody looks still takes a tenth of a core."""


USED = pytest.StashKey[dict[str, set[str]]]()
"""By module, the shared control planes that its tests use."""

STANDING = pytest.StashKey[dict[str, tuple[pytest.FixtureDef[Any], Any]]]()
"""The shared control planes that run, and the request of each."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what shares a control plane in a row, and what takes longest first, so that all workers end together."""
    used: dict[str, set[str]] = defaultdict(set)
    for item in items:
        definitions = getattr(item, "_fixtureinfo").name2fixturedefs  # noqa: B009 - pytest has no other way to ask
        used[_module(item.nodeid)].update(
            n for n in SHARED if n in definitions and definitions[n][-1].scope == "session"
        )
    config.stash[USED] = used

    def rank(item: pytest.Item) -> tuple[int, int]:
        longest = next((n for n, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST))
        stage = max((SHARED.index(name) + 1 for name in used[_module(item.nodeid)]), default=0)
        return (stage if stage or longest < len(LONGEST) else len(SHARED) + 1, longest)

    items.sort(key=rank)


def _module(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: Any) -> None:
    """Note that a shared control plane is started."""
    if fixturedef.argname in SHARED and fixturedef.scope == "session":
        request.config.stash.setdefault(STANDING, {})[fixturedef.argname] = (fixturedef, request)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Stop a shared control plane, and what runs on it, once a module comes that uses another or none."""
    standing = item.config.stash.get(STANDING, {})
    for name in standing.keys() - item.config.stash[USED][_module(item.nodeid)]:
        fixture, request = standing.pop(name)
        fixture.finish(request)
