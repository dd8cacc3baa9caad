"""The commit that is released, and what has to be true of it."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from release import versions
from release.errors import ReleaseError, run


@dataclass(frozen=True, slots=True)
class Source:
    """The files of one commit, without anything else that lies around in the checkout."""

    directory: Path
    version: str
    commit: str
    epoch: int
    """When it was committed, in seconds since 1970: every time that is written anywhere in the release."""

    @property
    def time(self) -> datetime:
        """Return the same as a time."""
        return datetime.fromtimestamp(self.epoch, UTC)

    @property
    def environment(self) -> dict[str, str]:
        """Return what makes programs write this time in the place of the present one."""
        return {"SOURCE_DATE_EPOCH": str(self.epoch)}


@contextlib.contextmanager
def open_source(checkout: Path, version: str) -> Iterator[Source]:
    """Yield what is committed in a checkout. Raise ReleaseError where it cannot be released as this version."""
    versions.check(version)
    _check_clean(checkout)
    versions.check_agreement(checkout, version)
    check_changelog(checkout / "CHANGELOG.md", version)
    commit, epoch = run("the commit", ["git", "log", "-1", "--format=%H %ct"], checkout).split()
    with tempfile.TemporaryDirectory(prefix="riskladder-release-") as directory:
        command = ["git", "-c", "tar.umask=0022", "archive", "--format=tar", commit]
        packed = subprocess.run(command, cwd=checkout, check=True, capture_output=True)
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
            archive.extractall(directory, filter="data")
        yield Source(Path(directory), version, commit, int(epoch))


def check_changelog(file: Path, version: str) -> None:
    """Raise ReleaseError unless the changelog has a section of this version, with a date and something in it."""
    wanted = f"## [{version}] - YYYY-MM-DD"
    heading, *following = re.split(r"^(?=## )", file.read_text("utf-8"), flags=re.MULTILINE)
    section = next((part for part in following if part.startswith(f"## [{version}]")), None)
    if section is None:
        found = ", ".join(part.splitlines()[0] for part in following) or "no section at all"
        raise ReleaseError(f"{file.name}: {found} found, a section {wanted!r} expected")
    heading, _, content = section.partition("\n")
    try:
        date.fromisoformat(heading.removeprefix(f"## [{version}] - "))
    except ValueError:
        raise ReleaseError(f"{file.name}: {heading!r} found, {wanted!r} expected") from None
    if not content.strip():
        raise ReleaseError(f"{file.name}: nothing is in the section {heading!r}: say what has changed")


def _check_clean(checkout: Path) -> None:
    changed = run("the work tree", ["git", "status", "--porcelain"], checkout).splitlines()
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise ReleaseError(
            f"the work tree: {changed[0][3:]}{more} is not as committed, and a release is made of a commit:"
            " commit or stash it first"
        )
