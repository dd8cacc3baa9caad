"""Checkouts that can be released: the work tree as it is, committed, and a changelog with a section of its version."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from riskladder import __version__

ROOT = Path(__file__).parents[2]
COMMITTED = "2026-11-30T00:00:00Z"
IDENTITY = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.com")


@dataclass(frozen=True, slots=True)
class Checkout:
    """A repository with one commit."""

    root: Path

    def git(self, *arguments: str) -> str:
        dates = {"GIT_AUTHOR_DATE": COMMITTED, "GIT_COMMITTER_DATE": COMMITTED}
        command = ["git", *IDENTITY, *arguments]
        done = subprocess.run(
            command, cwd=self.root, env=os.environ | dates, check=True, capture_output=True, text=True
        )
        return done.stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Release it")

    def release(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        umask: int = 0o022,
        programs: Path | None = None,
    ) -> Released:
        """Run the release script of this checkout, as `make release` does; `programs` is what PATH has then."""
        path = os.pathsep.join(str(self.root / name) for name in ("operator", ".ci", "."))
        found = str(programs) if programs else os.environ["PATH"]
        done = subprocess.run(
            [sys.executable, "-m", "release", *arguments],
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": path, "PATH": found} | (environment or {}),
            umask=umask,
            capture_output=True,
            text=True,
            check=False,
        )
        return Released(self.root / "dist", done.returncode, done.stderr)


@dataclass(frozen=True, slots=True)
class Released:
    """What a run of the release script has left."""

    directory: Path
    code: int
    said: str

    def file(self, pattern: str) -> Path:
        """Return the one file of this name."""
        [found] = self.directory.glob(pattern)
        return found


def checkout_at(root: Path) -> Checkout:
    """Copy the work tree, as git would take it, to a directory that is not there yet."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    changelog = root / "CHANGELOG.md"
    if f"\n## [{__version__}]" not in changelog.read_text("utf-8"):
        heading = f"## [Unreleased]\n\n## [{__version__}] - {COMMITTED[:10]}\n"
        changelog.write_text(changelog.read_text("utf-8").replace("## [Unreleased]\n", heading, 1), "utf-8")
    made = Checkout(root)
    made.git("init", "--quiet")
    made.commit()
    return made


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    made = checkout_at(tmp_path_factory.mktemp("made") / "checkout")
    return made, made.git("rev-parse", "HEAD").strip()


@pytest.fixture
def checkout(made: tuple[Checkout, str]) -> Checkout:
    """A checkout that can be released, whatever other tests did to it."""
    repository, commit = made
    repository.git("reset", "--quiet", "--hard", commit)
    repository.git("clean", "--quiet", "--force", "-d", "-x")
    return repository


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Released, Released]:
    """The same commit released in two directories, by people whose settings differ."""
    arguments = (__version__, "--image=registry.example/riskladder", "--without-image", "--without-plugin")
    one = checkout_at(tmp_path_factory.mktemp("one") / "riskladder")
    other = checkout_at(tmp_path_factory.mktemp("other") / "somewhere" / "else")
    return (
        one.release(*arguments),
        other.release(*arguments, environment={"TZ": "Asia/Tokyo", "LANG": "C"}, umask=0o077),
    )
