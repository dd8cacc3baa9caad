"""How YAML is read, and how generated YAML is written: with a header, words on one line, and without anchors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeDumper as SafeDumper
    from yaml import SafeLoader as SafeLoader
else:  # libyaml's take a fraction of the time.
    SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

HEADER = "# Generated from operator/riskladder/{source} by `make generate`. Do not edit.\n"
WIDTH = 118


def load(text: str) -> Any:
    """Return the one document of a text."""
    return yaml.load(text, Loader=SafeLoader)  # noqa: S506 - it is a safe one


def load_all(text: str) -> Iterator[Any]:
    """Yield the documents of a text."""
    return yaml.load_all(text, Loader=SafeLoader)


class Dumper(SafeDumper):
    """Lists of words on one line and no anchors, as people write RBAC rules."""

    def ignore_aliases(self, data: Any) -> bool:
        """Return that nothing is written as an anchor and an alias."""
        return True

    def represent_words(self, data: Iterable[Any]) -> yaml.Node:
        """Return the node of a list."""
        words = list(data)
        flow = all(isinstance(word, str) for word in words)
        return self.represent_sequence("tag:yaml.org,2002:seq", words, flow_style=flow)


Dumper.add_representer(list, Dumper.represent_words)


def dump(document: Any) -> str:
    """Return a document as YAML, its keys in the order in which they were given."""
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, width=WIDTH, default_flow_style=False)


class BlockDumper(Dumper):
    """Long strings, and those of several lines, as blocks."""

    def represent_text(self, data: str) -> yaml.Node:
        """Return the node of a string."""
        style = "|" if "\n" in data else ">" if len(data) > WIDTH - 30 else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


BlockDumper.add_representer(str, BlockDumper.represent_text)


def dump_blocks(document: Any) -> str:
    """Return a document as YAML, with long strings as blocks."""
    return yaml.dump(document, Dumper=BlockDumper, sort_keys=False, width=WIDTH, default_flow_style=False)
