"""The presets: one file for each format, which knows its shape and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

from riskladder.api.binding import MonitorFormat
from riskladder.monitors.entries import Format
from riskladder.monitors.formats import alertmanager, generic

FORMATS: Mapping[MonitorFormat, Format] = {
    MonitorFormat.ALERTMANAGER: alertmanager.FORMAT,
    MonitorFormat.GENERIC: generic.FORMAT,
}
"""By the word of the binding."""
