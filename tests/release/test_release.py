"""`make release`: what is in it, that it is the same each time, and what is not released."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release import archives, manifests, versions
from release.errors import ReleaseError
from release.sbom import pins
from release.source import Source, open_source
from riskladder import __version__
from tests.cluster.install import render
from tests.release.conftest import ROOT, Checkout, Released


def test_two_releases_of_one_commit_are_the_same(twice: tuple[Released, Released]) -> None:
    one, other = twice
    assert (one.code, other.code) == (0, 0), one.said + other.said
    assert (one.directory / "SHA256SUMS").read_text() == (other.directory / "SHA256SUMS").read_text()
    checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=other.directory, check=False)
    assert checked.returncode == 0
    summed = {line.split()[1] for line in (one.directory / "SHA256SUMS").read_text().splitlines()}
    assert summed == {file.name for file in one.directory.iterdir()} - {"SHA256SUMS"}


def test_release_has_everything(twice: tuple[Released, Released]) -> None:
    charts = [yaml.safe_load(file.read_text()) for file in ROOT.glob("charts/*/Chart.yaml")]
    assert {file.name for file in twice[0].directory.iterdir()} >= {
        f"riskladder-{__version__}-py3-none-any.whl",
        f"riskladder-{__version__}.tar.gz",
        f"riskladder-{__version__}.cdx.json",
        f"riskladder-{__version__}.provenance.json",
        "install.yaml",
        "install-without-mutating-admission.yaml",
        *(f"{chart['name']}-{chart['version']}.tgz" for chart in charts),
    }


@pytest.mark.parametrize(
    ("name", "overlay"),
    [
        ("install.yaml", "default"),
        ("install-without-mutating-admission.yaml", "without-mutating-admission"),
    ],
)
def test_install_yaml_is_the_overlay_with_the_image_that_was_named(
    name: str, overlay: str, twice: tuple[Released, Released]
) -> None:
    found = list(yaml.safe_load_all(twice[0].file(name).read_text("utf-8")))
    [deployment] = [each for each in found if each["kind"] == "Deployment"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/riskladder:{__version__}"
    container["image"] = f"riskladder:{__version__}"
    assert found == render(f"manifests/overlays/{overlay}")


def test_image_may_be_named_by_digest(tmp_path: Path) -> None:
    name = f"registry.example:5000/riskladder@sha256:{'0' * 64}"
    manifests.write_installs(Source(ROOT, "1.2.3", "0" * 40, 0), tmp_path, name)
    for file in manifests.INSTALLS:
        assert f"image: {name}\n" in (tmp_path / file).read_text("utf-8")


def test_image_with_a_tag_of_its_own_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="IMAGE: 'localhost:5000/riskladder:9' found, a name without a tag expected"):
        manifests.write_installs(Source(ROOT, "1.2.3", "0" * 40, 0), tmp_path, "localhost:5000/riskladder:9")


def test_chart_is_packed_with_the_chart_that_it_needs(tmp_path: Path) -> None:
    for name, text in {
        "kinds/Chart.yaml": "apiVersion: v2\nname: kinds\nversion: 1.2.3\n",
        "kinds/templates/kind.yaml": "kind: Kind\n",
        "whole/Chart.yaml": "apiVersion: v2\nname: whole\nversion: 1.2.3\n"
        "dependencies: [{name: kinds, version: 1.2.3, repository: file://../kinds}]\n",
    }.items():
        (tmp_path / "charts" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "charts" / name).write_text(text)
    manifests.pack_charts(Source(tmp_path, "1.2.3", "0" * 40, 1_000_000_000), tmp_path)
    with tarfile.open(tmp_path / "whole-1.2.3.tgz") as archive:
        assert archive.getnames() == [
            "whole/Chart.yaml",
            "whole/charts/kinds/Chart.yaml",
            "whole/charts/kinds/templates/kind.yaml",
        ]
    with tarfile.open(tmp_path / "kinds-1.2.3.tgz") as archive:
        assert archive.getnames() == ["kinds/Chart.yaml", "kinds/templates/kind.yaml"]


def test_bill_of_materials_has_every_pinned_package_with_hashes_and_licence(twice: tuple[Released, Released]) -> None:
    text = twice[0].file("*[0-9].cdx.json").read_text("utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    locked = pins((ROOT / "requirements.lock").read_text("utf-8"))
    assert len(locked) == len(re.findall(r"^\S+==", (ROOT / "requirements.lock").read_text("utf-8"), re.MULTILINE))
    components = {(each["name"], each["version"]): each for each in bill["components"]}
    assert components.keys() == {(pin.name, pin.version) for pin in locked}
    for pin in locked:
        component = components[pin.name, pin.version]
        assert component.get("licenses") or (pin.marker and not pin.marker.evaluate()), pin.name
        [distribution] = component["externalReferences"]
        assert {each["content"] for each in distribution["hashes"]} == set(pin.sha256) != set(), pin.name
    needs = {each["ref"]: each.get("dependsOn", []) for each in bill["dependencies"]}
    direct = needs[f"pkg:pypi/riskladder@{__version__}"]
    assert any(each.startswith("pkg:pypi/kopf@") for each in direct)
    assert not any(each.startswith("pkg:pypi/frozenlist@") for each in direct), "aiohttp needs it, not we"


def test_provenance_names_the_commit_and_every_file(twice: tuple[Released, Released]) -> None:
    released, other = twice
    statement = json.loads(released.file("*.provenance.json").read_text("utf-8"))
    sums = dict(reversed(line.split()) for line in (released.directory / "SHA256SUMS").read_text().splitlines())
    sums.pop(released.file("*.provenance.json").name)
    assert {each["name"]: each["digest"]["sha256"] for each in statement["subject"]} == sums
    commit = Checkout(other.directory.parent).git("rev-parse", "HEAD").strip()
    dependencies = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert {"name": "source", "digest": {"gitCommit": commit}} in dependencies


def test_nothing_of_this_machine_is_in_the_release(twice: tuple[Released, Released]) -> None:
    for file in twice[0].directory.iterdir():
        content = file.read_bytes()
        if file.name.endswith("gz"):
            with tarfile.open(file) as archive:
                content = b"".join(reader.read() for each in archive if (reader := archive.extractfile(each)))
        assert str(twice[0].directory.parent).encode() not in content, file.name


def test_wheel_is_a_plugin_that_kubectl_finds_and_completes(twice: tuple[Released, Released], tmp_path: Path) -> None:
    binaries = Path(sys.executable).parent
    wheel = twice[0].file("*.whl")
    subprocess.run([binaries / "uv", "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    subprocess.run(
        [binaries / "uv", "pip", "install", "--quiet", "--python", tmp_path / "venv/bin/python", wheel], check=True
    )
    path = f"{tmp_path / 'venv/bin'}:/usr/bin:/bin"

    def kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": path, "HOME": str(tmp_path), "COLUMNS": "100"}
        return subprocess.run(
            [binaries / "kubectl", *arguments], env=environment, capture_output=True, text=True, check=False
        )

    assert kubectl("riskladder", "--version").stdout == f"riskladder {__version__}\n"
    help_text = kubectl("riskladder", "--help").stdout
    assert "Usage: kubectl riskladder [OPTIONS]" in help_text
    assert "--install-completion" not in help_text, "it would complete kubectl itself"
    assert "see kubectl riskladder ack --help" in kubectl("riskladder", "ack", "--wrong").stderr
    completed = kubectl("__complete", "riskladder", "acc").stdout.splitlines()
    assert completed[0].startswith("accept-risk\t")
    assert completed[1:] == [":4"]
    assert kubectl("__complete", "riskladder", "verify", "").stdout.splitlines() == [":0"]


def commit_of(change: Callable[[Path], object]) -> Callable[[Checkout], None]:
    def make(checkout: Checkout) -> None:
        change(checkout.root)
        checkout.commit()

    return make


def replace(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(root: Path) -> None:
        text = (root / name).read_text("utf-8")
        assert old in text
        (root / name).write_text(text.replace(old, new), "utf-8")

    return change


HEADING = f"## [{__version__}] - 2026-11-30"


@pytest.mark.parametrize(
    ("change", "version", "says"),
    [
        (
            lambda checkout: (checkout.root / "new.txt").touch(),
            __version__,
            "the work tree: new.txt is not as committed, and a release is made of a commit",
        ),
        (lambda _: None, "1.0", "VERSION: '1.0' found, a version such as 1.2.0 or 1.2.0-rc.1 expected"),
        (lambda _: None, "", "VERSION: '' found, a version such as 1.2.0 or 1.2.0-rc.1 expected"),
        (lambda _: None, "9.8.7", f"operator/riskladder/__init__.py, line 3: {__version__} found, 9.8.7 expected"),
        (
            commit_of(replace("manifests/components/poll/poll.yaml", f"riskladder:{__version__}", "riskladder:0.0.9")),
            __version__,
            f"manifests/components/poll/poll.yaml, line 50: 0.0.9 found, {__version__} expected",
        ),
        (
            commit_of(replace("CHANGELOG.md", HEADING, "")),
            __version__,
            f"CHANGELOG.md: ## [Unreleased] found, a section '## [{__version__}] - YYYY-MM-DD' expected",
        ),
        (
            commit_of(replace("CHANGELOG.md", HEADING, f"## [{__version__}] - soon")),
            __version__,
            f"CHANGELOG.md: '## [{__version__}] - soon' found, '## [{__version__}] - YYYY-MM-DD' expected",
        ),
    ],
    ids=["dirty", "not-semantic", "no-version", "another-version", "manifest", "no-section", "no-date"],
)
def test_what_is_not_released(change: Callable[[Checkout], None], version: str, says: str, checkout: Checkout) -> None:
    change(checkout)
    with pytest.raises(ReleaseError, match=re.escape(says)), open_source(checkout.root, version):
        pass


def test_without_a_release_there_is_one_error_and_what_was_there_before(checkout: Checkout) -> None:
    (checkout.root / "dist").mkdir()
    released = checkout.release("1.0")
    assert released.code == 2
    assert released.said == "error: VERSION: '1.0' found, a version such as 1.2.0 or 1.2.0-rc.1 expected\n"
    assert list(released.directory.iterdir()) == []


def test_without_what_builds_the_image_everything_else_is_released(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "git").symlink_to(str(shutil.which("git")))
    released = checkout.release(__version__, "--without-plugin", programs=tmp_path)
    assert released.code == 1
    assert released.said.splitlines()[-1].startswith("error: the image is missing: ")
    assert released.said.endswith(", or leave it out with ARGS=--without-image\n")
    released.file("*.whl")
    assert list(released.directory.glob("*image*")) == []


@pytest.mark.parametrize("version", ["1.2.3", "0.10.0", "1.0.0-rc.1", "2.0.0-alpha.0"])
def test_versions_that_python_helm_and_registries_take(version: str) -> None:
    versions.check(version)


@pytest.mark.parametrize(
    "version", ["1.2", "v1.2.3", "1.2.3rc1", "1.2.3.dev1", "01.2.3", "1.2.3+local", "1.2.3-rc.01", "1.2.3 "]
)
def test_versions_that_not_all_of_them_take(version: str) -> None:
    with pytest.raises(ReleaseError, match="VERSION: "):
        versions.check(version)


def test_a_new_version_is_written_everywhere(checkout: Checkout) -> None:
    before = {(mention.file, mention.line) for mention in versions.mentions(checkout.root)}
    changed = versions.write(checkout.root, "9.8.7-rc.1")
    versions.check_agreement(checkout.root, "9.8.7-rc.1")
    assert {(mention.file, mention.line) for mention in versions.mentions(checkout.root)} == before
    assert set(changed) == {file for file, _ in before}
    assert checkout.git("diff", "--numstat").count("\n") == len(changed)


def test_archive_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    made = []
    for mode in (0o644, 0o600):
        tree = tmp_path / str(mode)
        (tree / "inside").mkdir(parents=True)
        for name in ("b", "a", "inside/c") if mode == 0o644 else ("inside/c", "a", "b"):
            (tree / name).write_text(name)
            (tree / name).chmod(mode)
        archives.write(tmp_path / f"{mode}.tgz", archives.tree(tree, "chart"), epoch=1_000_000_000)
        made.append((tmp_path / f"{mode}.tgz").read_bytes())
    assert made[0] == made[1]
    with tarfile.open(tmp_path / f"{0o600}.tgz") as archive:
        assert [(each.name, each.mode, each.mtime) for each in archive] == [
            (f"chart/{name}", 0o644, 1_000_000_000) for name in ("a", "b", "inside/c")
        ]
