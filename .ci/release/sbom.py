"""Bills of materials in CycloneDX 1.6: of the Python package from its lock file, of the image from its layers."""

from __future__ import annotations

import email.parser
import importlib.metadata
import json
import re
import tarfile
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.spdx import fixup_id
from packageurl import PackageURL
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from release.errors import ReleaseError
from release.source import Source

NAMESPACE = uuid.UUID("6d1f5f0c-6c0b-4f0c-9a52-9b1d3d0f8f52")
"""What the serial numbers are derived from, with the commit: a random one would be another each time."""

LOCKED = re.compile(
    r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;]+)(?: ;(?P<marker>[^\\\n]+))?(?P<rest>(?:[^\n]*\\\n)*[^\n]*)",
    re.MULTILINE,
)
LONGEST_LICENSE = 80
"""Above that, the field has the text of a licence and not its name."""

OSI = "License :: OSI Approved :: "


@dataclass(frozen=True, slots=True)
class Pin:
    """A line of a lock file: a package in one version, and what its archives hash to."""

    name: str
    version: str
    sha256: tuple[str, ...]
    marker: Marker | None
    """Where it is needed at all, for example on Windows only."""


def pins(lock: str) -> list[Pin]:
    """Return what a lock file in the format of requirements.txt with hashes pins."""
    return [
        Pin(
            match["name"],
            match["version"],
            tuple(re.findall(r"--hash=sha256:([0-9a-f]{64})", match["rest"])),
            Marker(match["marker"].strip()) if match["marker"] else None,
        )
        for match in LOCKED.finditer(lock)
    ]


def of_package(source: Source) -> str:
    """Return the bill of the Python package: every package that requirements.lock pins.

    Their licences and who needs whom are those of the packages installed here; what another system needs has neither.

    Raises:
        ReleaseError: One of them is installed in another version than is pinned, or not at all.
    """
    locked = pins((source.directory / "requirements.lock").read_text("utf-8"))
    known: dict[str, Component] = {canonicalize_name(pin.name): _pinned(pin) for pin in locked}
    itself = _itself(source, ComponentType.APPLICATION, PackageURL("pypi", name="riskladder", version=source.version))
    bom = _bom(source, itself, known.values())
    bom.register_dependency(itself, [known[name] for name in _needs("riskladder") if name in known])
    for pin in filter(_is_installed, locked):
        name = canonicalize_name(pin.name)
        bom.register_dependency(known[name], [known[other] for other in _needs(name) if other in known])
    return _text(bom)


def of_image(source: Source, layout: Path) -> str:
    """Return the bill of the image in an OCI layout: its Debian and Python packages, as their metadata says.

    The licences of Debian packages are not in it, since their copyright files are not in the image.
    """
    status, metadata, release = b"", {}, b""
    for layer in _layers(layout):
        for name, content in layer:
            if name == "var/lib/dpkg/status":
                status = content
            elif name == "usr/lib/os-release":
                release = content
            elif name.endswith(".dist-info/METADATA"):
                metadata[name] = content
    system = dict(line.split("=", 1) for line in release.decode().splitlines() if "=" in line)
    distro = f"{system['ID']}-{system['VERSION_ID']}".replace('"', "")
    parser = email.parser.BytesHeaderParser()
    found = {
        component.bom_ref.value: component
        for component in (
            *(_debian_component(each, distro) for each in _paragraphs(status)),
            *(python_component(parser.parsebytes(each)) for each in metadata.values()),
        )
    }
    purl = PackageURL("oci", name="riskladder", version=_index(layout)["manifests"][0]["digest"])
    itself = _itself(source, ComponentType.CONTAINER, purl)
    found.pop(f"pkg:pypi/riskladder@{source.version}", None)
    bom = _bom(source, itself, found.values())
    bom.register_dependency(itself, found.values())
    return _text(bom)


def _layers(layout: Path) -> Iterator[Iterator[tuple[str, bytes]]]:
    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    manifest = json.loads(blob(_index(layout)["manifests"][0]["digest"]).read_bytes())
    for layer in manifest["layers"]:
        yield _wanted(blob(layer["digest"]))


