"""`riskladder doctor` as tests call it and what it says, and the commands of the page about installing."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from riskladder.cli.main import app
from tests.cluster.install import ROOT
from tests.documented import shell

PAGE = (ROOT / "docs" / "install.md").read_text("utf-8")


class Doctor:
    """Calls the command, and reads what it says."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig

    async def __call__(self, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, list[dict[str, Any]]]:
        """The exit code, and the checks."""
        code, text = await self.text(*arguments, "-o", "json", kubeconfig=kubeconfig)
        assert text.startswith("{"), text
        return code, json.loads(text)["checks"]

    async def text(self, *arguments: str, kubeconfig: Path | None = None) -> tuple[int, str]:
        command = ["doctor", *arguments, "--kubeconfig", str(kubeconfig or self.kubeconfig)]
        result = await asyncio.to_thread(CliRunner(env={"COLUMNS": "80"}).invoke, app, command)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result.exit_code, result.output


def of(checks: list[dict[str, Any]], name: str) -> list[tuple[str, str]]:
    """Outcome and finding of each check of a name."""
    return [(c["outcome"], c["found"]) for c in checks if c["check"] == name]


def failed(checks: list[dict[str, Any]]) -> dict[str, str]:
    return {c["check"]: c["found"] for c in checks if c["outcome"] == "FAIL"}


def run(command: str, kubeconfig: Path, directory: Path, *, code: int = 0) -> str:
    """What a command of the documentation prints."""
    done = shell(command, kubeconfig, directory)
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def commands(section: str) -> list[str]:
    """The commands of a section of the page, without what they print."""
    text = re.split(r"\n## ", PAGE[PAGE.index(f"\n## {section}\n") + 4 :])[0]
    blocks = re.findall(r"^ *```console\n(.*?)^ *```$", text, re.MULTILINE | re.DOTALL)
    found = re.findall(r"^ *\$ (.*(?:\n *> .*)*)$", "\n".join(blocks), re.MULTILINE)
    return [re.sub(r"\n *> ", "\n", one) for one in found]
