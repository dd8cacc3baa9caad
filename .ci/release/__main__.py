"""`python -m release VERSION`: everything that is released, of the commit that is checked out, into one directory."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from release import image, manifests, packages, plugin, provenance, sbom
from release.errors import ReleaseError
from release.source import Source, open_source

T = TypeVar("T")

ROOT = Path(__file__).parents[2]


def build(source: Source, target: Path, options: argparse.Namespace) -> list[str]:
    """Write the release into a directory, and return why parts of it are missing."""
    missing: list[str] = []

    def step(what: str, work: Callable[[], T]) -> T:
        started = time.monotonic()
        made = work()
        print(f"==> {what}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
        return made

    name = f"riskladder-{source.version}"
    wheel = step("wheel and source distribution", lambda: packages.build(source, target))
    step("install.yaml", lambda: manifests.write_installs(source, target, options.image))
    step("charts", lambda: manifests.pack_charts(source, target))
    step("bundle", lambda: manifests.pack_bundle(source, target))
    step("bill of materials", lambda: (target / f"{name}.cdx.json").write_text(sbom.of_package(source), "utf-8"))
    if not options.without_plugin:
        step("plugin for kubectl", lambda: plugin.build(source, wheel, target, options.url.format(source.version)))
    if not options.without_image:
        if reason := image.why_not():
            missing.append(reason)
        else:
            step("image", lambda: _image(source, target, f"{name}-image.cdx.json"))
    statement = provenance.statement(source, target, {"image": options.image})
    (target / f"{name}.provenance.json").write_text(statement, "utf-8")
    provenance.write_sums(target)
    return missing


def _image(source: Source, target: Path, bill: str) -> None:
    (target / bill).write_text(sbom.of_image(source, image.build(source, target)), "utf-8")


def main(arguments: list[str]) -> int:
    """Return the exit code: 1 where parts are missing, 2 where there is no release at all."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    parser.add_argument("version", nargs="?", default="", metavar="VERSION", help="such as 1.2.0 or 1.2.0-rc.1")
    parser.add_argument("--image", default="riskladder", help="NAME or NAME@sha256:… in install.yaml")
    parser.add_argument("--url", default="https://riskladder.dev/releases/v{}", help="where the files will be")
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="replaced (default: dist)")
    parser.add_argument("--without-image", action="store_true", help="leave the image out")
    parser.add_argument("--without-plugin", action="store_true", help="leave the plugin for kubectl out")
    options = parser.parse_args(arguments)
    partial = options.output.with_name(options.output.name + ".partial")
    try:
        with open_source(ROOT, options.version) as source:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            missing = build(source, partial, options)
    except ReleaseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shutil.rmtree(options.output, ignore_errors=True)
    partial.rename(options.output)
    print((options.output / provenance.SUMS).read_text("utf-8"), end="")
    for reason in missing:
        print(f"error: {reason}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
