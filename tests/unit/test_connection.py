"""Whom a connection acts as: the impersonation of a kubeconfig, and what takes its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from riskladder.cluster.connection import Access, ConnectionFailed, connect, own_namespace

KUBECONFIG = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "first",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "contexts": [
        {"name": "first", "context": {"cluster": "c", "user": "u", "namespace": "models"}},
        {"name": "second", "context": {"cluster": "c", "user": "plain"}},
    ],
    "users": [{"name": "plain", "user": {"token": "t"}}],
}
ANN = {
    "token": "t",
    "as": "ann",
    "as-uid": "u-1",
    "as-groups": ["legal", "staff"],
    "as-user-extra": {"acme.org/reason": ["audit", "drill"]},
}


def kubeconfig(place: Path, user: dict[str, Any]) -> str:
    file = place / "config"
    users = [*KUBECONFIG["users"], {"name": "u", "user": user}]
    file.write_text(yaml.safe_dump(KUBECONFIG | {"users": users}))
    return str(file)


def headers(access: Access) -> list[tuple[str, str]]:
    """The headers that impersonate somebody, and the namespace of the context."""

    async def run() -> list[tuple[str, str]]:
        connection = await connect(access)
        try:
            found = connection.session.headers.items()
            return [(name, value) for name, value in found if name.startswith("Impersonate")]
        finally:
            await connection.close()

    return asyncio.run(run())


@pytest.fixture(autouse=True)
def outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


def test_a_kubeconfig_impersonates(tmp_path: Path) -> None:
    assert headers(Access(kubeconfig(tmp_path, ANN))) == [
        ("Impersonate-User", "ann"),
        ("Impersonate-Group", "legal"),
        ("Impersonate-Group", "staff"),
        ("Impersonate-Uid", "u-1"),
        ("Impersonate-Extra-acme.org%2Freason", "audit"),
        ("Impersonate-Extra-acme.org%2Freason", "drill"),
    ]
    assert headers(Access(kubeconfig(tmp_path, {"token": "t"}))) == []


def test_somebody_else_takes_nothing_over(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, ANN)
    assert headers(Access(config, user="max")) == [("Impersonate-User", "max")]
    assert headers(Access(config, user="max", groups=("a", "b"))) == [
        ("Impersonate-User", "max"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
    ]
    assert headers(Access(config, groups=("a",)))[:2] == [("Impersonate-User", "ann"), ("Impersonate-Group", "a")]


def test_a_context_brings_its_user_and_namespace(tmp_path: Path) -> None:
    config = kubeconfig(tmp_path, ANN)
    assert headers(Access(config, context="second")) == []

    async def namespace(access: Access) -> str:
        connection = await connect(access)
        try:
            return own_namespace(access, connection)
        finally:
            await connection.close()

    assert asyncio.run(namespace(Access(config))) == "models"
    assert asyncio.run(namespace(Access(config, context="second"))) == "default"
    with pytest.raises(ConnectionFailed, match="third"):
        headers(Access(config, context="third"))


@pytest.mark.parametrize(
    ("user", "access", "says"),
    [
        ({"token": "t", "as-groups": ["legal"]}, Access(), "no user"),
        ({"token": "t", "as": "ann", "as-groups": "legal"}, Access(), "must be a list"),
        ({"token": "t", "as": "ann", "as-user-extra": {"a": "b"}}, Access(), "map of lists"),
        ({"token": "t"}, Access(groups=("legal",)), "say whom with --as"),
        ({"token": "t"}, Access(user="ann\r\nX: y"), "cannot be impersonated"),
    ],
)
def test_impersonation_of_nobody(tmp_path: Path, user: dict[str, Any], access: Access, says: str) -> None:
    with pytest.raises(ConnectionFailed, match=says):
        headers(Access(kubeconfig(tmp_path, user), user=access.user, groups=access.groups))
