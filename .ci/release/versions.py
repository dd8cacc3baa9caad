"""`python -m release.versions VERSION`: where the version is written, whether that agrees, and a new one."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from release.errors import ReleaseError

ROOT = Path(__file__).parents[2]
HOME = "operator/riskladder/__init__.py"

IN_TEXT = r"(?:newTag: |riskladder(?:-bundle|-catalog)?(?:[ :-]|\.v))(\d+\.\d+\.\d+(?:-(?:alpha|beta|rc)\.\d+)?)"

PLACES = (
    (HOME, r'^__version__ = "(.+)"$'),
    ("Dockerfile", r"^ARG VERSION=(.+)$"),
    ("manifests/**/*.yaml", r"image: riskladder:(\S+)$"),
    ("manifests/base/kustomization.yaml", r"newTag: (\S+)$"),
    ("charts/*/Chart.yaml", r"^ *(?:version|appVersion): (\S+)$"),
    ("bundle/manifests/*.clusterserviceversion.yaml", r"^  version: (\S+)$|riskladder(?::|\.v)(\d\S*)$"),
    ("tests/cluster/images/next/Containerfile", r"^FROM docker\.io/library/riskladder:(\S+)$"),
    ("README.md", IN_TEXT),
    ("docs/install.md", IN_TEXT),
)
"""Files, and what of them is the version of Riskladder."""

SEMANTIC = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-(alpha|beta|rc)\.(0|[1-9]\d*))?")
"""What both Semantic Versioning and Python take for the same version, such as 1.2.0 and 1.2.0-rc.1."""


@dataclass(frozen=True, slots=True)
class Mention:
    """One place where the version is written."""

    file: Path
    line: int
    start: int
    end: int
    version: str


def check(version: str) -> None:
    """Raise ReleaseError unless this can be a version of a chart, an image and a Python package alike."""
    try:
        Version(version)
    except InvalidVersion:
        fits = False
    else:
        fits = SEMANTIC.fullmatch(version) is not None
    if not fits:
        raise ReleaseError(f"VERSION: {version!r} found, a version such as 1.2.0 or 1.2.0-rc.1 expected")


def mentions(root: Path) -> Iterator[Mention]:
    """Yield every place below a checkout where the version is written."""
    for pattern, expression in PLACES:
        for file in sorted(root.glob(pattern)):
            text = file.read_text("utf-8")
            for match in re.finditer(expression, text, re.MULTILINE):
                line = text.count("\n", 0, match.start()) + 1
                group = match.lastindex or 0
                yield Mention(file, line, *match.span(group), match[group])


def check_agreement(root: Path, version: str) -> None:
    """Raise ReleaseError with every place of a checkout that has another version."""
    others = [
        f"{mention.file.relative_to(root)}, line {mention.line}: {mention.version} found, {version} expected"
        for mention in mentions(root)
        if mention.version != version
    ]
    if others:
        remedy = f"`make version VERSION={version}` writes it everywhere"
        raise ReleaseError("\n".join([*others, remedy]))


def write(root: Path, version: str) -> list[Path]:
    """Write the version wherever it stands, and return the files that have changed."""
    check(version)
    changed: dict[Path, str] = {}
    # From the end, so that what was found before stays where it is.
    for mention in sorted(mentions(root), key=lambda mention: mention.start, reverse=True):
        if mention.version != version:
            text = changed.get(mention.file) or mention.file.read_text("utf-8")
            changed[mention.file] = text[: mention.start] + version + text[mention.end :]
    for file, text in changed.items():
        file.write_text(text, "utf-8")
    return sorted(changed)


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    try:
        if len(arguments) != 1:
            raise ReleaseError("VERSION is missing: `make version VERSION=1.2.0`")
        changed = write(ROOT, arguments[0])
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for file in changed:
        print(file.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
