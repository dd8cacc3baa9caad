"""The CustomResourceDefinitions, generated from the models of the kinds."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from riskladder.api.base import GROUP, VERSION
from riskladder.api.definitions import SCHEMA_HASH, definition_name, schema_hash
from riskladder.api.kinds import CATEGORY, KINDS, Column, Kind
from riskladder.api.schema import object_schema
from riskladder.generate.text import HEADER, SafeDumper


def crd(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind, ready to apply."""
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
            "name": definition_name(kind),
            "annotations": {SCHEMA_HASH: schema_hash(object_schema(kind))},
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
    """Return the generated files, text by name."""
    return {f"{GROUP}_{kind.plural}.yaml": render(crd(kind)) for kind in KINDS.values()}


def render(document: dict[str, Any]) -> str:
    """Render one generated file; keys keep their order, so that a change of a model is a small diff."""
    text = yaml.dump(document, Dumper=SafeDumper, sort_keys=False, width=120, allow_unicode=True)
    return HEADER.format(source="api") + text


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.json_path}
    if column.description:
        entry["description"] = column.description
    if column.priority:
        entry["priority"] = column.priority
    return entry
