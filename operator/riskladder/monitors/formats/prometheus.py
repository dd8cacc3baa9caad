"""What Prometheus' HTTP API answers to an instant query, one entry for each sample (docs: querying/api).

Thanos, Mimir and VictoriaMetrics answer the same; where a part of them cannot be reached, they say so in ``warnings``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from riskladder.monitors.entries import Content, Entry
from riskladder.monitors.payload import Malformed, decode, member, shown

MAX_SAMPLES = 10_000
"""Samples of an answer, at most."""


@dataclass(frozen=True, slots=True)
class Result:
    """An answer."""

    content: Content
    warnings: tuple[str, ...] = ()
    """What may be missing or wrong, as the server says it."""


def read(raw: bytes, *, limit: int) -> Result:
    """Return the samples of an answer.

    Args:
        raw: The body.
        limit: Bytes that it may have.

    Raises:
        Malformed: It is an error, no vector or scalar, or nothing that Prometheus would say.
    """
    body = member(decode(raw, limit=limit), "body", dict, "an object as Prometheus' HTTP API answers")
    if body.get("status") != "success":
        kind, said = body.get("errorType"), body.get("error")
        if isinstance(said, str):
            raise Malformed(f"found the error {said[:300]!r} ({str(kind)[:64]}), expected a result")
        raise Malformed(f'status: found {shown(body.get("status"))}, expected "success"')
    data = member(body.get("data"), "data", dict, "an object")
    kind, result = data.get("resultType"), data.get("result")
    if kind == "scalar":
        samples: list[Any] = [{"metric": {}, "value": result}]
    elif kind == "vector":
        samples = member(result, "data.result", list, "a list of samples")
    else:
        raise Malformed(f"data.resultType: found {shown(kind)}, expected a vector or a scalar: an instant query")
    if len(samples) > MAX_SAMPLES:
        raise Malformed(f"data.result: found {len(samples)} samples, expected at most {MAX_SAMPLES}")
    warnings = body.get("warnings") or []
    member(warnings, "warnings", list, "a list of texts")
    entries = [_entry(f"data.result[{i}]", sample) for i, sample in enumerate(samples)]
    return Result(Content(entries, body), tuple(str(one)[:300] for one in warnings[:8]))


def _entry(path: str, sample: Any) -> Entry:
    member(sample, path, dict, "a sample")
    if "value" not in sample:
        raise Malformed(f"{path}: found no value, expected one: native histograms are no readings")
    labels = member(sample.get("metric", {}), f"{path}.metric", dict, "an object of labels")
    for key, text in labels.items():
        member(text, f"{path}.metric.{key}", str, "a text")
    pair = sample["value"]
    if not isinstance(pair, list) or len(pair) != 2:
        raise Malformed(f"{path}.value: found {shown(pair)}, expected a time and a value")
    at = pair[0]
    if isinstance(at, bool) or not isinstance(at, (int, float)):
        raise Malformed(f"{path}.value[0]: found {shown(at)}, expected seconds since 1970")
    return Entry(path=path, name=labels.get("__name__", ""), value=_number(pair[1], path), at=at, labels=dict(labels))


def _number(text: Any, path: str) -> float:
    member(text, f"{path}.value[1]", str, "a number as text")
    try:
        return float(text)
    except ValueError:
        raise Malformed(f"{path}.value[1]: found {shown(text)}, expected a number as text") from None


def is_finite(entry: Entry) -> bool:
    """Return whether a sample has a finite value."""
    return isinstance(entry.value, float) and math.isfinite(entry.value)
