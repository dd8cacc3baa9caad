"""Boards of Grafana in as few words as they need: panels of the core, each with its queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 42
"""Of the dashboards of Grafana 12.1 and later; what is older ignores what it does not know."""

COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

RED_FROM_ONE = ((None, "green"), (1.0, "red"))
"""Thresholds: none is good."""

NEUTRAL = ((None, "blue"),)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of a panel."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel."""

    kind: str
    """``stat``, ``timeseries``, ``bargauge`` or ``table``. All but a ``timeseries`` show how it is at the end."""
    title: str
    about: str
    """What it shows, and what to make of it."""
    queries: tuple[Query, ...]
    unit: str = "short"
    width: int = 8
    height: int = 8
    thresholds: Sequence[tuple[float | None, str]] = NEUTRAL
    columns: Mapping[str, str] = field(default_factory=dict)
    """Of a table: label, or Value (with more than one query, ``Value #A`` and so on), and the heading it gets."""
    units: Mapping[str, str] = field(default_factory=dict)
    """Of a table: heading and unit, where that is not the one of the panel."""

    def json(self, number: int, x: int, y: int) -> dict[str, Any]:
        """Return it as Grafana has it, at a place of the grid."""
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "gridPos": {"h": self.height, "w": self.width, "x": x, "y": y},
            "targets": [self._target(query, chr(ord("A") + place)) for place, query in enumerate(self.queries)],
            "fieldConfig": {"defaults": self._defaults(), "overrides": self._overrides()},
            "options": self._options(),
            "transformations": self._transformations(),
        }

    def _target(self, query: Query, ref: str) -> dict[str, Any]:
        over_time = self.kind == "timeseries"
        return {
            "refId": ref,
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": query.expression,
            "format": "table" if self.kind == "table" else "time_series",
            "instant": not over_time,
            "range": over_time,
            "legendFormat": query.legend or "__auto",
        }

    def _defaults(self) -> dict[str, Any]:
        steps = [{"color": color, "value": value} for value, color in self.thresholds]
        found: dict[str, Any] = {"unit": self.unit, "thresholds": {"mode": "absolute", "steps": steps}}
        if self.kind == "timeseries":
            return found | {
                "color": {"mode": "palette-classic"},
                "custom": {"fillOpacity": 8, "lineWidth": 1},
                "min": 0,
            }
        return found | {"color": {"mode": "thresholds"}}

    def _overrides(self) -> list[dict[str, Any]]:
        return [
            {"matcher": {"id": "byName", "options": heading}, "properties": [{"id": "unit", "value": unit}]}
            for heading, unit in self.units.items()
        ]

    def _options(self) -> dict[str, Any]:
        last = {"calcs": ["lastNotNull"], "fields": "", "values": False}
        match self.kind:
            case "stat":
                return {"reduceOptions": last, "colorMode": "value", "graphMode": "none", "textMode": "auto"}
            case "bargauge":
                return {
                    "reduceOptions": last,
                    "displayMode": "basic",
                    "orientation": "horizontal",
                    "showUnfilled": True,
                }
            case "timeseries":
                return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}
        return {"showHeader": True}

    def _transformations(self) -> list[dict[str, Any]]:
        if self.kind != "table":
            return []
        order = {name: place for place, name in enumerate(self.columns)}
        organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": dict(self.columns)}
        merge = [{"id": "merge", "options": {}}] if len(self.queries) > 1 else []
        return [*merge, {"id": "organize", "options": organize}]


def tile(
    title: str,
    about: str,
    queries: tuple[Query, ...],
    unit: str = "short",
    *,
    thresholds: Sequence[tuple[float | None, str]] = NEUTRAL,
) -> Panel:
    """Return one number on a small tile, of which six stand side by side."""
    return Panel("stat", title, about, queries, unit, width=COLUMNS // 6, height=4, thresholds=thresholds)


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """One board."""

    uid: str
    title: str
    about: str
    rows: tuple[Row, ...]
    variables: tuple[dict[str, Any], ...] = ()
    since: str = "now-6h"

    @property
    def panels(self) -> tuple[Panel, ...]:
        """Its panels, from the top."""
        return tuple(panel for row in self.rows for panel in row.panels)

    def json(self) -> dict[str, Any]:
        """Return it as Grafana has it."""
        panels: list[dict[str, Any]] = []
        y = 0
        for row in self.rows:
            place = {"h": 1, "w": COLUMNS, "x": 0, "y": y}
            panels.append(
                {"id": len(panels) + 1, "type": "row", "title": row.title, "gridPos": place, "collapsed": False}
                | {"panels": []}
            )
            x, y, height = 0, y + 1, 0
            for panel in row.panels:
                if x + panel.width > COLUMNS:
                    x, y, height = 0, y + height, 0
                panels.append(panel.json(len(panels) + 1, x, y))
                x, height = x + panel.width, max(height, panel.height)
            y += height
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": ["riskladder"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "graphTooltip": 1,
            "refresh": "30s",
            "time": {"from": self.since, "to": "now"},
            "timezone": "browser",
            "annotations": {"list": []},
            "links": [],
            "templating": {"list": [PROMETHEUS, *self.variables]},
            "panels": panels,
        }


PROMETHEUS = {
    "name": "datasource",
    "label": "Data source",
    "type": "datasource",
    "query": "prometheus",
    "current": {},
    "hide": 0,
    "refresh": 1,
    "regex": "",
    "options": [],
}


def chosen_from(name: str, label: str, metric: str) -> dict[str, Any]:
    """Return a variable whose values are those of a label, all of them by default."""
    query = f"label_values({metric}, {name})"
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"variable-{name}"},
        "current": {"text": ["All"], "value": ["$__all"]},
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "hide": 0,
        "refresh": 2,
        "sort": 1,
        "regex": "",
        "options": [],
    }
