"""The digests of the admission policies in the manifests, so that the operator sees where one was altered."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from riskladder.cluster.policies import digests
from riskladder.generate.text import load_all

HEAD = '''\
"""Digests of the admission policies that this version ships, by name and part.

Generated from manifests/policies by `make generate`. Do not edit.
"""

from __future__ import annotations

from collections.abc import Mapping

SHIPPED: Mapping[str, Mapping[str, Mapping[str, str]]] = {
'''

HAND_WRITTEN = ("decisions.yaml", "kinds.yaml", "raise.yaml", "records.yaml", "sources.yaml", "writes.yaml")


def texts(root: Path, generated: Iterable[str]) -> list[str]:
    """Return the manifests of all policies: those written by people, and those that were generated."""
    folder = root / "manifests" / "policies"
    paths = [*(folder / name for name in HAND_WRITTEN), folder / "identity" / "identity.yaml"]
    return [*(path.read_text("utf-8") for path in paths if path.is_file()), *generated]


def module(manifests: Iterable[str]) -> str:
    """Return the module, as Python."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for text in manifests:
        for document in load_all(text):
            part = "binding" if document["kind"].endswith("Binding") else "policy"
            found.setdefault(document["metadata"]["name"], {})[part] = digests(document["spec"])
    lines = []
    for name, parts in sorted(found.items()):
        lines.append(f'    "{name}": {{\n')
        for part in ("policy", "binding"):
            lines.append(f'        "{part}": {{\n')
            lines += [f'            "{key}": "{digest}",\n' for key, digest in parts[part].items()]
            lines.append("        },\n")
        lines.append("    },\n")
    return HEAD + "".join(lines) + "}\n"
