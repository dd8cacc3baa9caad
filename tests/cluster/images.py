"""Container images from Debian packages and the Dockerfile of this checkout, without any image registry.

buildah builds them, as root, in namespaces of its own, since it leaves mounts behind. containerd's directory
with all of them unpacked is made once, so that a node that starts need not import them.
"""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from riskladder import __version__
from tests.cluster.base import ClusterError, Progress
from tests.cluster.build import HEARTBEAT_SECONDS, cache_directory, locked, print_progress, tail
from tests.cluster.host import why_not
from tests.cluster.launcher import ALONE, dying_with_us, yielding

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).with_suffix("")
RECIPE = "1"
"""Raise it when the way of building changes: the cache is keyed by it."""

SUITE = "trixie"
"""Debian 13, whose Python is 3.13."""

DEBIAN = f"deb https://deb.debian.org/debian {SUITE} main"
"""What an image says of where its packages are from, whatever mirror they came through."""

REGISTRY = "docker.io/library"
"""What container engines put before a name without a registry. Nothing is fetched from there."""

BASE = f"{REGISTRY}/python:3.13-slim"
OWN_BASE = f"localhost/debian-python:{SUITE}"
"""The same under a name that says what it is."""

OPERATOR = f"{REGISTRY}/riskladder:{__version__}"
NEXT_VERSION = "0.1.1-next"
"""The version of a second image of the operator, for the test of an upgrade: the same but for its labels."""

OPERATOR_NEXT = f"{REGISTRY}/riskladder:{NEXT_VERSION}"
OPERATOR_DEV = f"{REGISTRY}/riskladder:dev"
"""Another name of the first one, which the overlay for development asks for."""

MODEL, BUSYBOX, PAUSE = (f"{REGISTRY}/{name}" for name in ("model:1", "busybox:1.37", "pause:1"))

KEPT_SECONDS = 3600
"""For how long an archive is kept that this checkout has no use for."""

GZIP = zlib.MAX_WBITS | 16

LARGEST_STORAGE = 4 << 30
"""Bytes of buildah's storage, to which every change of the operator adds some: above that, it begins again."""

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
BUSYBOX_APPLETS = ("cat", "env", "id", "ls", "nc", "ps", "sh", "sleep", "wget")


@dataclass(frozen=True, slots=True)
class Archive:
    """An image as a file that containerd imports."""

    reference: str
    file: Path


@contextlib.contextmanager
def images_in_use(progress: Progress = print_progress) -> Iterator[Path]:
    """Yield containerd's directory with every image unpacked, which stays as long as the context is open.

    Built on the first call, in about two minutes; after that only what has changed, where a changed operator takes
    half a minute. Safe to call from several processes at once. Raises ClusterError with the end of the log if
    something cannot be built, or in one sentence if this machine cannot have a node.
    """
    if reason := why_not():
        raise ClusterError(reason)
    home = cache_directory() / "node"
    home.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with locked(home / "images.lock", progress):
            template = _template(home, Builder(home, progress).archives(), progress)
            use = stack.enter_context(_use_of(template).open("w"))
            fcntl.flock(use, fcntl.LOCK_SH)
        yield template


def ensure_images(progress: Progress = print_progress) -> Path:
    """Return what `images_in_use` yields; another checkout may replace it."""
    with images_in_use(progress) as template:
        return template


@dataclass(frozen=True, slots=True)
class Image:
    """An image in an archive, as they are written here."""

    archive: Path

    def config(self) -> dict[str, Any]:
        """Return User, Entrypoint, Env, Labels and so on, as the OCI image specification has them."""
        with self._open() as (manifest, blob):
            found: dict[str, Any] = json.load(blob(manifest["config"]["digest"]))["config"]
            return found

    def unpacked(self) -> int:
        """Return the bytes of its layers."""
        with self._open() as (manifest, blob):
            return sum(_length(blob(layer["digest"]), wbits=None) for layer in manifest["layers"])

    def compressed(self) -> int:
        """Return the bytes of its layers as a registry keeps them, and as a node pulls them: with gzip."""
        with self._open() as (manifest, blob):
            return sum(_length(blob(layer["digest"]), wbits=GZIP) for layer in manifest["layers"])

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[dict[str, Any], Callable[[str], IO[bytes]]]]:
        with tarfile.open(self.archive) as archive:

            def blob(digest: str) -> IO[bytes]:
                member = archive.extractfile(f"blobs/{digest.replace(':', '/')}")
                assert member is not None, digest
                return member

            index = archive.extractfile("index.json")
            assert index is not None
            yield json.load(blob(json.load(index)["manifests"][0]["digest"])), blob


