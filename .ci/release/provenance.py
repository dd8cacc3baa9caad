"""Where the files of a release come from, as an in-toto statement, and their checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from release.source import Source

SUMS = "SHA256SUMS"
BUILD_TYPE = "https://riskladder.dev/release/v1"
BUILDER = "https://riskladder.dev/release/v1/make"
INPUTS = ("requirements.lock", "requirements-dev.lock", "Dockerfile")
NOTE = "Not signed: it says what was built from what, and proves it to nobody. Signatures are the release workflow's."


def sha256(file: Path) -> str:
    """Return the digest of a file in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def statement(source: Source, directory: Path, parameters: Mapping[str, Any]) -> str:
    """Return the statement (SLSA provenance v1, unsigned) about every file of a directory."""
    built = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": file.name, "digest": {"sha256": sha256(file)}} for file in sorted(directory.iterdir())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"version": source.version, **parameters},
                "internalParameters": {"SOURCE_DATE_EPOCH": source.epoch},
                "resolvedDependencies": [
                    {"name": "source", "digest": {"gitCommit": source.commit}},
                    *({"name": name, "digest": {"sha256": sha256(source.directory / name)}} for name in INPUTS),
                ],
            },
            "runDetails": {
                "builder": {"id": BUILDER},
                "byproducts": [{"name": "note", "annotations": {"text": NOTE}}],
            },
        },
    }
    return json.dumps(built, indent=2) + "\n"


def write_sums(directory: Path) -> None:
    """Write the checksum of every file of a directory, as `sha256sum --check` takes them."""
    lines = [f"{sha256(file)}  {file.name}\n" for file in sorted(directory.iterdir()) if file.name != SUMS]
    (directory / SUMS).write_text("".join(lines), "utf-8")
