"""What an expression may cost: CEL has loops inside loops and text that grows, and nothing stops it once it runs.

One process evaluates the expressions of all bindings, and whoever may write one binding must not keep it from the
others. So the cost is bounded from above before an expression runs: by how its loops lie inside each other, and by how
much they may look at.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from riskladder.api.cel_library import STDLIB_FUNCTIONS

MAX_LOOPS = 3
"""``all``, ``exists``, ``exists_one``, ``map`` and ``filter`` in one expression, at most."""
MAX_GROWTH = 64
"""By how much loops may multiply what they go through."""
ONE, ALL = 64 * 1024 * 1024, 512 * 1024 * 1024
"""Steps of one evaluation, and of all of a payload, at most: some nanoseconds each, and a byte of memory."""
PATTERN = 20_000
"""Steps that a small pattern takes to be compiled."""
MAX_ITEMS = 2048
"""Items of a list that a function makes, or compares with each other."""
MAX_TEXT = 64 * 1024
"""Characters of a text that a function makes longer than it was."""

TEXT = re.compile(r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'")
"""A text of CEL, but for raw and triple-quoted ones."""
_LOOP = re.compile(r"\.\s*(?:all|exists|exists_?[oO]ne|map|filter|opt\w+|transform\w+)\s*\(\s*(\w*)")
_MATCHES = re.compile(r"\bmatches\s*\(")
_MATCHES_TEXT = re.compile(_MATCHES.pattern + rf"\s*[rR]?(?:{TEXT.pattern})\s*\)")
_REPEATED = re.compile(r"\{(\d{1,6})(?:,(\d{0,6}))?\}")
_COMPARES_ALL = re.compile(r"\bdistinct\s*\(|\bsets\s*\.")
_MAKES_LISTS = re.compile(r"\brange\s*\(|\bsplit\s*\(")
_MAKES_TEXT = re.compile(r"\breplace\s*\(|\bjoin\s*\(|\bencode\s*\(")
_OTHER_TEXT = re.compile(r"\b[rRbB]{1,2}[\"']|\"\"\"|'''|//.*\n", re.DOTALL)


class TooCostly(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """An expression, or a call in one, that may take too long, or too much memory."""


class Shape(NamedTuple):
    """What of an expression decides over its cost."""

    depth: int
    """Loops inside each other."""
    sums: int
    items: int
    """Items of lists that the expression makes itself, at most."""
    text: int
    """Characters that it adds to a text, at most."""
    patterns: int
    """How large its regular expressions are together: each is compiled anew whenever it is asked."""


@lru_cache(maxsize=4096)
def shape(expression: str) -> Shape:
    """Return the shape of an expression.

    Raises:
        TooCostly: Its loops are too many, or multiply what they go through.
    """
    patterns = _patterns(expression)
    if _LOOP.search(expression) is None:
        return Shape(0, expression.count("+"), 0, len(expression), patterns)
    if _OTHER_TEXT.search(expression):
        raise TooCostly("found a loop, and a raw or triple-quoted text or a comment, expected only one of them")
    bare = TEXT.sub('""', expression)
    loops = list(_LOOP.finditer(bare))
    if len(loops) > MAX_LOOPS:
        raise TooCostly(f"found {len(loops)} loops (all, exists, map, filter), expected at most {MAX_LOOPS}")
    if loops and "+" in bare:
        raise TooCostly("found + next to a loop, expected it in expressions without one: texts and lists would grow")
    spans = [(loop.start(), _end(bare, loop.end())) for loop in loops]
    growth = 1
    for loop, (start, end) in zip(loops, spans, strict=True):
        growth *= max(len(re.findall(rf"\b{re.escape(loop[1])}\b", bare[start:end])) - 1, 1) if loop[1] else 1
    if growth > MAX_GROWTH:
        raise TooCostly(f"found loops that may make {growth} of one, expected at most {MAX_GROWTH}")
    depth = max((sum(a <= start < b for a, b in spans) for start, _ in spans), default=0)
    depth += bool(loops and _COMPARES_ALL.search(bare))
    items = bare.count(",") + MAX_ITEMS * len(_MAKES_LISTS.findall(bare))
    return Shape(depth, 0, items, len(expression) + MAX_TEXT * len(_MAKES_TEXT.findall(bare)), patterns)


def _patterns(expression: str) -> int:
    asked = len(_MATCHES.findall(expression))
    if asked > len(_MATCHES_TEXT.findall(expression)):
        raise TooCostly("found matches with what is no text in quotation marks, expected the pattern itself")
    classes = 1 + expression.count("\\")
    return asked * classes * math.prod(int(number or 1) for pair in _REPEATED.findall(expression) for number in pair)


def _end(bare: str, start: int) -> int:
    """Return where the call ends whose arguments start there."""
    depth = 1
    for position in range(start, len(bare)):
        depth += {"(": 1, ")": -1}.get(bare[position], 0)
        if depth == 0:
            return position
    return len(bare)


def weight(value: Any) -> tuple[int, int]:
    """Return how many values a JSON value holds, and about how many bytes."""
    if isinstance(value, str):
        return 1, len(value)
    if isinstance(value, Mapping):
        parts = [weight(part) for part in value.values()]
        return 1 + sum(number for number, _ in parts), sum(map(len, value)) + sum(size for _, size in parts)
    if isinstance(value, (list, tuple)):
        parts = [weight(part) for part in value]
        return 1 + sum(number for number, _ in parts), 2 + sum(size for _, size in parts)
    return 1, 8


def steps(found: Shape, values: int, size: int) -> int:
    """Return how many steps an expression may take that looks at so many values, of so many bytes.

    Raises:
        TooCostly: They are too many for one evaluation.
    """
    values, size = values + found.items, size + 8 * found.items + found.text
    needed = values**found.depth * (size * (1 + found.sums) + PATTERN * found.patterns)
    if needed > ONE:
        seen = f"{values} values of {size} bytes"
        raise TooCostly(f"looks at {seen}, which is too much for it: look at entry in place of body, or at less of it")
    return int(needed)


def _bounded(name: str, is_too_much: Callable[..., bool]) -> Callable[..., Any]:
    function = STDLIB_FUNCTIONS[name]

    def call(*arguments: Any) -> Any:
        if is_too_much(*arguments):
            raise TooCostly(f"{name}: found more than it is good for, expected less")
        return function(*arguments)

    return call


def _replaces_too_much(text: str, old: str, new: str, *_: Any) -> bool:
    return len(text) + text.count(old) * len(new) > max(len(text), MAX_TEXT)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **STDLIB_FUNCTIONS,
    "lists.range": _bounded("lists.range", lambda number: number > MAX_ITEMS),
    "split": _bounded("split", lambda text, by, *_: (text.count(by) if by else len(text)) > MAX_ITEMS),
    "replace": _bounded("replace", _replaces_too_much),
    "join": _bounded("join", lambda items, by="": sum(map(len, items)) + len(items) * len(by) > MAX_TEXT),
    "distinct": _bounded("distinct", lambda items: len(items) > MAX_ITEMS),
    **{
        f"sets.{name}": _bounded(f"sets.{name}", lambda one, other: max(len(one), len(other)) > MAX_ITEMS)
        for name in ("contains", "equivalent", "intersects")
    },
}
"""Beyond the core of CEL: none does I/O, and none makes much of little."""
