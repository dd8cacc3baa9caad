"""A sample of what a monitor sends, and a binding, each read from a file."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from riskladder.api.binding import MonitorBindingSpec
from riskladder.api.kinds import BINDING, LADDER
from riskladder.api.ladder import EscalationLadderSpec
from riskladder.api.validation import validate
from riskladder.cli import files
from riskladder.cli.files import Document
from riskladder.cli.output import fail
from riskladder.monitors.check import problems
from riskladder.monitors.entries import Delivery
from riskladder.monitors.payload import MAX_BYTES

_CONTENT_TYPES = {".csv": "text/csv", ".txt": "text/plain", ".prom": "text/plain"}


class Bound(NamedTuple):
    """A binding as it was read from a file."""

    name: str
    namespace: str
    """Empty where the file leaves it to whoever applies it."""
    spec: MonitorBindingSpec


def delivery(path: str, headers: Iterable[str] = (), received_at: datetime | None = None) -> Delivery:
    """Return the sample of a file, or of standard input, as if it had been sent.

    Args:
        path: The body; or, in a file that ends in ``.http``, a request with its headers.
        headers: Further headers, each as ``Name: value``.
        received_at: When it is taken to have been received.
    """
    try:
        with sys.stdin.buffer if path == files.STDIN else Path(path).open("rb") as file:
            raw = file.read(MAX_BYTES + 1 + 65536)
    except OSError as error:
        fail(f"{path}: {error.strerror or error}")
    suffix = Path(path).suffix.lower()
    found = {"content-type": _CONTENT_TYPES[suffix]} if suffix in _CONTENT_TYPES else {}
    if suffix == ".http":
        head, _, raw = raw.replace(b"\r\n", b"\n").partition(b"\n\n")
        found |= _headers(head.decode("latin-1").split("\n")[1:], path)
    return Delivery(raw, {**found, **_headers(headers, "--header")}, received_at)


def _headers(lines: Iterable[str], where: str) -> dict[str, str]:
    found = {}
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not name.strip():
            fail(f"{where}: found {line!r}, expected 'Name: value'")
        found[name.strip().lower()] = value.strip()
    return found


def bindings(path: str) -> list[Bound]:
    """Return the bindings of a file; what is wrong with one ends the command."""
    found = [_bound(document) for document in _of_kind(path, BINDING.name)]
    if not found:
        fail(f"{path}: holds no {BINDING.name}")
    return found


def ladder(path: str, name: str) -> EscalationLadderSpec:
    """Return the ladder of that name from a file."""
    documents = _of_kind(path, LADDER.name)
    found = next((document for document in documents if _metadata(document).get("name") == name), None)
    if found is None:
        names = ", ".join(str(_metadata(document).get("name")) for document in documents)
        fail(f"{path}: holds no {LADDER.name} {name}, only {names or 'none'}")
    _expect_sound(found, LADDER.name)
    return EscalationLadderSpec.model_validate(found.value["spec"])


def _of_kind(path: str, kind: str) -> list[Document]:
    try:
        documents = [document for file in files.expand(path) for document in files.read(file)]
    except files.Unreadable as error:
        fail(str(error))
    return [d for d in documents if isinstance(d.value, Mapping) and d.value.get("kind") == kind]


def _bound(document: Document) -> Bound:
    _expect_sound(document, BINDING.name)
    spec = MonitorBindingSpec.model_validate(document.value["spec"])
    if found := problems(spec):
        fail(f"{document.source}:{document.line_of(found[0].path)}: {found[0]}")
    metadata = _metadata(document)
    return Bound(str(metadata.get("name", "")), str(metadata.get("namespace") or ""), spec)


def _expect_sound(document: Document, kind: str) -> None:
    found = validate(kind, document.value, unknown_fields=True)
    if found:
        more = f" (and {len(found) - 1} more: see riskladder lint)" if len(found) > 1 else ""
        fail(f"{document.source}:{document.line_of(found[0].path)}: {found[0]}{more}")


def _metadata(document: Document) -> Mapping[str, object]:
    metadata = document.value.get("metadata")
    return metadata if isinstance(metadata, Mapping) else {}
