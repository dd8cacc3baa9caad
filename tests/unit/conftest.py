"""How property tests run: few examples and always the same ones by default, many and new ones when asked.

`HYPOTHESIS_PROFILE=thorough` looks for what the default has not found; a failure it prints is reproducible by its blob.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from functools import cache

import pytest
import typer.testing
from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("default", deadline=None, derandomize=True, max_examples=20, suppress_health_check=SLOW)
settings.register_profile("thorough", deadline=None, max_examples=3000, print_blob=True, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]
"""Typer makes all commands anew for each call, out of annotations, which takes longer than most calls: once will do."""


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_xdist_auto_num_workers() -> Generator[None, int, int]:
    """Add a worker: of these tests' time, a sixth is spent waiting, for processes, clocks and connections."""
    return (yield) + 1
