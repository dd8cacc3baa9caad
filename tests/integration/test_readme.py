"""The README, from the first ladder to the first reading of a monitor: every command of it, on a cluster of its own."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import LocalControlPlane
from tests.cluster.install import ROOT, kubectl, service_account_kubeconfig
from tests.documented import shell
from tests.integration.ingest_process import Ingest, ingesting
from tests.integration.operator_process import OperatorProcess
from tests.patience import PATIENCE

README = (ROOT / "README.md").read_text("utf-8")
LADDER, FIRST = "The first ladder and signal", "First reading in ten minutes"
ELSEWHERE = ("kubectl apply --server-side -k mine", "kubectl -n riskladder-system ")
"""What `ingesting` does here with the same manifests: its process has no pod, and its port needs no forwarding."""


def blocks(section: str, language: str) -> list[str]:
    text = README[README.index(f"\n## {section}\n") + 4 :].split("\n## ", 1)[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a console, without what they print."""
    found = re.findall(r"^\$ ((?:.*\\\n)*.*)$", block, re.MULTILINE)
    return [one.removesuffix(" &") for one in found if not one.startswith(ELSEWHERE)]


@pytest.fixture(scope="module")
async def ingest(plane: LocalControlPlane, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ingest]:
    directory = tmp_path_factory.mktemp("readme")
    account = service_account_kubeconfig(plane.kubeconfig, directory / "operator.kubeconfig")
    with OperatorProcess(account, directory) as operator:
        operator.wait_until_leading()
        async with ingesting(plane.kubeconfig, directory) as running:
            yield running


def run(command: str, ingest: Ingest, directory: Path) -> str:
    """What a command prints; permissions and bindings need a moment to be known."""
    began = time.monotonic()
    while True:
        done = shell(command.replace("http://localhost:8090", ingest.url), ingest.kubeconfig, directory)
        if done.returncode == 0:
            print(f"{time.monotonic() - began:5.1f} s  {command.splitlines()[0]}")
            return done.stdout
        assert time.monotonic() - began < PATIENCE, f"{command}\n{done.stdout}{done.stderr}"
        time.sleep(0.3)


def test_first_reading_of_a_monitor_takes_the_commands_of_the_readme(ingest: Ingest, tmp_path: Path) -> None:
    ladder, _ = blocks(LADDER, "yaml")
    create, apply, *_ = blocks(LADDER, "console")
    (tmp_path / "ladder.yaml").write_text(ladder)
    for command in commands(create):
        run(command, ingest, tmp_path)
    for command in commands(apply):
        if "signal.yaml" not in command and " get " not in command:
            run(command, ingest, tmp_path)
    component, binding = blocks(FIRST, "yaml")
    [path] = yaml.safe_load(component)["components"]
    assert (ROOT / path.removeprefix("../")).is_dir()
    (tmp_path / "binding.yaml").write_text(binding)
    patch, post = blocks(FIRST, "sh")
    run(patch, ingest, tmp_path)
    _, grant, look = blocks(FIRST, "console")
    for command in commands(grant):
        run(command, ingest, tmp_path)
    assert '"Stored"' in run(post, ingest, tmp_path)
    time_left = time.monotonic() + PATIENCE
    while True:
        [command] = commands(look)
        shown = run(command, ingest, tmp_path)
        [binding_row] = [line.split() for line in shown.splitlines() if line.startswith("monitorbinding")]
        [signal_row] = [line.split() for line in shown.splitlines() if line.startswith("modelrisksignal")]
        if "True" in binding_row and signal_row[-2] == "True" and binding_row[5] != "0":
            break
        assert time.monotonic() < time_left, shown
        time.sleep(0.3)
    print(shown)
    assert kubectl(ingest.kubeconfig, "-n", "models", "get", "escalations", "-o", "name") == "", "it stops nothing"
    fired = post.replace("resolved", "firing").replace(
        "2026-11-24T06:00:00Z", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    )
    assert '"Stored"' in run(fired, ingest, tmp_path)
    run("kubectl -n models get escalations -o name | grep scorer", ingest, tmp_path)
    assert (
        kubectl(ingest.kubeconfig, "-n", "models", "get", "deployment", "scorer", "-o", "jsonpath={.spec.replicas}")
        == "3"
    )
