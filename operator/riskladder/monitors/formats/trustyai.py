"""TrustyAI's metrics in Prometheus' text format, one entry for each sample.

Statistical parity difference is fair at 0 and disparate impact ratio at 1, and both sides are bad. Of the drift metrics
the Java service writes the p-value and the Python service the statistic under the same name, so nothing is said of
their direction; and where no column was measured, the Python service writes 0 without ``subcategory``: that is none.
"""

from __future__ import annotations

import re
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.methods import known
from riskladder.monitors.payload import MAX_VALUES, Malformed, bounded, text_of

_COLUMNS = ("subcategory", "protectedAttribute", "protected")
_DRIFT = re.compile(r"kstest|meanshift|comparemeans|jensen_?shannon|mmd|kolmogorov", re.IGNORECASE)
_NOT_MEASURED = "found 0 without the label subcategory, which is written where no column was measured"
_LONGEST = 4096
"""Characters of a line, at most: the parser looks at each of them more than once."""
_COUNTERS = ("_total", "_count", "_bucket", "_sum", "_created")


def read(delivery: Delivery) -> Content:
    """Return the samples."""
    lines = text_of(delivery.raw).split("\n")
    samples = [(i, line) for i, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    return Content([_entry(i, line) for i, line in bounded(samples, "samples", MAX_VALUES)], None)


def _entry(number: int, line: str) -> Entry:
    if len(line) > _LONGEST:
        raise Malformed(f"line {number}: found {len(line)} characters, expected at most {_LONGEST}")
    try:
        (sample,) = [s for family in text_string_to_metric_families(line.strip() + "\n") for s in family.samples]
    except Exception as error:  # the parser raises what it stumbles over
        expected = 'expected a sample such as trustyai_spd{modelId="m"} 0.1'
        raise Malformed(f"line {number}: found {line.strip()[:64]!r}, {expected}") from error
    name, labels = str(sample.name), {str(key): str(value) for key, value in sample.labels.items()}
    method = labels.get("metricName", "")
    is_counter = name.endswith(_COUNTERS)
    about = known(*() if is_counter else (method, name))
    quiet = _DRIFT.search(f"{name} {method}") and "subcategory" not in labels and sample.value == 0
    return Entry(
        path=f"line {number}",
        name=name,
        value=sample.value,
        at=_seconds(sample.timestamp),
        method=method,
        column=next((labels[label] for label in _COLUMNS if label in labels), ""),
        labels=labels,
        direction=about.direction,
        range=(about.least, about.most),
        no_reading=_NOT_MEASURED if quiet else "",
    )


def _seconds(timestamp: Any) -> float | None:
    return None if timestamp is None else float(timestamp)


def _looks_like(delivery: Delivery) -> bool:
    return re.search(r"^trustyai_\w+(\{[^\n]*\})? ", text_of(delivery.raw), re.MULTILINE) is not None


FORMAT = Format(
    "TrustyAI",
    read,
    content_types=("text/plain", "application/openmetrics-text"),
    label="a label of the sample",
    looks_like=_looks_like,
)
