"""CloudEvents 1.0 over HTTP: structured, binary and batched (cloudevents/spec, bindings/http-protocol-binding.md).

What comes as a CloudEvent from Azure Event Grid is one as well; its own schema is not. ``source`` and ``id`` together
identify an event, however often it is sent. The handshake of a webhook (``WebHook-Request-Callback``) is not answered,
and nothing that an event names is fetched.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.payload import Malformed, bounded, count_in, decode, member, shown, text_in

VERSION = "1.0"
STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
_REQUIRED = ("id", "source", "type")
_NO_DATA = "found an event without data, expected data with a value"


def read(delivery: Delivery) -> Content:
    """Return the events of a request: one, or each of a batch once."""
    body = decode(delivery.raw)
    content_type = delivery.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == BATCH or (isinstance(body, list) and not _in_headers(delivery)):
        events = bounded(member(body, "body", list, "a batch: a list of events"), "body")
        entries = [_structured(f"body[{i}]", event) for i, event in enumerate(events)]
        first = {entry.delivery_id: entry for entry in reversed(entries)}
        return Content(list(reversed(first.values())), body, is_partial=True)
    if content_type == STRUCTURED or not _in_headers(delivery):
        return Content([_structured("body", body)], body, is_partial=True)
    attributes = {
        name.removeprefix("ce-"): unquote(value) for name, value in delivery.headers.items() if name.startswith("ce-")
    }
    return Content([_entry("body", "header ce-", attributes, body)], body, is_partial=True)


def _in_headers(delivery: Delivery) -> bool:
    return "ce-specversion" in delivery.headers


def _structured(path: str, event: Any) -> Entry:
    found = member(event, path, dict, "a CloudEvent")
    if "specversion" not in found and ("eventType" in found or "dataVersion" in found):
        raise Malformed(
            f"{path}: found an event in Azure Event Grid's own schema, expected CloudEvents 1.0: choose Cloud Event "
            "Schema v1.0 in the event subscription"
        )
    attributes = {key: value for key, value in found.items() if key not in ("data", "data_base64")}
    missing = "data is base64, which is not read: send JSON" if "data_base64" in found else ""
    return _entry(path, f"{path}.", attributes, found.get("data"), missing)


def _entry(path: str, prefix: str, attributes: Mapping[str, Any], data: Any, missing: str = "") -> Entry:
    if attributes.get("specversion") != VERSION:
        raise Malformed(
            f'{prefix}specversion: found {shown(attributes.get("specversion"))}, expected "{VERSION}" of a CloudEvent'
        )
    for name in _REQUIRED:
        if not member(attributes.get(name), f"{prefix}{name}", str, "a text"):
            raise Malformed(f"{prefix}{name}: found an empty text, expected one that is not")
    fields = data if isinstance(data, dict) else {}
    texts = {key: value for source in (fields, attributes) for key, value in source.items() if isinstance(value, str)}
    return Entry(
        path=path,
        name=text_in(attributes, "type"),
        value=fields.get("value") if isinstance(data, dict) else data,
        at=attributes.get("time"),
        column=text_in(attributes, "subject"),
        labels=texts,
        fields=fields,
        samples=count_in(fields, "samples", "sampleSize"),
        version=text_in(fields, "version"),
        delivery_id=f"{attributes['source']} {attributes['id']}",
        no_reading=missing or ("" if data is not None else _NO_DATA),
    )


def _looks_like(delivery: Delivery) -> bool:
    if _in_headers(delivery):
        return True
    body = decode(delivery.raw)
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return False
    return {"specversion", *_REQUIRED} <= first.keys() or {"eventType", "dataVersion"} <= first.keys()


FORMAT = Format(
    "CloudEvents",
    read,
    content_types=(STRUCTURED, BATCH, "application/json"),
    label="an attribute of the event, or a text at the top of its data",
    looks_like=_looks_like,
)
