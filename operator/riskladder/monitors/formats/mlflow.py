"""Webhooks of MLflow's model registry (mlflow/webhooks): which version of a model has an alias now.

An event of a registry is never a measurement. It says the version, so that ``model.version`` of what the other bindings
report stays current. MLflow signs what it sends with the headers ``X-MLflow-Signature``, ``X-MLflow-Delivery-Id`` and
``X-MLflow-Timestamp``; the identifier is that of one attempt to deliver.
"""

from __future__ import annotations

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.payload import Malformed, decode, member, text_in

NO_READING = "found an event of a model registry, expected a measurement: it only says which version the model has"
_CURRENT = "model_version_alias.created"
"""The one event that says which version is in use; a new version is not, until an alias points to it."""


def read(delivery: Delivery) -> Content:
    """Return the event."""
    body = member(decode(delivery.raw), "body", dict, "an event of MLflow's model registry")
    entity, action = (member(body.get(key), key, str, "a text") for key in ("entity", "action"))
    data = member(body.get("data"), "data", dict, "an object that names the model")
    event = f"{entity}.{action}"
    version = text_in(data, "version") if event == _CURRENT else ""
    if event == _CURRENT and not version:
        raise Malformed("data.version: found nothing, expected the version that the alias points to")
    entry = Entry(
        path="data",
        name=event,
        at=body.get("timestamp"),
        labels={key: value for key, value in data.items() if isinstance(value, str)},
        fields=data,
        version=version,
        delivery_id=delivery.headers.get("x-mlflow-delivery-id", ""),
        no_reading=NO_READING,
    )
    return Content([entry], body, is_partial=True)


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    return isinstance(body, dict) and {"entity", "action", "data"} <= body.keys()


FORMAT = Format("MLflow", read, label="name or alias of the event", looks_like=_looks_like)
