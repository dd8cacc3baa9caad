"""The presets: one file for each format, which knows its shape and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from riskladder.api.binding import MonitorFormat
from riskladder.monitors.entries import Delivery, Format
from riskladder.monitors.formats import (
    alertmanager,
    alibi_detect,
    cloudevents,
    evidently,
    generic,
    mlflow,
    nannyml,
    sagemaker,
    trustyai,
    vertex_ai,
)
from riskladder.monitors.payload import Malformed

FORMATS: Mapping[MonitorFormat, Format] = {
    MonitorFormat.ALERTMANAGER: alertmanager.FORMAT,
    MonitorFormat.CLOUD_EVENTS: cloudevents.FORMAT,
    MonitorFormat.EVIDENTLY: evidently.FORMAT,
    MonitorFormat.NANNYML: nannyml.FORMAT,
    MonitorFormat.ALIBI_DETECT: alibi_detect.FORMAT,
    MonitorFormat.TRUSTYAI: trustyai.FORMAT,
    MonitorFormat.SAGEMAKER: sagemaker.FORMAT,
    MonitorFormat.VERTEX_AI: vertex_ai.FORMAT,
    MonitorFormat.MLFLOW: mlflow.FORMAT,
    MonitorFormat.GENERIC: generic.FORMAT,
}
"""By the word of the binding."""


def detect(delivery: Delivery) -> MonitorFormat:
    """Return the format that a sample looks like; Generic where it looks like none."""
    for name, format_ in FORMATS.items():
        try:
            if format_.looks_like(delivery):
                return name
        except Malformed:
            continue
    return MonitorFormat.GENERIC
