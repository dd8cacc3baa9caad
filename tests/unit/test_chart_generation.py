"""Templates are made of manifests: what is written, and that nothing of a manifest is lost without a word."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from riskladder.generate.helm.actions import Each, Given, Include, Splice, Value, When, write
from riskladder.generate.helm.sources import read_sources
from tests.cluster.install import ROOT

COMPONENT = "manifests/components/extra/kustomization.yaml"


def lines(node: Any) -> list[str]:
    return list(write(node))


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"a": Value(".x")}, ["a: {{ .x }}"]),
        (
            {"a": {"b": Given(".x")}},
            ["a:", "  {{- with .x }}", "  b:", "    {{- toYaml . | nindent 4 }}", "  {{- end }}"],
        ),
        ({"a": When("x", "yes")}, ["{{- if x }}", "a: 'yes'", "{{- end }}"]),
        (
            {"a": [When("x", 1), When("x", 2), 3]},
            ["a:", "{{- if x }}", "- 1", "- 2", "{{- end }}", "- 3"],
        ),
        ({"a": [When("x", 1), When("x", 2)]}, ["{{- if x }}", "a:", "- 1", "- 2", "{{- end }}"]),
        (
            {"a": [When("f x", 1), Splice(".y")]},
            [
                *("{{- if or (f x) .y }}", "a:", "{{- if f x }}", "- 1", "{{- end }}"),
                *("{{- with .y }}", "{{- toYaml . | nindent 0 }}", "{{- end }}", "{{- end }}"),
            ],
        ),
        (
            {"a": ["no", Each(".x", ". | quote")]},
            ["a:", "- 'no'", "{{- range .x }}", "- {{ . | quote }}", "{{- end }}"],
        ),
        ({"a": {"b": 1, Include("t"): None}}, ["a:", "  b: 1", '  {{- include "t" $ | nindent 2 }}']),
        ({"a": [{"b": 1, "c": Value(".x")}]}, ["a:", "- b: 1", "  c: {{ .x }}"]),
        ({"a": "{{ .Values.secret }}"}, ["a: '{{ \"{{\" }} .Values.secret }}'"]),
        ({"namespace": "riskladder-system"}, ["namespace: {{ $.Release.Namespace | quote }}"]),
        ({"user": "a:riskladder-system:b"}, ["user: a:{{ $.Release.Namespace }}:b"]),
    ],
)
def test_template(node: Any, expected: list[str]) -> None:
    assert lines(node) == expected


def test_item_of_a_list_cannot_start_with_what_may_be_absent() -> None:
    with pytest.raises(ValueError, match="an item of a list cannot start with"):
        lines({"a": [{"b": When("x", 1), "c": 2}]})


def reading(changes: Mapping[str, str]) -> Any:
    """Read the manifests of this checkout with some files in place of others."""

    def read(path: str) -> str:
        return changes.get(path) or Path(ROOT / path).read_text("utf-8")

    return read_sources(read, ["extra"])


def component(body: str) -> dict[str, str]:
    return {COMPONENT: f"# About it.\n#\n# More.\napiVersion: v1\nkind: Component\n{body}"}


def test_component_adds_under_its_condition() -> None:
    patch = "- {op: add, path: /rules/-, value: {verbs: [get]}}"
    body = f"patches:\n- target: {{kind: ClusterRole, name: riskladder}}\n  patch: |-\n    {patch}\n"
    found = reading(component(body))
    assert found.components[0].about == "About it."
    rules = found.find("ClusterRole", "riskladder")["rules"]
    assert rules[-1] == When('index $.Values.components "extra"', {"verbs": ["get"]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (component("namePrefix: x-\n"), f"{COMPONENT}: namePrefix: the charts cannot be generated from that"),
        (
            component("configMapGenerator:\n- {name: a, namespace: b, files: [c], options: {}}\n"),
            f"{COMPONENT}: generatorOptions: only disableNameSuffixHash: true is known",
        ),
        (
            component("patches:\n- target: {kind: Deployment, name: other}\n  patch: '[]'\n"),
            "Deployment other is patched by a component, and is in no file of the base or of a component",
        ),
        (
            component(
                "patches:\n- target: {kind: Deployment, name: riskladder}\n"
                "  patch: '[{op: remove, path: /spec/replicas}]'\n"
            ),
            "component extra: {'op': 'remove', 'path': '/spec/replicas'}: only what adds to the end of a list is known",
        ),
        (
            component("patches:\n- target: {kind: Deployment, name: riskladder}\n  patch: '{spec: {replicas: 5}}'\n"),
            "component extra: replicas: 5 would replace 2",
        ),
    ],
)
def test_what_is_not_known_stops_the_generator(changes: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        reading(changes)
