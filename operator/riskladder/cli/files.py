"""Reads Kubernetes objects from YAML and JSON as ``kubectl`` would, with a clear error for what cannot be read.

Differences from PyYAML, all towards what ``kubectl`` makes of the same text: times and dates stay text (their hash
would change), ``12:30`` is text and not a number to the base 60, ``1e-3`` is a number, ``=`` is text; a key given twice
is an error, because what a person reads first would not be what counts.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import yaml

from riskladder.report import archive

if TYPE_CHECKING:
    from yaml import SafeLoader as _Base
else:
    _Base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

STDIN = "-"
SUFFIXES = (".yaml", ".yml", ".json", ".jsonl", ".ndjson")
MANY = 1_000_000
"""More nodes than this, and ten times as many as were written, are an alias bomb."""


class Unreadable(Exception):  # noqa: N818 - reads as a sentence at the call site
    """A file that cannot be read; the message names it, the line where known, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Document:
    """One object of a file: a whole document, or an item of a List."""

    source: str
    """The file as it was named, or ``standard input``."""
    index: int
    """Number of the document in its file, from 1."""
    line: int
    """Where it begins, from 1."""
    value: Any
    node: yaml.Node | None = None
    """The same with line numbers, where there are any."""
    item: int | None = None
    """Number in its List, from 1."""
    is_yaml: bool = False
    """Whether it was read from YAML, in which kubectl does not keep every character."""

    def line_of(self, path: str) -> int:
        """Return the line of a path such as ``spec.tiers[0].name``, or of as much of it as there is."""
        node, line, rest = self.node, self.line, path
        while rest and node is not None:
            node, line, rest = _step(node, line, rest)
        return line


def expand(source: str) -> list[str]:
    """Return the files that an argument means: itself, or the YAML and JSON files of a directory and those below it.

    Raises:
        Unreadable: There is no such file, or no such file in the directory.
    """
    path = Path(source)
    if source == STDIN or not path.is_dir():
        return [source]
    found = sorted(
        str(file)
        for file in path.rglob("*")
        if file.suffix in SUFFIXES and file.is_file() and not _is_hidden(file.relative_to(path))
    )
    if not found:
        raise Unreadable(f"{source}: no file in this directory ends in {', '.join(SUFFIXES)}")
    return found


def read(source: str) -> list[Document]:
    """Return all objects of a file, with Lists taken apart; ``-`` is standard input.

    YAML of one or many documents, JSON, concatenated JSON and JSON lines are distinguished by looking.

    Raises:
        Unreadable: It is missing, not text, neither YAML nor JSON, or holds what no cluster could.
    """
    name = "standard input" if source == STDIN else source
    try:
        raw = sys.stdin.buffer.read() if source == STDIN else Path(source).read_bytes()
        if raw.startswith(archive.MAGIC):
            return _archived(name, raw)
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{name}: not UTF-8 text: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise Unreadable(f"{name}: cannot be read: {error.strerror or error}") from error
    try:
        documents = _json(name, text) if text.lstrip()[:1] in ("{", "[") else None
        documents = list(_yaml(name, text)) if documents is None else documents
        return [part for document in documents for part in _parts(document)]
    except RecursionError as error:
        raise Unreadable(f"{name}: nested too deeply") from error


def _archived(name: str, raw: bytes) -> list[Document]:
    """Return the objects in an archive that ``riskladder export`` wrote, and that is as its manifest describes it."""
    try:
        found = archive.unpack(raw)
    except archive.NotAnArchive as error:
        raise Unreadable(f"{name}: {error}") from error
    documents = [
        document for file, text in found.items() for document in _json(f"{name}: {file}", text, marked=False) or ()
    ]
    return [part for document in documents for part in _parts(document)]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


# --- JSON ---------------------------------------------------------------------------------------------------------


def _json(name: str, text: str, *, marked: bool = True) -> list[Document] | None:
    """Return the JSON values of a text in order; None where it is not JSON and may be YAML in flow style.

    Args:
        name: Of the file.
        text: What it holds.
        marked: Whether to know the lines of what is in them, which takes longer than to read them.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise Unreadable(f"{name}, line {line} or later: key {json.dumps(twice)} is given twice in one object")
        return result

    def refuse(constant: str) -> NoReturn:
        raise Unreadable(f"{name}, line {line} or later: {constant} is not JSON")

    decoder = json.JSONDecoder(object_pairs_hook=once, parse_constant=refuse)
    documents: list[Document] = []
    position, line = _skip(text, 0), 1
    line += text.count("\n", 0, position)
    while position < len(text):
        try:
            value, end = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            if not documents and _is_yaml(text):
                return None
            raise Unreadable(f"{name}, line {error.lineno}, column {error.colno}: not JSON: {error.msg}") from error
        except ValueError as error:
            raise Unreadable(f"{name}, line {line} or later: {error}") from error
        marks = _marks(text[position:end], line) if marked else None
        documents.append(Document(name, len(documents) + 1, line, value, marks))
        after = _skip(text, end)
        line += text.count("\n", position, after)
        position = after
    return documents


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in " \t\r\n":
        position += 1
    return position


def _is_yaml(text: str) -> bool:
    try:
        for _ in yaml.parse(text, Loader=_Base):
            pass
    except yaml.YAMLError:
        return False
    return True


def _marks(text: str, line: int) -> yaml.Node | None:
    """Return JSON read as YAML, for its line numbers only: nearly all of it is, and the rest does without."""
    if len(text) > MANY or text.count("\n") < 2:
        return None
    try:
        return yaml.compose("\n" * (line - 1) + text, Loader=_Base)
    except yaml.YAMLError:
        return None


# --- YAML ---------------------------------------------------------------------------------------------------------


class _Loader(_Base):
    """Scalars as ``kubectl`` resolves them (the rules of go-yaml without the time type)."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own way


