"""YAML read and written by libyaml, which takes a tenth of the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml import SafeDumper, SafeLoader
else:
    SafeDumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    SafeLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(text: str) -> Any:
    return yaml.load(text, Loader=SafeLoader)  # noqa: S506 - it is a safe one


def load_all(text: str) -> list[Any]:
    return list(yaml.load_all(text, Loader=SafeLoader))


def dump(document: Any, **options: Any) -> str:
    return yaml.dump(document, Dumper=SafeDumper, **options)


def dump_all(documents: Any, **options: Any) -> str:
    return yaml.dump_all(documents, Dumper=SafeDumper, **options)
