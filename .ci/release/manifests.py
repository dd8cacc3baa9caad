"""What `kubectl apply` and Helm take: the manifests in one file, and the charts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import yaml

from demo.install import InstallError, kubectl
from release import archives
from release.errors import ReleaseError
from release.source import Source

NAME = "riskladder"
"""The image as the manifests call it."""

INSTALLS = {"install.yaml": "default", "install-without-mutating-admission.yaml": "without-mutating-admission"}
"""Files, and the overlays that they are."""

HEADER = """\
# Riskladder {version}, commit {commit}, overlay {overlay}:
#
#   kubectl apply --server-side -f {file}
"""


def write_installs(source: Source, target: Path, image: str) -> None:
    """Write each overlay as one file. `image` is a name, to which the version is the tag, or a name and a digest.

    Raises ReleaseError where the image has a tag of its own, or an overlay cannot be rendered.
    """
    name, at, digest = image.partition("@")
    if ":" in name.rpartition("/")[2]:
        raise ReleaseError(f"IMAGE: {image!r} found, a name without a tag expected: its tag is the version")
    chosen = {"digest": digest} if at else {"newTag": source.version}
    for file, overlay in INSTALLS.items():
        header = HEADER.format(version=source.version, commit=source.commit, overlay=overlay, file=file)
        rendered = _render(source.directory / "manifests" / "overlays" / overlay, {"newName": name, **chosen})
        (target / file).write_text(header + rendered, "utf-8")


def _render(overlay: Path, image: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory(prefix="riskladder-release-") as directory:
        customized = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(overlay, Path(directory).resolve())],
            "images": [{"name": NAME, **image}],
        }
        (Path(directory) / "kustomization.yaml").write_text(yaml.safe_dump(customized), "utf-8")
        try:
            return kubectl(None, "kustomize", directory)
        except InstallError as error:
            raise ReleaseError(str(error)) from error


def pack_charts(source: Source, target: Path) -> None:
    """Write each chart as Helm packages it, but with the time of the commit, so that it is the same each time.

    A chart that another one names by `file://` is packed along with that.
    """
    for file in sorted(source.directory.glob("charts/*/Chart.yaml")):
        chart = yaml.safe_load(file.read_text("utf-8"))
        members = archives.tree(file.parent, chart["name"])
        for dependency in chart.get("dependencies", ()):
            _, local, path = dependency["repository"].partition("file://")
            if local:
                below = f"{chart['name']}/charts/{dependency['name']}"
                members |= archives.tree((file.parent / path).resolve(), below)
        archives.write(target / f"{chart['name']}-{chart['version']}.tgz", members, source.epoch)


def pack_bundle(source: Source, target: Path) -> None:
    """Write the bundle for the Operator Lifecycle Manager, if there is one."""
    bundle = source.directory / "bundle"
    if bundle.is_dir():
        name = f"riskladder-bundle-{source.version}"
        archives.write(target / f"{name}.tar.gz", archives.tree(bundle, name), source.epoch)