def _length(layer: IO[bytes], wbits: int | None) -> int:
    """Return the bytes of a layer, stored with gzip or without: packed again with `wbits`, or unpacked."""
    packed = layer.read(2) == b"\x1f\x8b"
    layer.seek(0)
    content: Any = gzip.GzipFile(fileobj=layer) if packed else layer
    packer, size = zlib.compressobj(wbits=wbits) if wbits is not None else None, 0
    while part := content.read(1 << 20):
        size += len(packer.compress(part)) if packer else len(part)
    return size + (len(packer.flush()) if packer else 0)


def archive_of(reference: str, progress: Progress = print_progress) -> Path:
    """Return the archive of an image of this checkout, such as `OPERATOR`; built if it is not there."""
    home = cache_directory() / "node"
    with locked(home / "images.lock", progress):
        return next(each.file for each in Builder(home, progress).archives() if each.reference == reference)


class Builder:
    """Builds into one storage of buildah's, below the cache."""

    def __init__(self, home: Path, progress: Progress, epoch: int | None = None) -> None:
        """Prepare a directory of the builder's own. With `epoch`, in seconds since 1970, no other time is written."""
        self._home = home
        self._progress = progress
        self._epoch = epoch
        if _size(home / "storage") > LARGEST_STORAGE:
            for name in ("storage", "storage-run", "images"):
                _remove(home / name)
        (home / "images").mkdir(exist_ok=True)

    def archives(self) -> list[Archive]:
        """Return all images that a node has, as archives; build what is missing."""
        rootfs = self._rootfs()
        base = self._image(BASE, SOURCES / "base", RECIPE, rootfs.name, extra=[rootfs])
        busybox = self._image(BUSYBOX, SOURCES / "small", RECIPE, str(Path("/bin/busybox").stat().st_mtime))
        pause = self._image(PAUSE, SOURCES / "pause", RECIPE, busybox.file.name)
        model = self._image(MODEL, SOURCES / "model", RECIPE, base.file.name)
        operator = self._image(
            *(OPERATOR, ROOT, RECIPE, base.file.name),
            inputs=[ROOT / "Dockerfile", *_context_files()],
            arguments={"VERSION": __version__},
        )
        following = self._image(OPERATOR_NEXT, SOURCES / "next", RECIPE, operator.file.name)
        keep = {archive.file for archive in (base, busybox, pause, model, operator, following)}
        for stale in set((self._home / "images").glob("*.tar")) - keep:
            if time.time() - stale.stat().st_mtime > KEPT_SECONDS:  # Another checkout may be at work with it.
                stale.unlink()
        return [busybox, pause, model, operator, following]

    def layout(self, source: Path, reference: str, arguments: dict[str, str]) -> Path:
        """Build the operator's image of a directory with a Dockerfile, on a base of its own; return its OCI layout."""
        with self._context(SOURCES / "base", [self._rootfs()]) as directory:
            self._build(OWN_BASE, directory, {})
        self._build(reference, source, {"BASE": OWN_BASE, **arguments})
        tag = reference.rpartition(":")[2]
        self._buildah("image: writing", "push", "--quiet", reference, f"oci:{self._home / 'layout'}:{tag}")
        return self._home / "layout"

    def _rootfs(self) -> Path:
        file = self._home / f"{SUITE}-{hashlib.sha256(RECIPE.encode()).hexdigest()[:12]}.tar"
        if not file.is_file():
            partial = file.with_suffix(".partial")
            _remove(partial)
            excluded = ("doc", "man", "locale", "info")
            self._run(
                f"Debian {SUITE} with Python: root file system (once, about a minute)",
                [
                    *self._timed("env"),
                    "mmdebstrap",
                    "--format=tar",
                    "--variant=minbase",
                    "--include=python3,python3-venv,ca-certificates",
                    *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in excluded),
                    f"--customize-hook=echo {DEBIAN} >$1/etc/apt/sources.list",
                    SUITE,
                    str(partial),
                    *_debian_mirror(),
                ],
            )
            partial.rename(file)
        return file

    def _image(
        self,
        reference: str,
        context: Path,
        *key: str,
        inputs: Sequence[Path] = (),
        extra: Sequence[Path] = (),
        arguments: dict[str, str] | None = None,
    ) -> Archive:
        """Build one image, unless its archive is there, from a Containerfile or the Dockerfile of a directory."""
        files = inputs or sorted(path for path in context.rglob("*") if path.is_file())
        name, _, tag = reference.rpartition("/")[2].partition(":")
        archive = Archive(reference, self._home / "images" / f"{name}-{tag}-{_digest(context, files, key)}.tar")
        if not archive.file.is_file():
            with self._context(context, extra) as directory:
                self._build(reference, directory, arguments or {})
            partial = archive.file.with_suffix(".partial")
            _remove(partial)
            self._buildah(
                f"image {name}:{tag}: writing",
                "push",
                "--quiet",
                "--disable-compression",
                reference,
                f"oci-archive:{partial}:{reference}",
            )
            partial.rename(archive.file)
        return archive

    def _build(self, reference: str, directory: Path, arguments: dict[str, str]) -> None:
        name = reference.rpartition("/")[2]
        with _pip_configuration(self._home) as configuration:
            self._buildah(
                f"image {name}: building",
                "build",
                "--pull-never",
                "--isolation=chroot",
                "--network=host",
                "--layers",
                "--format=oci",
                *([f"--timestamp={self._epoch}", *self._timed("--build-arg")] if self._epoch is not None else []),
                f"--volume={configuration}:/etc/pip.conf:ro",
                *([f"--volume={CERTIFICATES}:{CERTIFICATES}:ro"] if CERTIFICATES.exists() else []),
                *(f"--build-arg={key}={value}" for key, value in arguments.items()),
                f"--tag={reference}",
                str(directory),
            )

    @contextlib.contextmanager
    def _context(self, source: Path, extra: Iterable[Path]) -> Iterator[Path]:
        """Yield the directory to build from: the source itself, or a copy with further files."""
        if source == ROOT:
            yield source
            return
        directory = self._home / "context"
        _remove(directory)
        shutil.copytree(source, directory)
        if source.name == "small":
            _busybox_root(directory / "root")
        for file in extra:
            os.link(file, directory / "rootfs.tar")
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def _timed(self, option: str) -> list[str]:
        """Return the time to write by the name that other programs know it by, as an option of them."""
        return [option, f"SOURCE_DATE_EPOCH={self._epoch}"] if self._epoch is not None else []

    def _command(self) -> list[str]:
        return [
            *("buildah", "--storage-driver=overlay"),
            *("--root", str(self._home / "storage"), "--runroot", str(self._home / "storage-run")),
        ]

    def _buildah(self, what: str, *arguments: str) -> None:
        self._run(what, [*self._command(), *arguments])

    def _run(self, what: str, command: list[str]) -> None:
        self._progress(what)
        run_logged(what, command, self._home / "images.log", self._progress)


