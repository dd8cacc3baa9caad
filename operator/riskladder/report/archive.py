"""One archive with everything of a period, the same to the byte for the same objects: what is checked years later.

A gzipped tar file: a ``List`` for each kind, and ``manifest.json`` with counts, digests and the head of each chain.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from riskladder.api.chain import noted_heads, verify_chains

Object = dict[str, Any]

MANIFEST = "manifest.json"
KINDS: Mapping[str, str] = {
    "records.json": "EscalationRecord",
    "escalations.json": "Escalation",
    "decisions.json": "EscalationDecision",
    "ladders.json": "EscalationLadder",
}
"""The files of an archive, by name, and what each holds."""

MAGIC = b"\x1f\x8b"
"""What a gzipped file begins with."""
LIMIT = 2_000_000_000
"""Bytes that an archive may unfold to: more is none that was written here."""


class NotAnArchive(Exception):  # noqa: N818 - reads as a sentence at the call site
    """It is no archive of this kind, or not the one that its manifest describes; the message says what is wrong."""


def pack(objects: Iterable[Object], *, since: str, until: str, ladder: str, version: str) -> bytes:
    """Return the archive.

    Args:
        objects: Records, escalations, decisions and ladders, in any order; a repetition counts once.
        since: Begin of the period, in RFC 3339; empty for all there is.
        until: End of it.
        ladder: Name of the one ladder that it is about; empty for all.
        version: Of the program.
    """
    found = list(objects)
    files = {name: _text(_list(of_kind(kind, found))) for name, kind in KINDS.items()}
    records, escalations = of_kind("EscalationRecord", found), of_kind("Escalation", found)
    manifest = {
        "format": "riskladder.dev/export/v1",
        "writtenBy": f"riskladder {version}",
        "period": {"since": since or None, "until": until or None},
        "ladder": ladder or None,
        "files": {
            name: {"objects": len(of_kind(KINDS[name], found)), "sha256": hashlib.sha256(text).hexdigest()}
            for name, text in files.items()
        },
        "chains": [
            {
                "namespace": result.key.namespace,
                "escalation": result.key.escalation,
                "records": result.length,
                "head": result.head,
                "intact": result.intact,
                "notedHead": result.noted or None,
            }
            for result in verify_chains(records, noted_heads(escalations))
        ],
    }
    return _tar({MANIFEST: _text(manifest), **files})


def of_kind(kind: str, objects: Iterable[Object]) -> list[Object]:
    """Return the objects of a kind in order, each once.

    Args:
        kind: Of the objects.
        objects: Any objects.
    """
    found: dict[str, Object] = {}
    for obj in objects:
        if obj.get("kind") == kind:
            found.setdefault(f"{_place(obj)}\0{json.dumps(obj, sort_keys=True)}", obj)
    return [found[key] for key in sorted(found)]


def _place(obj: Object) -> str:
    metadata = obj.get("metadata")
    about = metadata if isinstance(metadata, dict) else {}
    return f"{about.get('namespace', '')}\0{about.get('name', '')}"


def _list(objects: Sequence[Object]) -> Object:
    return {"apiVersion": "v1", "kind": "List", "metadata": {"resourceVersion": ""}, "items": list(objects)}


def _text(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def _tar(files: Mapping[str, bytes]) -> bytes:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in sorted(files):
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(files[name]), 0o644, 0
            tar.addfile(member, io.BytesIO(files[name]))
    outer = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=outer, mode="wb", mtime=0, compresslevel=9) as zipped:
        zipped.write(inner.getvalue())
    return outer.getvalue()


def unpack(raw: bytes) -> dict[str, str]:
    """Return the text of each file of an archive but the manifest, which they are compared with.

    Raises:
        NotAnArchive: It is none, holds something else, or differs from its manifest.
    """
    files = _files(raw)
    try:
        declared = json.loads(files.pop(MANIFEST))["files"]
        wanted = {str(name): (str(about["sha256"]), int(about["objects"])) for name, about in declared.items()}
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise NotAnArchive(f"it has no readable {MANIFEST}: write it with riskladder export") from error
    if set(wanted) != set(files):
        differ = ", ".join(sorted(set(wanted) ^ set(files)))
        raise NotAnArchive(f"{differ} is there or in {MANIFEST}, and not in both")
    for name, (digest, _) in wanted.items():
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise NotAnArchive(f"{name} is not the one that {MANIFEST} describes: its SHA-256 differs")
    try:
        return {name: text.decode() for name, text in files.items()}
    except UnicodeDecodeError as error:
        raise NotAnArchive(f"it holds what is not UTF-8 text: {error.reason}") from error


def _files(raw: bytes) -> dict[str, bytes]:
    """Return the files in it: those of our names only, and nothing that is a link or leads elsewhere."""
    try:
        inflated = zlib.decompressobj(wbits=31).decompress(raw, LIMIT)
        with tarfile.open(fileobj=io.BytesIO(inflated), mode="r:") as tar:
            found = {}
            for member in tar:
                reader = tar.extractfile(member) if member.isreg() else None
                if reader is None or member.name not in (*KINDS, MANIFEST) or member.name in found:
                    raise NotAnArchive(f"it holds {member.name!r}, which no export does")
                found[member.name] = reader.read()
            return found
    except (tarfile.TarError, zlib.error, EOFError) as error:
        raise NotAnArchive(f"it is gzipped, and no archive of riskladder export: {error}") from error
