"""What makes unit tests fast."""

from __future__ import annotations

from functools import cache

import typer.testing

typer.testing._get_command = cache(typer.testing._get_command)  # type: ignore[attr-defined]
"""Typer makes all commands anew for each call, out of annotations, which takes longer than most calls: once will do."""