def run_logged(what: str, command: list[str], log: Path, progress: Progress) -> None:
    """Run a command in namespaces of its own, with its output in a log and a sign of life at times.

    Raises ClusterError with the end of the log if it fails.
    """
    started = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(
            dying_with_us([str(shutil.which(ALONE[0])), *ALONE[1:], *yielding(command)]),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            while True:
                try:
                    code = process.wait(HEARTBEAT_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    progress(f"{what}: {time.monotonic() - started:.0f} s")
        except BaseException:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 9)
            process.wait()
            raise
    if code != 0:
        raise ClusterError(f"{what}: {command[0]} failed with exit code {code}. The end of {log}:\n{tail(log)}")


def _template(home: Path, archives: Sequence[Archive], progress: Progress) -> Path:
    """Return containerd's directory with the images of these archives, made if it is not there."""
    key = hashlib.sha256("\0".join(archive.file.name for archive in archives).encode()).hexdigest()[:12]
    template = home / f"containerd-{key}"
    if not template.is_dir():
        for stale in home.glob("containerd-*"):
            if stale.is_dir():
                _remove_unused(stale)
        partial = home / "containerd.partial"
        _remove(partial)
        partial.mkdir()
        command = [
            *(
                "env",
                f"PYTHONPATH={ROOT}{os.pathsep}{ROOT / 'operator'}",
                sys.executable,
                "-m",
                "tests.cluster.nodeinit",
            ),
            *("unpack", str(partial), *(str(archive.file) for archive in archives), f"{OPERATOR}={OPERATOR_DEV}"),
        ]
        progress("unpacking the images for containerd")
        run_logged("unpacking the images", command, home / "template.log", progress)
        (partial / "containerd").rename(template)
        shutil.rmtree(partial)
    return template


def _use_of(template: Path) -> Path:
    """Return the file that whoever copies a template holds a lock on."""
    return template.with_name(f"{template.name}.lock")


def _remove_unused(template: Path) -> None:
    """Remove a template, unless a node of another checkout is being made of it."""
    lock = _use_of(template)
    with contextlib.suppress(BlockingIOError), lock.open("w") as use:
        fcntl.flock(use, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(template, ignore_errors=True)
        lock.unlink()


def _remove(path: Path) -> None:
    """Remove a file or a directory, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _size(directory: Path) -> int:
    """Return the bytes that a directory takes on disk."""
    return sum(path.lstat().st_blocks * 512 for path in directory.rglob("*") if not path.is_symlink())


def _busybox_root(root: Path) -> None:
    for name in ("bin", "tmp", "etc"):
        (root / name).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy2("/bin/busybox", root / "bin" / "busybox")
    for applet in BUSYBOX_APPLETS:
        (root / "bin" / applet).symlink_to("busybox")


@contextlib.contextmanager
def _pip_configuration(home: Path) -> Iterator[Path]:
    """Yield a pip.conf for builds: this machine's index and certificates, as its own pip is configured."""
    asked = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False)
    pairs = (line.partition("=") for line in asked.stdout.splitlines())
    found = {key.rpartition(".")[2]: value.strip("'\"") for key, _, value in pairs}
    names = ("index-url", "extra-index-url", "proxy", "timeout")
    wanted: dict[str, str] = {name: found[name] for name in names if name in found}
    if CERTIFICATES.exists():
        wanted["cert"] = str(CERTIFICATES)
    file = home / "pip.conf"
    file.touch(mode=0o600)  # An index may have a password in its address.
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in wanted.items()))
    try:
        yield file
    finally:
        file.unlink()


def _context_files() -> list[Path]:
    """Return the files that the Dockerfile copies, as .dockerignore lets them through."""
    patterns = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    files: list[Path] = []
    for pattern in patterns:
        path = ROOT / pattern.rstrip("/")
        inside = path.rglob("*") if path.is_dir() else [path]
        files += [
            file for file in inside if file.is_file() and "__pycache__" not in file.parts and file.suffix != ".pyc"
        ]
    return sorted(files)


def _digest(context: Path, files: Iterable[Path], key: Iterable[str]) -> str:
    state = hashlib.sha256()
    for part in key:
        state.update(part.encode() + b"\0")
    for file in files:
        state.update(str(file.relative_to(context)).encode() + b"\0" + file.read_bytes() + b"\0")
    return state.hexdigest()[:12]


def _debian_mirror() -> list[str]:
    """Return the address of the mirror that apt is configured with, if any; else mmdebstrap takes Debian's own."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian", "Origin: Debian"]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return [line for line in asked.stdout.split() if line][:1]
