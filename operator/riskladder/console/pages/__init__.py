"""The pages, one module for each."""

from __future__ import annotations

from aiohttp import web

from riskladder.console.pages import decide, escalation, lists, records, signing, waiting
from riskladder.console.server import Console


def routes(console: Console) -> list[web.RouteDef]:
    """Return the routes of all pages."""
    modules = (waiting, escalation, decide, lists, records, signing)
    return [route for module in modules for route in module.routes(console)]
