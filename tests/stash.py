"""Keys of pytest's stash, by which fixtures of several files tell each other something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

TRUSTED = pytest.StashKey[Sequence[Mapping[str, Any]]]()
"""Whose tokens the shared control plane takes from its start, where that is known by then."""
