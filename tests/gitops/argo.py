"""Runs our health checks as Argo CD does: Lua 5.1, the object in `obj`, and no library but base and table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lupa import lua51

ROOT = Path(__file__).parents[2]
HEALTH = ROOT / "manifests" / "argocd" / "health"
KEY = "resource.customizations.health.riskladder.dev_"
STATUSES = {"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}
CLOSED = ("string", "math", "io", "os", "debug", "coroutine", "package", "require", "dofile", "loadfile", "python")


def script(kind: str) -> str:
    return (HEALTH / f"{kind}.lua").read_text("utf-8")


def health(document: dict[str, Any], source: str | None = None) -> tuple[str, str]:
    """Status and message of an object, by the script of its kind."""
    lua = lua51.LuaRuntime(register_eval=False, unpack_returned_tuples=True)
    lua.execute("getmetatable('').__index = nil")  # So that ("x"):upper() is not there either.
    for name in CLOSED:
        lua.globals()[name] = None
    lua.globals().obj = _table(lua, document)
    returned = dict(lua.execute(source if source is not None else script(document["kind"])))
    assert set(returned) <= {"status", "message"}, returned
    assert returned["status"] in STATUSES, returned
    return returned["status"], returned.get("message", "")


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _table(lua, item) for key, item in value.items() if item is not None})
    if isinstance(value, list | tuple):
        return lua.table_from([_table(lua, item) for item in value])
    return value
