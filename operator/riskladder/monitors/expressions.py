"""The CEL expressions of a binding: over ``entry`` and ``body``, compiled once, without any function that does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from riskladder.api.cel_library import cel
from riskladder.monitors import cost
from riskladder.monitors.cost import FUNCTIONS, TooCostly

BODY_BUDGET = 16 * 1024 * 1024
"""Bytes of ``body`` that the expressions of one payload may look through: CEL copies it each time."""

_TEXT = cost.TEXT
_MEMBER = re.compile(r"\bentry\s*\.\s*([A-Za-z_]\w*)(?!\s*\()")
_NAMED = re.compile(r"\bentry\.(method|fields\.member|name)\s*==\s*(?:" + _TEXT.pattern + ")")
_BODY = re.compile(r"\bbody\b")
_BODY_NUMBER = -1
"""Of the body, in place of that of an entry."""


class BadExpression(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """An expression that cannot be compiled, or that fails on an entry."""

    lacks = False
    """Whether it fails since the entry lacks what it looks at."""


@lru_cache(maxsize=4096)
def compiled(expression: str) -> Any:
    """Return the program of an expression.

    Raises:
        BadExpression: It is not CEL, or may take too long.
    """
    try:
        cost.shape(expression)
        return cel.compile(expression)
    except TooCostly as error:
        raise BadExpression(str(error)) from error
    except Exception as error:  # the library raises ValueError, RuntimeError, and its own
        raise BadExpression(f"is not CEL: {_first_line(error)}") from error


def members(expression: str) -> list[str]:
    """Return the members of ``entry`` that an expression names, such as ``value`` for ``entry.value``."""
    return list(dict.fromkeys(_MEMBER.findall(_TEXT.sub('""', expression))))


def named(expression: str) -> list[str]:
    """Return the methods, members and names of metrics that an expression asks for, in this order."""
    found = [(match[1], _TEXT.search(match[0])) for match in _NAMED.finditer(expression)]
    order = ("method", "fields.member", "name")
    return [text[0][1:-1] for field, text in sorted(found, key=lambda pair: order.index(pair[0])) if text]


@lru_cache(maxsize=4096)
def _looks_at_body(expression: str) -> bool:
    return _BODY.search(_TEXT.sub('""', expression)) is not None


class Scope:
    """The entries of one payload, as expressions see them; each is converted once, and only if one looks at it."""

    def __init__(self, entries: Sequence[Mapping[str, Any]], body: Any, size: int) -> None:
        self._entries, self._body, self._size = entries, body, size
        self._contexts: dict[int, cel.Context] = {}
        self._whole: cel.Context | None = None
        self._left, self._steps = BODY_BUDGET, cost.ALL
        self._weights: dict[int, tuple[int, int]] = {}

    def evaluate(self, expression: str, number: int) -> Any:
        """Return the value of an expression over one entry.

        Args:
            expression: CEL.
            number: Of the entry.

        Raises:
            BadExpression: It is not CEL, or fails on this entry, for instance since a field is missing.
        """
        program = compiled(expression)
        self._spend(expression, number)
        try:
            return program.execute(self._context(number, whole=_looks_at_body(expression)))
        except BadExpression:
            raise
        except KeyError as error:
            lacking = BadExpression(f"fails here: the entry has no {_first_line(error)}")
            lacking.lacks = True
            raise lacking from error
        except Exception as error:
            raise BadExpression(f"fails here: {_first_line(error)}") from error

    def _spend(self, expression: str, number: int) -> None:
        """Refuse what may take too long with what there is to look at."""
        found = cost.shape(expression)
        if not (found.depth or found.sums or found.patterns):
            return
        values, size = self._weight(number)
        if _looks_at_body(expression):
            more = self._weight(_BODY_NUMBER)
            values, size = values + more[0], size + more[1]
        try:
            self._steps -= cost.steps(found, values, size)
        except TooCostly as error:
            raise BadExpression(str(error)) from error
        if self._steps < 0:
            raise BadExpression("takes too long for so many entries: look at less in each of them")

    def _weight(self, number: int) -> tuple[int, int]:
        if number not in self._weights:
            self._weights[number] = cost.weight(self._body if number == _BODY_NUMBER else self._entries[number])
        return self._weights[number]

    def _context(self, number: int, *, whole: bool) -> cel.Context:
        if whole:
            self._left -= self._size
            if self._left < 0:
                message = "fails here: the payload is too large to look at body for every entry, look at entry instead"
                raise BadExpression(message)
            if self._whole is None:
                self._whole = cel.Context({"body": self._body}, FUNCTIONS)
            self._whole.add_variable("entry", dict(self._entries[number]))
            return self._whole
        if number not in self._contexts:
            self._contexts[number] = cel.Context({"entry": dict(self._entries[number])}, FUNCTIONS)
        return self._contexts[number]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
