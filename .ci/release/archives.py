"""Archives that are the same, byte by byte, whenever and wherever they are written."""

from __future__ import annotations

import contextlib
import gzip
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, cast

EXECUTABLE, PLAIN = 0o755, 0o644


def write(target: Path, members: Mapping[str, Path], epoch: int) -> None:
    """Write files, by their names in the archive, as .tar, or with gzip if the target's name ends with gz.

    Owner, modes and times are fixed, and the order is that of the names; so only names, contents and whether a file may
    be executed count.
    """
    with (
        _stream(target, epoch) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for name, file in sorted(members.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime = file.stat().st_size, epoch
            entry.mode = EXECUTABLE if file.stat().st_mode & 0o100 else PLAIN
            with file.open("rb") as content:
                archive.addfile(entry, content)


def tree(directory: Path, prefix: str) -> dict[str, Path]:
    """Return the members of an archive of a directory, below a name."""
    return {f"{prefix}/{file.relative_to(directory)}": file for file in directory.rglob("*") if file.is_file()}


@contextlib.contextmanager
def _stream(target: Path, epoch: int) -> Iterator[IO[bytes]]:
    with target.open("wb") as file:
        if target.name.endswith("gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=epoch) as packed:
                yield cast(IO[bytes], packed)
        else:
            yield file
