"""Kubernetes control planes for tests, benchmarks and the demo: `open_cluster()` gives one, wherever it runs.

`python -m tests.cluster --help` does the same for any command.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from tests.cluster.base import ClusterError, ControlPlane, Progress, silent
from tests.cluster.local import LocalControlPlane

KINDS = ("auto", "local", "node", "kind", "current")

__all__ = [
    "KINDS",
    "ClusterError",
    "ControlPlane",
    "LocalControlPlane",
    "control_plane_kind",
    "open_cluster",
    "resolve",
]


def resolve(kind: str) -> str:
    """Which kind `auto` means here; any other kind is itself. Raises ClusterError for one that does not exist."""
    if kind == "auto":
        kind = os.environ.get("CLUSTER") or "auto"
    if kind not in KINDS:
        raise ClusterError(f"No cluster kind {kind!r}: choose one of {', '.join(KINDS)} (--cluster, or CLUSTER).")
    if kind == "auto":
        from tests.cluster.host import why_not
        from tests.cluster.kind import docker_works

        kind = "kind" if docker_works() else "local" if why_not() else "node"
    return kind


def control_plane_kind(kind: str) -> str:
    """Which kind tests of the control plane alone run on: fake nodes where others would get a real one in addition.

    A real node changes nothing for them, but has two cores for a thousand pods. Raises ClusterError as `resolve` does.
    """
    kind = resolve(kind)
    return "local" if kind == "node" else kind


def open_cluster(
    kind: str = "auto", progress: Progress = silent, trusted: Sequence[Mapping[str, Any]] = ()
) -> ControlPlane:
    """A running control plane; the caller stops it.

    `auto` is what the environment variable CLUSTER says, else kind where a Docker engine runs, else a real node where
    this machine can have one, else local processes. `trusted`: whose tokens a local one takes, see its `trust`.
    Raises ClusterError.
    """
    kind = resolve(kind)
    if kind == "kind":
        from tests.cluster.kind import Kind

        return Kind(progress=progress)
    if kind == "current":
        from tests.cluster.current import CurrentContext

        return CurrentContext(progress)
    if kind == "node":
        from tests.cluster.node import NodeCluster

        return NodeCluster(progress=progress).start()
    return LocalControlPlane(progress=progress, trusted=trusted).start()
