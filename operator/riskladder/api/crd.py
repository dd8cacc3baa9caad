"""The CustomResourceDefinitions, generated from the models: `python -m riskladder.api.crd DIR [--check]`."""

from __future__ import annotations

import argparse
import copy
import sys
from pathlib import Path
from typing import Any

import yaml

from riskladder.api.base import GROUP, VERSION
from riskladder.api.kinds import CATEGORY, KINDS, Column, Kind
from riskladder.api.schema import object_schema

HEADER = "# Generated from operator/riskladder/api by `make generate`. Do not edit.\n"


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, ready to apply."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": copy.deepcopy(object_schema(kind))},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/name": "riskladder", "app.kubernetes.io/component": "crds"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.singular,
                "shortNames": list(kind.short_names),
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def files() -> dict[str, str]:
    """The generated files, text by name."""
    return {f"{GROUP}_{kind.plural}.yaml": render(crd(kind)) for kind in KINDS.values()}


def render(document: dict[str, Any]) -> str:
    """One generated file; keys keep their order, so that a change of a model is a small diff."""
    return HEADER + yaml.safe_dump(document, sort_keys=False, width=120, allow_unicode=True)


def write_or_check(wanted: dict[Path, str], *, check: bool) -> list[Path]:
    """Writes the files, or only compares; returns those that differed."""
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    if not check:
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
    return stale


def run(wanted: dict[Path, str], *, check: bool) -> int:
    """The end of a generator's main: 1 when a check found a difference, which it names on stderr."""
    stale = write_or_check(wanted, check=check)
    for path in stale:
        print(f"{path}: {'out of date, run `make generate`' if check else 'written'}", file=sys.stderr)
    return 1 if check and stale else 0


def main(arguments: list[str] | None = None) -> int:
    """Command line: see the module."""
    parser = argparse.ArgumentParser(prog="python -m riskladder.api.crd", description=__doc__)
    parser.add_argument("directory", type=Path, help="where the CRDs are kept, one file a kind")
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when a file is out of date")
    options = parser.parse_args(arguments)
    return run({options.directory / name: text for name, text in files().items()}, check=options.check)


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry


if __name__ == "__main__":
    sys.exit(main())
