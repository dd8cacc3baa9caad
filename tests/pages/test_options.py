"""What `riskladder console` refuses to be started with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from riskladder.cli.main import app

ISSUER = ("--openid-issuer", "https://id.example", "--openid-client-id", "console")
SHARED = ("--url", "https://console.example")


def kubeconfig(folder: Path, **user: Any) -> str:
    """A kubeconfig for a server that nobody is to reach."""
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"token": "t"} | user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    file = folder / "kubeconfig"
    file.write_text(yaml.safe_dump(content))
    return str(file)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ((*SHARED, "--as", "ann"), "--as: with --url everybody acts as themselves"),
        (("--listen", "0.0.0.0:8091"), "--listen: without --url it serves your own credentials, so only 127.0.0.1"),
        (("--trust-proxy", "10.0.0.1"), "--trust-proxy: without --url it serves you alone"),
        ((*SHARED, "--impersonate"), "--impersonate: needs --openid-issuer, which says who people are"),
        ((*SHARED, *ISSUER[:2]), "--openid-issuer: needs --openid-client-id, and --url"),
        (ISSUER, "--openid-issuer: needs --openid-client-id, and --url"),
        (("--log-format", "xml"), "--log-format: 'xml' is not json or text"),
    ],
)
def test_options_that_contradict_each_other(tmp_path: Path, options: tuple[str, ...], says: str) -> None:
    found = CliRunner().invoke(app, ["console", "--kubeconfig", kubeconfig(tmp_path), *options])
    assert (found.exit_code, says in " ".join(found.output.split())) == (2, True), found.output


def test_kubeconfig_that_impersonates_acts_for_nobody_else(tmp_path: Path) -> None:
    """Each request would name two people."""
    where = kubeconfig(tmp_path, **{"as": "ann"})
    listen = ("--listen", "127.0.0.1:0")
    found = CliRunner().invoke(app, ["console", "--kubeconfig", where, *SHARED, *listen, *ISSUER, "--impersonate"])
    assert (found.exit_code, "the kubeconfig impersonates somebody itself" in found.output) == (2, True), found.output
