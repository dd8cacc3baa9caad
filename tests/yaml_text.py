"""YAML read and written by libyaml, which takes a tenth of the time."""

from __future__ import annotations

from typing import Any

import yaml

from riskladder.generate import text as generated
from riskladder.generate.text import SafeDumper, load

__all__ = ["dump", "dump_all", "load", "load_all"]


def load_all(text: str) -> list[Any]:
    return list(generated.load_all(text))


def dump(document: Any, **options: Any) -> str:
    return yaml.dump(document, Dumper=SafeDumper, **options)


def dump_all(documents: Any, **options: Any) -> str:
    return yaml.dump_all(documents, Dumper=SafeDumper, **options)
