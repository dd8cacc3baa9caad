"""Any JSON: an object is one entry, a list of objects is one entry for each; the binding says the rest in CEL.

``entry.fields`` is the object. What it calls ``value``, ``name``, ``labels``, ``samples``, ``observedAt`` and
``version`` is taken for that.
"""

from __future__ import annotations

from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.payload import Malformed, bounded, count_in, decode, shown, text_in


def read(delivery: Delivery) -> Content:
    """Return the objects of a payload."""
    body = decode(delivery.raw)
    if isinstance(body, dict):
        return Content([_entry("body", body)], body, is_partial=True)
    if isinstance(body, list):
        objects = bounded(body, "body")
        for i, one in enumerate(objects):
            if not isinstance(one, dict):
                raise Malformed(f"body[{i}]: found {shown(one)}, expected an object")
        return Content([_entry(f"body[{i}]", one) for i, one in enumerate(objects)], body, is_partial=True)
    raise Malformed(f"body: found {shown(body)}, expected an object or a list of objects")


def _entry(path: str, found: dict[str, Any]) -> Entry:
    labels = found.get("labels")
    texts = {k: v for k, v in labels.items() if isinstance(v, str)} if isinstance(labels, dict) else {}
    texts |= {k: v for k, v in found.items() if isinstance(v, str)}
    return Entry(
        path=path,
        name=text_in(found, "name"),
        value=found.get("value"),
        at=found.get("observedAt"),
        labels=texts,
        fields=found,
        samples=count_in(found, "samples", "sampleSize"),
        version=text_in(found, "version"),
    )


FORMAT = Format("Generic", read, label="a text of the object, or of its labels")
