"""Reading files as kubectl would. What cannot be read at all, and the words for it, are in test_cli_verify.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from riskladder.cli import files


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-11-24T06:00:00Z", "2026-11-24T06:00:00Z"),
        ("2026-11-24", "2026-11-24"),
        ("12:30", "12:30"),
        ("=", "="),
        ("1e-3", 0.001),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("010", 8),
        ("0o10", 8),
        ("08", 8.0),
        ("0x1F", 31),
        ("1_000", 1000),
        ("-7", -7),
        ("on", True),
        ("No", False),
        ("~", None),
        ("", None),
        ("<<x", "<<x"),
        ("<<", "<<"),
        ("'yes'", "yes"),
        ("v1", "v1"),
        ("1.2.3", "1.2.3"),
    ],
)
def test_scalars_are_what_kubectl_makes_of_them(tmp_path: Path, text: str, value: Any) -> None:
    (tmp_path / "x.yaml").write_text(f"a: {text}\n")
    [document] = files.read(str(tmp_path / "x.yaml"))
    assert document.value == {"a": value}
    assert type(document.value["a"]) is type(value)


def test_anchors_and_merges_are_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("a: &a {b: 1, c: 2}\nd:\n  <<: *a\n  c: 3\n")
    assert files.read(str(tmp_path / "x.yaml"))[0].value == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}
    (tmp_path / "x.yaml").write_text("a: {<<: x}\nb: {'<<': {c: 1}}\n")
    assert files.read(str(tmp_path / "x.yaml"))[0].value == {"a": {"<<": "x"}, "b": {"<<": {"c": 1}}}


def test_marks_of_an_encoding_are_not_content(tmp_path: Path) -> None:
    for encoding in ("utf-8-sig", "utf-16"):
        (tmp_path / "x.yaml").write_text("a: ä\n", encoding=encoding)
        assert files.read(str(tmp_path / "x.yaml"))[0].value == {"a": "ä"}


def test_lines_of_paths(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1\n---\n# c\nb:\n  x.y/z: {c: 1}\n  list:\n  - n: 1\n  - n: 2\n    m: 3\n")
    second = files.read(str(file))[1]
    lines = {p: second.line_of(p) for p in ("", "b", "b.x.y/z.c", "b.list[1].m", "b.list[1].none", "b.list[9]", "none")}
    assert lines == {"": 4, "b": 4, "b.x.y/z.c": 5, "b.list[1].m": 9, "b.list[1].none": 8, "b.list[9]": 6, "none": 4}
    file.write_text('\n{"a": [\n  1,\n  {"b": 2}\n]}\n\n{"c":\n 3}')
    one, two = files.read(str(file))
    assert (one.line, one.line_of("a[1].b"), two.line, two.line_of("c")) == (2, 4, 7, 7)


@given(st.lists(st.text(), max_size=4))
def test_text_survives_yaml_and_json(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    file = tmp_path_factory.getbasetemp() / "texts"
    for dumped in (yaml.safe_dump({"a": texts}), json.dumps({"a": texts}), json.dumps({"a": texts}, indent=2)):
        file.write_text(dumped)
        assert files.read(str(file))[0].value == {"a": texts}
