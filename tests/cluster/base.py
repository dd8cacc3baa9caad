"""What every test cluster offers, however it came to be.

Tests depend on this Protocol and never on how the cluster was made, so that the same test runs on local processes, on
kind, or on whatever cluster the current kubeconfig context names.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tests.cluster.local import LocalControlPlane

Progress = Callable[[str], None]
"""Receives one human-readable line per step, so that nobody stares at a silent terminal."""


class ClusterError(RuntimeError):
    """A test cluster could not be made, reached or used; the message says what to do about it."""


class ControlPlane(Protocol):
    """A running Kubernetes control plane with administrator access."""

    @property
    def name(self) -> str:
        """A short name for people: `local`, `kind-riskladder`, or the kubeconfig context."""
        ...

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig file whose current context is this cluster, as an administrator."""
        ...

    @property
    def local(self) -> LocalControlPlane | None:
        """The capability to break things (kill, pause, restart), where the processes are ours; else None."""
        ...

    def check(self) -> None:
        """Raise ClusterError if something that opening the cluster started has ended by itself."""
        ...

    def stop(self) -> None:
        """Release everything that opening the cluster created. Idempotent."""
        ...


def silent(line: str) -> None:
    """A `Progress` that says nothing."""
