"""The manifests of this checkout on a control plane, installed as the demo and people do it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from demo import install as product
from demo.install import (
    DEFAULT_OVERLAY,
    FIELD_MANAGER,
    NAMESPACE,
    SERVICE_ACCOUNT,
    InstallError,
    kubectl,
    service_account_kubeconfig,
)

__all__ = [
    "DEFAULT_OVERLAY",
    "FIELD_MANAGER",
    "NAMESPACE",
    "ROOT",
    "SERVICE_ACCOUNT",
    "InstallError",
    "install",
    "kubectl",
    "render",
    "service_account_kubeconfig",
]

ROOT = Path(__file__).parents[2]


def install(kubeconfig: Path, overlay: str | None = None, components: Sequence[str] = ()) -> None:
    """Apply an overlay of this checkout, and components; see `demo.install.install`."""
    product.install(kubeconfig, ROOT, overlay=overlay, components=components)


def render(overlay: str = DEFAULT_OVERLAY, components: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The objects of an overlay of this checkout, and of components."""
    return product.render(ROOT, overlay, components)