for _tag, _pattern, _first in (
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0b[01][01_]*|0o?[0-7][0-7_]*|0x[0-9a-fA-F][0-9a-fA-F_]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+0123456789."),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), ["" if c == "\0" else c for c in _first]
    )


def _yaml(name: str, text: str) -> Iterator[Document]:
    loader, index = _Loader(text), 0
    try:
        while loader.check_node():
            node = loader.get_node()
            assert node is not None  # noqa: S101 - check_node said so
            index += 1
            _Examination(name).examine(node)
            value = loader.construct_document(node)
            yield Document(name, index, node.start_mark.line + 1, value, node, is_yaml=True)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise Unreadable(f"{name}{where}: not YAML: {error.problem or error.context}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise Unreadable(
            f"{name}, line {line}: not YAML: {error.reason} (#x{ord(str(error.character)):04x})"
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise Unreadable(f"{name}, document {index or 1}: not YAML: {error}") from error
    finally:
        loader.dispose()


class _Examination:
    """Refuses keys given twice, keys that are no text, and aliases that hold themselves or swell beyond measure.

    Distinguish merge keys from keys that are spelled the same.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._sizes: dict[int, int] = {}

    def examine(self, node: yaml.Node) -> None:
        if (size := self._size(node)) > max(MANY, 10 * len(self._sizes)):
            raise Unreadable(f"{self._name}, line {node.start_mark.line + 1}: aliases swell it to {size} nodes")

    def _size(self, node: yaml.Node) -> int:
        known = self._sizes.get(id(node))
        if known == 0:
            raise Unreadable(f"{self._name}, line {node.start_mark.line + 1}: an alias that holds itself")
        if known is None:
            self._sizes[id(node)] = 0
            if isinstance(node, yaml.MappingNode):
                self._keys(node)
                known = 1 + sum(1 + self._size(value) for _, value in node.value)
            else:
                known = 1 + (sum(map(self._size, node.value)) if isinstance(node, yaml.SequenceNode) else 0)
            self._sizes[id(node)] = known
        return known

    def _keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                raise Unreadable(f"{self._name}, line {line}: a key must be text")
            if key.value in seen:
                raise Unreadable(f"{self._name}, line {line}: key {json.dumps(key.value)} is given twice in one object")
            seen.add(key.value)
            if key.value == "<<" and not key.style and not isinstance(value, yaml.ScalarNode):
                key.tag = "tag:yaml.org,2002:merge"  # A merge by its value only: kubectl leaves the text << unquoted.


# --- Objects ------------------------------------------------------------------------------------------------------


def _parts(document: Document) -> Iterator[Document]:
    """Yield the document itself, or the items of a List or of a JSON array; nothing for an empty document."""
    value, node = document.value, document.node
    if isinstance(value, dict) and str(value.get("kind", "")).endswith("List") and "items" in value:
        value, node = value["items"] or [], _child(node, "items")
        if not isinstance(value, list):
            raise Unreadable(f"{document.source}, line {document.line}: items of a List must be a list")
    if isinstance(value, list):
        for number, item in enumerate(value):
            child = node.value[number] if isinstance(node, yaml.SequenceNode) else None
            line = child.start_mark.line + 1 if child is not None else document.line
            yield replace(document, line=line, value=item, node=child, item=number + 1)
    elif value is not None:
        yield document


def _child(node: yaml.Node | None, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for key, value in pairs if key.value == name), None)


def _step(node: yaml.Node, line: int, rest: str) -> tuple[yaml.Node | None, int, str]:
    """Go one part of a path further down. A key may hold dots itself, so the longest that fits is taken."""
    if isinstance(node, yaml.SequenceNode) and (number := re.match(r"\[(\d+)\]", rest)):
        if (index := int(number[1])) < len(node.value):
            child = node.value[index]
            return child, child.start_mark.line + 1, rest[number.end() :]
    elif isinstance(node, yaml.MappingNode):
        rest = rest.removeprefix(".")
        fits = [
            (key, value)
            for key, value in node.value
            if rest.startswith(key.value) and rest[len(key.value) :][:1] in ("", ".", "[")
        ]
        if fits:
            key, child = max(fits, key=lambda pair: len(pair[0].value))
            return child, key.start_mark.line + 1, rest[len(key.value) :]
    return None, line, ""
