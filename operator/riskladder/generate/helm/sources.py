"""Read what kustomize builds, and keep what is optional of it apart from what is always there.

Of kustomize only what the manifests use is known here; anything else is an error, so that nothing gets lost on the way.
"""

from __future__ import annotations

import copy
import json
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from riskladder.generate.helm.actions import When
from riskladder.generate.text import load, load_all

Document = dict[str, Any]
Read = Callable[[str], str]
"""Return the text of a file of the checkout, by its path there."""

MANIFESTS = "manifests"
KUSTOMIZATION = "kustomization.yaml"
COMPONENT_FIELDS = {"resources", "patches", "configMapGenerator", "generatorOptions"}


@dataclass(slots=True)
class Source:
    """A file of manifests, and the templates that are made of it."""

    path: str
    documents: list[Document]
    component: str = ""
    """What it belongs to; empty where it is always installed."""

    @property
    def name(self) -> str:
        """The name of the template: that of the file, behind its component's where it has one."""
        stem = PurePosixPath(self.path).stem
        return stem if self.component in ("", stem) else f"{self.component}-{stem}"


@dataclass(frozen=True, slots=True)
class Component:
    """A kustomize component."""

    name: str
    about: str


@dataclass(slots=True)
class Sources:
    """All that the chart is made of."""

    base: list[Source] = field(default_factory=list)
    policies: list[Source] = field(default_factory=list)
    identity: list[Source] = field(default_factory=list)
    components: list[Component] = field(default_factory=list)
    optional: list[Source] = field(default_factory=list)
    """What components add as objects of their own."""

    confined: Document = field(default_factory=dict)
    """What binds the operator's ClusterRole in one namespace."""

    labels: dict[str, str] = field(default_factory=dict)
    """What kustomize adds to every object of the base."""

    def find(self, kind: str, name: str) -> Document:
        """Return an object, to be changed in place.

        Raises:
            ValueError: There is none.
        """
        for source in (*self.base, *self.optional):
            for document in source.documents:
                if (document["kind"], document["metadata"]["name"]) == (kind, name):
                    return document
        raise ValueError(f"{kind} {name} is patched by a component, and is in no file of the base or of a component")


def enabled(component: str) -> str:
    """Return the template condition under which a component is installed."""
    return f'index $.Values.components "{component}"'


def read_sources(read: Read, components: list[str]) -> Sources:
    """Return the sources of the chart, with what components patch as conditional parts of what they patch.

    Args:
        read: Returns the text of a file of the checkout.
        components: The names of all components, in the order in which what they add is to stand.

    Raises:
        ValueError: A kustomization does something that is not known here.
    """
    found = Sources()
    base = _kustomization(read, f"{MANIFESTS}/base", {"resources", "labels", "images"})
    for pairs in base["labels"]:
        found.labels |= pairs["pairs"]
    found.base = [
        source
        for source in _resources(read, f"{MANIFESTS}/base", base)
        if {document["kind"] for document in source.documents} != {"Namespace"}
    ]
    policies = f"{MANIFESTS}/policies"
    found.policies = list(_resources(read, policies, _kustomization(read, policies, {"resources"})))
    identity = f"{policies}/identity"
    found.identity = list(_resources(read, identity, _kustomization(read, identity, {"resources"})))
    [found.confined] = load_all(read(f"{MANIFESTS}/overlays/namespaced/models.yaml"))
    patches = []
    for name in components:
        directory = f"{MANIFESTS}/components/{name}"
        kustomization = _kustomization(read, directory, COMPONENT_FIELDS)
        found.components.append(Component(name, _about(read(f"{directory}/{KUSTOMIZATION}"))))
        found.optional += _resources(read, directory, kustomization, name)
        found.optional += _configmaps(read, directory, kustomization, name)
        patches += [(name, patch) for patch in kustomization.get("patches", ())]
    for name, patch in patches:
        _patch(found.find(patch["target"]["kind"], patch["target"]["name"]), load(patch["patch"]), name)
    return found


def _kustomization(read: Read, directory: str, known: set[str]) -> Document:
    path = f"{directory}/{KUSTOMIZATION}"
    document: Document = load(read(path))
    unknown = sorted(document.keys() - known - {"apiVersion", "kind"})
    if unknown:
        raise ValueError(f"{path}: {', '.join(unknown)}: the charts cannot be generated from that")
    return document


def _resources(read: Read, directory: str, kustomization: Document, component: str = "") -> Iterator[Source]:
    for name in kustomization.get("resources", ()):
        if name.endswith(".yaml"):  # Of directories there is crds, which is a chart of its own.
            yield Source(f"{directory}/{name}", list(_documents(read(f"{directory}/{name}"))), component)


def _configmaps(read: Read, directory: str, kustomization: Document, component: str) -> Iterator[Source]:
    """Yield the ConfigMaps that kustomize makes of files; their names have to be those that are written there."""
    generators = kustomization.get("configMapGenerator", ())
    if generators and kustomization.get("generatorOptions") != {"disableNameSuffixHash": True}:
        raise ValueError(f"{directory}/{KUSTOMIZATION}: generatorOptions: only disableNameSuffixHash: true is known")
    for generator in generators:
        metadata = {key: generator[key] for key in ("name", "namespace")} | generator["options"]
        data = {PurePosixPath(file).name: read(f"{directory}/{file}") for file in generator["files"]}
        document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        yield Source(f"{directory}/{generator['files'][0]}", [document], component)


def _documents(text: str) -> Iterator[Document]:
    """Yield the objects of a file; of what an anchor names, each place gets a copy of its own."""
    for document in load_all(text):
        yield json.loads(json.dumps(document))


def _about(text: str) -> str:
    """Return the first paragraph of the comment at the top of a kustomization."""
    comment = [line.removeprefix("#").strip() for line in text.split("apiVersion:", 1)[0].splitlines()]
    paragraphs = textwrap.dedent("\n".join(comment)).split("\n\n")
    first = next(paragraph for paragraph in paragraphs if not paragraph.startswith("Generated from"))
    return " ".join(first.split())


def _patch(document: Document, patch: Any, component: str) -> None:
    """Add what a component's patch adds, on condition that the component is enabled."""
    if isinstance(patch, list):
        for step in patch:
            _append(document, step, component)
    else:
        _merge(document, {k: v for k, v in patch.items() if k not in ("apiVersion", "kind", "metadata")}, component)


def _append(document: Document, step: Mapping[str, Any], component: str) -> None:
    *parents, last = step["path"].strip("/").split("/")
    if step["op"] != "add" or last != "-":
        raise ValueError(f"component {component}: {step}: only what adds to the end of a list is known")
    node: Any = document
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    node.append(When(enabled(component), step["value"]))


def _merge(target: Document, patch: Mapping[str, Any], component: str) -> None:
    for key, value in patch.items():
        present = target.get(key)
        match value, present:
            case dict(), dict():
                _merge(present, value, component)
            case list(), list() | None:
                _merge_items(target.setdefault(key, []), value, component)
            case _, None:
                target[key] = When(enabled(component), copy.deepcopy(value))
            case _:
                raise ValueError(f"component {component}: {key}: {value!r} would replace {present!r}")


def _merge_items(target: list[Any], patch: list[Any], component: str) -> None:
    """Merge items into those of the same name, as kustomize does, and append the others."""
    for item in patch:
        same = [each for each in target if isinstance(each, dict) and each.get("name") == item.get("name")]
        if same:
            _merge(same[0], {key: value for key, value in item.items() if key != "name"}, component)
        else:
            target.append(When(enabled(component), item))
