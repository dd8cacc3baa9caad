"""`python .ci/site/stage.py DIRECTORY`: lay out what the site is built from.

README.md is the first page, and what pages link to outside of docs/ is part of the site. So a link works on the site as
it works in the repository, and every version of the site has the files of its version.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
CONFIGURATION = Path(__file__).with_name("mkdocs.yml")
DOCS = "docs/"
HOME, HOME_PAGE = "README.md", "index.md"
ELSEWHERE = "repository/"
"""Where files from outside of docs/ are, below the site."""

NAVIGATED = ("CONTRIBUTING.md", "CHANGELOG.md", "bench/README.md")
"""Pages that the navigation names, whether another page links to them or not."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)(?P<path>[^\s)#]+)(?P<anchor>#[^\s)]*)?(?=\))")
FENCE = re.compile(r"^( *```.*?^ *```)", re.DOTALL | re.MULTILINE)


def stage(target: Path) -> None:
    """Write the configuration and the pages with everything that they link to, in the place of what was there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ROOT / DOCS, target / DOCS)
    shutil.copy2(CONFIGURATION, target)
    pending = [HOME, *NAVIGATED, *(str(page.relative_to(ROOT)) for page in (ROOT / DOCS).rglob("*.md"))]
    seen = set(pending)
    while pending:
        path = pending.pop()
        file = target / DOCS / _place(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        if path.endswith(".md"):
            text = (ROOT / path).read_text("utf-8")
            file.write_text(_with_links_of_the_site(text, path), "utf-8")
            found = set(_targets(text, path)) - seen
            seen |= found
            pending += found
        else:
            shutil.copyfile(ROOT / path, file)


def _with_links_of_the_site(text: str, path: str) -> str:
    place = _place(path)

    def rewritten(match: re.Match[str]) -> str:
        target = _target(path, match["path"])
        if target is None:
            return match[0]  # The build says that it leads nowhere.
        return posixpath.relpath(_place(target), posixpath.dirname(place) or ".") + (match["anchor"] or "")

    parts = FENCE.split(text)
    return "".join(part if n % 2 else LINK.sub(rewritten, part) for n, part in enumerate(parts))


def _targets(text: str, path: str) -> Iterator[str]:
    """Yield what a page links to, by paths in the repository."""
    for match in LINK.finditer(FENCE.sub("", text)):
        if target := _target(path, match["path"]):
            yield target


def _target(source: str, link: str) -> str | None:
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), unquote(link)))
    return path if not path.startswith("..") and (ROOT / path).is_file() else None


def _place(path: str) -> str:
    """Return the page or file of the site for a path in the repository."""
    if path == HOME:
        return HOME_PAGE
    return path.removeprefix(DOCS) if path.startswith(DOCS) else ELSEWHERE + path


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