def _index(layout: Path) -> dict[str, Any]:
    index: dict[str, Any] = json.loads((layout / "index.json").read_bytes())
    return index


def _wanted(layer: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(layer) as archive:
        for member in archive:
            name = member.name.removeprefix("./")
            is_wanted = member.isfile() and name.endswith(("dpkg/status", "os-release", ".dist-info/METADATA"))
            if is_wanted and (content := archive.extractfile(member)):
                yield name, content.read()


def _paragraphs(status: bytes) -> Iterator[Message]:
    parser = email.parser.BytesHeaderParser()
    for paragraph in filter(None, status.split(b"\n\n")):
        yield parser.parsebytes(paragraph.lstrip(b"\n"))


def _debian_component(package: Message, distro: str) -> Component:
    purl = PackageURL(
        "deb",
        "debian",
        name=str(package["Package"]),
        version=str(package["Version"]),
        qualifiers={"arch": str(package["Architecture"]), "distro": distro},
    )
    return Component(
        type=ComponentType.LIBRARY,
        name=str(package["Package"]),
        version=str(package["Version"]),
        bom_ref=purl.to_string(),
        purl=purl,
        description=str(package["Description"] or "").partition("\n")[0],
    )


def _itself(source: Source, kind: ComponentType, purl: PackageURL) -> Component:
    return Component(
        type=kind,
        name="riskladder",
        version=source.version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=[LicenseFactory().make_from_string("Apache-2.0")],
    )


def _bom(source: Source, itself: Component, components: Iterable[Component]) -> Bom:
    serial = uuid.uuid5(NAMESPACE, f"{source.commit} {itself.bom_ref.value}")
    bom = Bom(components=components, serial_number=serial)
    bom.metadata.timestamp, bom.metadata.component = source.time, itself
    return bom


def _text(bom: Bom) -> str:
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _pinned(pin: Pin) -> Component:
    if _is_installed(pin):
        metadata = _installed(pin.name).metadata
        if metadata["Version"] != pin.version:
            raise ReleaseError(
                f"requirements.lock: {pin.name} {pin.version} expected, {metadata['Version']} is installed: `make venv`"
            )
        component = python_component(metadata)
    else:
        component = _component(canonicalize_name(pin.name), pin.version, None)
    component.external_references.add(
        ExternalReference(
            type=ExternalReferenceType.DISTRIBUTION,
            url=XsUri(str(component.purl)),
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=each) for each in pin.sha256],
            comment="what requirements.lock takes of it",
        )
    )
    return component


def python_component(metadata: Message | importlib.metadata.PackageMetadata) -> Component:
    """Return an installed Python package, as its METADATA has it."""
    return _component(canonicalize_name(str(metadata["Name"])), str(metadata["Version"]), _license(metadata))


def _component(name: str, version: str, named: str | None) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        bom_ref=purl.to_string(),
        purl=purl,
        licenses=[LicenseFactory().make_from_string(named)] if named else (),
    )


def _license(metadata: Message | importlib.metadata.PackageMetadata) -> str | None:
    """Return the licence as its SPDX expression, else as the classifiers have it, else as its author wrote it."""
    written = str(metadata["License"] or "")
    classified = [str(each) for each in metadata.get_all("Classifier") or () if str(each).startswith(OSI)]
    known = metadata["License-Expression"] or fixup_id(written)
    named = classified[0].removeprefix(OSI) if len(classified) == 1 else written
    return known or (named if 0 < len(named) <= LONGEST_LICENSE else None)


def _needs(name: str) -> Iterator[str]:
    for line in _installed(name).requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield canonicalize_name(requirement.name)


def _is_installed(pin: Pin) -> bool:
    return pin.marker is None or pin.marker.evaluate()


def _installed(name: str) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        raise ReleaseError(f"requirements.lock: {name} expected, and it is not installed: `make venv`") from None
