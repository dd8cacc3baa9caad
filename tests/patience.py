"""How long a test waits for anything: a slow machine is no fault, so this bounds what never comes, and nothing else."""

from __future__ import annotations

PATIENCE = 240.0
"""Seconds; a test waits for a condition, and goes on as soon as it holds."""
