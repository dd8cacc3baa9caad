"""YAML with template actions in it: a document is a tree of dicts, lists, scalars, and the nodes in this module."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from riskladder.generate.rbac import NAMESPACE
from riskladder.generate.text import dump_blocks

RELEASE_NAMESPACE = "$.Release.Namespace"


@dataclass(frozen=True, slots=True)
class Value:
    """A scalar that the template computes."""

    expression: str


@dataclass(frozen=True, slots=True)
class When:
    """An item of a list, or the value of a key, that is there under a condition."""

    condition: str
    value: Any


@dataclass(frozen=True, slots=True)
class Given:
    """The value of a key, which is left out with it where the values say nothing there."""

    path: str


@dataclass(frozen=True, slots=True)
class Splice:
    """More items of a list, or more keys (as a key, with None as value), from the values."""

    path: str


@dataclass(frozen=True, slots=True)
class Each:
    """One item of a list for each item of the values; there ``.`` is the item."""

    path: str
    expression: str


@dataclass(frozen=True, slots=True)
class Include:
    """More keys (as a key, with None as value) from a named template."""

    template: str


NODES = (Value, When, Given, Splice, Each, Include)


def write(node: Any, indent: int = 0) -> Iterator[str]:
    """Yield the lines of a document, each with its indentation in spaces.

    Raises:
        ValueError: A list starts an item with what is not always there.
    """
    if _is_plain(node):
        yield from _indented(_plain(node), indent)
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _entry(key, value, indent)
    else:
        for condition, items in groupby(node, lambda item: item.condition if isinstance(item, When) else None):
            lines = [line for item in items for line in _item(item.value if condition else item, indent)]
            yield from _block(f"if {condition}", lines, indent) if condition else lines


def _entry(key: Any, value: Any, indent: int) -> Iterator[str]:
    pad = " " * indent
    match key, value:
        case ((Splice() | Include()), _):
            yield from _more(key, indent)
        case _, When():
            yield from _block(f"if {value.condition}", _entry(key, value.value, indent), indent)
        case _, Given():
            lines = (f"{pad}{key}:", f"{pad}  {{{{- toYaml . | nindent {indent + 2} }}}}")
            yield from _block(f"with {value.path}", lines, indent)
        case _, Value():
            yield f"{pad}{key}: {{{{ {value.expression} }}}}"
        case _, (list() | dict()) if conditions := _conditions(value):
            different = list(dict.fromkeys(conditions))
            whole = different[0] if len(different) == 1 else f"or {' '.join(map(_operand, different))}"
            always = _always(value) if len(different) == 1 else value
            yield from _block(f"if {whole}", (f"{pad}{key}:", *write(always, _inner(value, indent))), indent)
        case _ if _is_plain(value):
            yield from _indented(_plain({key: value}), indent)
        case _:
            yield f"{pad}{key}:"
            yield from write(value, _inner(value, indent))


def _inner(value: Any, indent: int) -> int:
    return indent if isinstance(value, list) else indent + 2


def _item(item: Any, indent: int) -> Iterator[str]:
    match item:
        case Splice():
            yield from _more(item, indent)
        case Each():
            yield from _block(f"range {item.path}", [f"{' ' * indent}- {{{{ {item.expression} }}}}"], indent)
        case _ if not isinstance(item, (dict, list)):
            yield f"{' ' * indent}- {_plain({'item': item}).removeprefix('item: ').rstrip()}"
        case _:
            first, *rest = write(item, indent + 2)
            if first.lstrip().startswith("{{"):
                raise ValueError(f"an item of a list cannot start with {first.strip()}: {item}")
            yield f"{' ' * indent}- {first.lstrip()}"
            yield from rest


def _more(node: Splice | Include, indent: int) -> Iterator[str]:
    pad = " " * indent
    if isinstance(node, Include):
        yield f'{pad}{{{{- include "{node.template}" $ | nindent {indent} }}}}'
    else:
        yield from _block(f"with {node.path}", [f"{pad}{{{{- toYaml . | nindent {indent} }}}}"], indent)


def _block(start: str, lines: Sequence[str] | Iterator[str], indent: int) -> Iterator[str]:
    pad = " " * indent
    yield f"{pad}{{{{- {start} }}}}"
    yield from lines
    yield f"{pad}{{{{- end }}}}"


def _conditions(collection: Sequence[Any] | Mapping[Any, Any]) -> list[str]:
    """Return the conditions under which a list or a mapping has anything in it; none where it always has."""
    found = []
    pairs = collection.items() if isinstance(collection, Mapping) else ((item, item) for item in collection)
    for item in (key if isinstance(key, NODES) else value for key, value in pairs):
        match item:
            case When():
                found.append(item.condition)
            case Splice() | Each():
                found.append(item.path)
            case _:
                return []
    return found


def _always(collection: Any) -> Any:
    """Return a list or a mapping without the condition of what is in it."""
    if isinstance(collection, Mapping):
        return {key: value.value if isinstance(value, When) else value for key, value in collection.items()}
    return [item.value if isinstance(item, When) else item for item in collection]


def _operand(condition: str) -> str:
    return f"({condition})" if " " in condition else condition


def _is_plain(node: Any) -> bool:
    if isinstance(node, Mapping):
        return all(not isinstance(key, NODES) and _is_plain(value) for key, value in node.items())
    if isinstance(node, list):
        return all(map(_is_plain, node))
    return not isinstance(node, NODES)


def _plain(node: Any) -> str:
    """Return YAML in which the operator's namespace is that of the release, and nothing else is taken for an action."""
    text = dump_blocks(node).replace("{{", '{{ "{{" }}')
    text = re.sub(rf"(?m)(: |^- ){NAMESPACE}$", rf"\1{{{{ {RELEASE_NAMESPACE} | quote }}}}", text)
    return text.replace(NAMESPACE, f"{{{{ {RELEASE_NAMESPACE} }}}}")


def _indented(text: str, indent: int) -> Iterator[str]:
    for line in text.splitlines():
        yield " " * indent + line if line else line
