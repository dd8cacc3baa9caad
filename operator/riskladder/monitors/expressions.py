"""The CEL expressions of a binding: over ``entry`` and ``body``, compiled once, without any function that does I/O."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import cel
from cel.stdlib import STDLIB_FUNCTIONS


class BadExpression(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """An expression that cannot be compiled, or that fails on an entry."""

    lacks = False
    """Whether it fails since the entry lacks what it looks at."""


@lru_cache(maxsize=4096)
def compiled(expression: str) -> Any:
    """Return the program of an expression.

    Raises:
        BadExpression: It is not CEL.
    """
    try:
        return cel.compile(expression)
    except Exception as error:  # the library raises ValueError, RuntimeError, and its own
        raise BadExpression(f"is not CEL: {_first_line(error)}") from error


def evaluated(expression: str, entry: dict[str, Any], body: Any) -> Any:
    """Return the value of an expression over one entry.

    Raises:
        BadExpression: It is not CEL, or fails on this entry, for instance since a field is missing.
    """
    program = compiled(expression)
    try:
        return program.execute(cel.Context({"entry": entry, "body": body}, STDLIB_FUNCTIONS))
    except KeyError as error:
        lacking = BadExpression(f"fails here: the entry has no {_first_line(error)}")
        lacking.lacks = True
        raise lacking from error
    except Exception as error:
        raise BadExpression(f"fails here: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
