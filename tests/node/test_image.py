"""The container image as the Dockerfile builds it: what it is, how it starts, and how it ends."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from riskladder import __version__
from tests.cluster.images import NEXT_VERSION, OPERATOR, OPERATOR_NEXT, Image, archive_of
from tests.node import report
from tests.node.installation import Installation

MEGABYTE = 1_000_000
LARGEST = 150 * MEGABYTE
"""Bytes of the image as a registry keeps it and a node pulls it."""

OPERATOR_USER = 65532
PYTHON = "/opt/riskladder/bin/python"

FACTS = """
import json, os, pathlib, pwd
def refused(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return error.strerror
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/1/status").read_text().splitlines() if ":" in line)
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "root": refused("/x"), "code": refused("/opt/riskladder/x"),
    "tmp": refused("/tmp/x"), "capabilities": status["CapEff"].strip(), "privileges": status["NoNewPrivs"].strip(),
    "named": any(entry.pw_uid == os.getuid() for entry in pwd.getpwall()),
}))
"""


STARTED = "import os; print(os.stat('/proc/1').st_ctime)"


@pytest.mark.parametrize(("reference", "version"), [(OPERATOR, __version__), (OPERATOR_NEXT, NEXT_VERSION)])
def test_image_says_what_it_is(reference: str, version: str, installation: Installation) -> None:
    del installation  # The images are built with the node.
    config = Image(archive_of(reference)).config()
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "riskladder"
    assert labels["version"] == version
    assert labels["licenses"] == "Apache-2.0"
    assert {"description", "revision", "created", "vendor", "base.name"} <= labels.keys()
    assert config["User"] == f"{OPERATOR_USER}:{OPERATOR_USER}"
    assert config["Entrypoint"] == ["/opt/riskladder/bin/riskladder"]
    assert not any("PIP_" in setting for setting in config["Env"]), "what the build needs stays in the build"


def test_image_is_small(installation: Installation) -> None:
    del installation
    image = Image(archive_of(OPERATOR))
    compressed = image.compressed()
    sizes = f"{compressed / MEGABYTE:.0f} MB as a registry keeps it, {image.unpacked() / MEGABYTE:.0f} MB unpacked"
    report.note("the image", f"size: {sizes}")
    assert compressed < LARGEST


async def test_runs_without_privileges_on_a_root_that_it_cannot_write(installation: Installation) -> None:
    await installation.use()
    facts = json.loads(await installation.kubectl("exec", "deployment/riskladder", "--", PYTHON, "-c", FACTS))
    assert facts == {
        "uid": OPERATOR_USER,
        "gid": OPERATOR_USER,
        "root": "Read-only file system",
        "code": "Read-only file system",
        "tmp": None,
        "capabilities": "0" * 16,
        "privileges": "1",
        "named": False,  # As any user id that a cluster assigns: nothing may ask for its name.
    }


async def test_starts_and_ends_in_order(installation: Installation) -> None:
    await installation.use()
    pod = (await installation.pods())[0]
    name, before = pod["metadata"]["name"], pod["status"]["containerStatuses"][0]["restartCount"]
    installation.kill(pod, "TERM")
    restarted = await installation.restarted(name, before)
    ended = restarted["lastState"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")
    entries = await _log(installation, name, "--previous")
    assert entries[-1]["event"] == "stopped"
    ending = [entry["event"] for entry in entries].index("stopping")
    assert [entry for entry in entries[ending:] if entry["level"] not in ("debug", "info")] == []
    since = float(await installation.kubectl("exec", name, "--", PYTHON, "-c", STARTED))
    full = next(e for e in await _log(installation, name) if e["event"] == "caches full")
    took = datetime.fromisoformat(full["timestamp"]).timestamp() - since
    report.note("the image", f"from the start of the process until it can be Ready: {took:.1f} s")


async def _log(installation: Installation, pod: str, *options: str) -> list[dict[str, Any]]:
    """The lines of the operator's log: each is JSON, or this fails."""
    return [json.loads(line) for line in (await installation.kubectl("logs", *options, pod)).splitlines()]
