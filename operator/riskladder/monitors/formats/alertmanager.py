"""Alertmanager's webhook, version 4 of its payload (prometheus/alertmanager, template/template.go and notify/webhook).

An alert has no value: what an annotation says is text that its author rendered, and a binding has to pick it.
``startsAt`` is when a firing alert began, ``endsAt`` when a resolved one ended; while it fires, ``endsAt`` is the
year 1 or a time to come. Alertmanager repeats what fires (``repeat_interval``), and each of its replicas may send
the same.
"""

from __future__ import annotations

from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.payload import Malformed, bounded, decode, inside, member, shown

VERSIONS = ("4", "1")
"""Of Alertmanager, and of Grafana, which sends the same and gives each alert its ``values`` besides."""


def read(delivery: Delivery) -> Content:
    """Return the alerts of a notification."""
    body = member(decode(delivery.raw), "body", dict, "an object as Alertmanager's webhook sends it")
    if body.get("version") not in VERSIONS:
        raise Malformed(f'version: found {shown(body.get("version"))}, expected "4" (Alertmanager) or "1" (Grafana)')
    alerts = bounded(member(body.get("alerts"), "alerts", list, "a list of alerts"), "alerts")
    entries = [_entry(f"alerts[{i}]", alert) for i, alert in enumerate(alerts)]
    left_out = body.get("truncatedAlerts", 0)
    if isinstance(left_out, bool) or not isinstance(left_out, int) or left_out < 0:
        raise Malformed(f"truncatedAlerts: found {shown(left_out)}, expected a number of alerts")
    return Content(entries, body, left_out=left_out, is_partial=True)


def _entry(path: str, alert: Any) -> Entry:
    member(alert, path, dict, "an alert")
    labels, annotations = (_texts(f"{path}.{field}", alert.get(field)) for field in ("labels", "annotations"))
    status = alert.get("status")
    if status not in ("firing", "resolved"):
        raise Malformed(f"{path}.status: found {shown(status)}, expected firing or resolved")
    moment = "startsAt" if status == "firing" else "endsAt"
    return Entry(
        path=path,
        name=labels.get("alertname", ""),
        firing=status == "firing",
        at=member(alert.get(moment), f"{path}.{moment}", str, "an RFC 3339 time"),
        stands=True,
        labels=labels,
        annotations=annotations,
        fields={"startsAt": alert.get("startsAt"), "endsAt": alert.get("endsAt"), "values": alert.get("values")},
    )


def _texts(path: str, value: Any) -> dict[str, str]:
    found = member(value if value is not None else {}, path, dict, "an object of texts")
    for key, text in found.items():
        member(text, inside(path, key), str, "a text")
    return dict(found)


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    return isinstance(body, dict) and "alerts" in body and "groupKey" in body


FORMAT = Format("Alertmanager", read, label="a label of the alert", looks_like=_looks_like)
