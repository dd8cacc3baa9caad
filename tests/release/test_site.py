"""The site of docs/: every page, as it is on GitHub, and nothing that is fetched from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml
from markdown_it import MarkdownIt

from tests.release.conftest import ROOT

PAGES = sorted(page.relative_to(ROOT / "docs").with_suffix("") for page in ROOT.glob("docs/**/*.md"))
COUNTED = {"fence": "pre", "table_open": "table", "list_item_open": "li", "blockquote_open": "blockquote"}
FETCHING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}


class Reader(HTMLParser):
    """Counts the elements of the article, and collects what a browser fetches for a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.elements: Counter[str] = Counter()
        self._in_article = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "article":
            self._in_article = True
        if self._in_article:
            self.elements[tag] += 1
        if tag in FETCHING and not (tag == "link" and given.get("rel") in ("next", "prev", "canonical")):
            self.fetched.append(given.get(FETCHING[tag]) or "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "article":
            self._in_article = False


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text("utf-8"))
    return reader


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the site is built from."""
    target = tmp_path_factory.mktemp("staged") / "docs"
    subprocess.run([sys.executable, ROOT / ".ci/site/stage.py", target], check=True)
    return target


@pytest.fixture(scope="module")
def site(staged: Path) -> Path:
    """The site, built with warnings as errors: links that lead nowhere, and anchors."""
    built = build(staged)
    assert built.returncode == 0, built.stdout + built.stderr
    return staged / "site"


def build(staged: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("zensical"), "build", "--strict", "--config-file", staged / "mkdocs.yml"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def navigated(entries: Any) -> Iterator[str]:
    for entry in entries:
        for below in entry.values() if isinstance(entry, dict) else [entry]:
            yield from [below] if isinstance(below, str) else navigated(below)


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / ".ci/site/mkdocs.yml").read_text("utf-8")
    pages = list(navigated(yaml.safe_load(re.sub(r"!\S+", "", text))["nav"]))
    assert len(pages) == len(set(pages))
    assert {str(page) + ".md" for page in PAGES} <= set(pages)


def test_a_link_that_leads_nowhere_is_an_error(staged: Path, tmp_path: Path) -> None:
    wrong = shutil.copytree(staged, tmp_path / "docs", ignore=shutil.ignore_patterns("site", ".cache"))
    with (wrong / "docs/report.md").open("a", encoding="utf-8") as page:
        page.write("\nSee [this](nowhere.md) and [that](install.md#nowhere).\n")
    built = build(wrong)
    assert built.returncode != 0
    assert "page does not exist" in built.stdout + built.stderr
    assert "2 issues found" in built.stdout + built.stderr


@pytest.mark.parametrize("page", PAGES, ids=map(str, PAGES))
def test_page_has_what_it_has_on_github(page: Path, site: Path) -> None:
    """Python-Markdown takes some lists and blocks for text that GitHub does not."""
    text = (ROOT / "docs" / page).with_suffix(".md").read_text("utf-8")
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    written = Counter(COUNTED[token.type] for token in tokens if token.type in COUNTED)
    found = read(site / page / "index.html").elements
    assert {tag: found[tag] for tag in COUNTED.values()} == {tag: written[tag] for tag in COUNTED.values()}


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    fetched = {address for page in pages for address in read(page).fetched}
    assert fetched
    assert [address for address in fetched if re.match(r"(?:[a-z]+:)?//", address)] == []
    for sheet in site.rglob("*.css"):
        loaded = re.findall(r"(?:@import|url\()\s*[\"']?((?:https?:)?//[^)\"']+)", sheet.read_text("utf-8"))
        assert loaded == [], sheet.name


def test_files_of_the_repository_that_are_linked_to_are_in_the_site(site: Path) -> None:
    example = "examples/console/ingress.yaml"
    assert (site / "repository" / example).read_bytes() == (ROOT / example).read_bytes()
    assert 'href="../repository/examples/console/ingress.yaml"' in (site / "console/index.html").read_text("utf-8")
    assert 'href="install/"' in (site / "index.html").read_text("utf-8")


def test_nothing_of_this_machine_is_in_the_site(site: Path) -> None:
    for file in site.rglob("*"):
        if file.is_file():
            assert str(ROOT).encode() not in file.read_bytes(), file


def test_search_finds_every_page(site: Path) -> None:
    found = {
        item["location"].partition("#")[0] for item in json.loads((site / "search.json").read_text("utf-8"))["items"]
    }
    assert {f"{page}/" for page in PAGES} <= found
