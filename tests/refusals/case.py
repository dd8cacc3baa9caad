"""One change to a valid document, and how it is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.refusals.documents import Document, valid

ABSENT: Any = object()
Change = Callable[[Document], None]


@dataclass(frozen=True)
class Case:
    """One change to a valid document. `server` is part of the server's words where they are not ours."""

    name: str
    kind: str
    change: Change
    path: str
    message: str
    server: str = ""

    def document(self) -> Document:
        document = valid(self.kind)
        self.change(document["spec"])
        return document


def put(*location: Any) -> Change:
    """The change that puts the last argument at the place that the others name; ABSENT removes what is there."""
    *steps, last, value = location

    def change(spec: Document) -> None:
        node: Any = spec
        for step in steps:
            node = node[step]
        if value is ABSENT:
            del node[last]
        elif isinstance(node, list) and last == len(node):
            node.append(value)
        else:
            node[last] = copy.deepcopy(value)

    return change


def both(*changes: Change) -> Change:
    def change(spec: Document) -> None:
        for one in changes:
            one(spec)

    return change


def ladder(name: str, change: Change, path: str, message: str, server: str = "") -> Case:
    """A case of the kind that most are about."""
    return Case(name, "EscalationLadder", change, path, message, server)
