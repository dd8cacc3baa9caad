"""Alerts of Vertex AI Model Monitoring: ``ModelMonitoringAlert`` of its API, one, a list, or a page of a search.

An alert is there because a threshold was crossed; nothing says when it no longer is. ``anomalyUri`` is never fetched.
"""

from __future__ import annotations

from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.methods import known
from riskladder.monitors.payload import Malformed, bounded, decode, is_number, member, text_in

_PAGE = "modelMonitoringAlerts"


def read(delivery: Delivery) -> Content:
    """Return the alerts."""
    body = decode(delivery.raw)
    if isinstance(body, dict) and _PAGE in body:
        alerts = bounded(member(body[_PAGE], _PAGE, list, "a list of alerts"), _PAGE)
        total = _total(body.get("totalNumberAlerts"))
        left_out = max(total - len(alerts), 1 if text_in(body, "nextPageToken") else 0, 0)
        return Content([_entry(f"{_PAGE}[{i}]", a) for i, a in enumerate(alerts)], body, left_out, is_partial=True)
    if isinstance(body, list):
        alerts = bounded(body, "body")
        return Content([_entry(f"body[{i}]", alert) for i, alert in enumerate(alerts)], body, is_partial=True)
    return Content([_entry("body", body)], body, is_partial=True)


def _entry(path: str, alert: Any) -> Entry:
    found = member(alert, path, dict, "an alert of Model Monitoring")
    anomaly = member(found.get("anomaly"), f"{path}.anomaly", dict, "an object with tabularAnomaly")
    if "tabularAnomaly" not in anomaly:
        raise Malformed(f"{path}.anomaly: found no tabularAnomaly, expected one with a number")
    tabular = member(anomaly["tabularAnomaly"], f"{path}.anomaly.tabularAnomaly", dict, "an object")
    method = text_in(anomaly, "algorithm")
    about = known(method)
    value = tabular.get("anomaly")
    condition = tabular.get("condition")
    fields = {
        "summary": text_in(tabular, "summary"),
        "anomalyUri": text_in(tabular, "anomalyUri"),
        "modelMonitoringJob": text_in(anomaly, "modelMonitoringJob"),
    }
    if isinstance(condition, dict) and is_number(condition.get("threshold")):
        fields["threshold"] = condition["threshold"]
    return Entry(
        path=path,
        name=text_in(found, "objectiveType"),
        value=value,
        firing=True if is_number(value) else None,
        at=tabular.get("triggerTime", found.get("alertTime")),
        method=method,
        column=text_in(found, "statsName"),
        fields=fields,
        direction=about.direction,
        range=(about.least, about.most),
    )


def _total(value: Any) -> int:
    """Return a number that the API writes as a text, as it does all of 64 bits."""
    text = str(value) if isinstance(value, (int, str)) else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    first = body[0] if isinstance(body, list) and body else body
    return isinstance(first, dict) and (_PAGE in first or {"statsName", "anomaly"} <= first.keys())


FORMAT = Format("VertexAI", read, looks_like=_looks_like)
