"""The dictionary that ``predict`` of a drift detector of Alibi Detect returns, as JSON (alibi_detect/base.py).

``{"data": {"is_drift": 1, "distance": …, "p_val": …, "threshold": …}, "meta": {"name": "KSDrift", …}}``: a univariate
detector has a distance and a p-value for each feature, in the order of the columns. It says no time, and not how many
samples it saw. ``threshold`` and ``distance_threshold`` are limits, and no measurements.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.methods import known
from riskladder.monitors.payload import MAX_VALUES, Malformed, bounded, decode, is_number, member, shown, text_in

_VALUES = ("p_val", "distance", "test_stat")
_LIMITS = ("threshold", "distance_threshold", "time", "ert")


def read(delivery: Delivery) -> Content:
    """Return the p-values, distances and verdicts of a prediction."""
    body = member(decode(delivery.raw), "body", dict, "what predict of a drift detector returns")
    data = member(body.get("data"), "data", dict, "an object with is_drift")
    meta = body.get("meta")
    method = text_in(meta, "name") if isinstance(meta, dict) else ""
    if "is_drift" not in data:
        expected = "expected is_drift: outlier and adversarial detectors judge single requests, and not a model"
        raise Malformed(f"data: found {', '.join(sorted(map(str, data)))[:200] or 'nothing'}, {expected}")
    return Content(bounded(list(_entries(data, method)), "data", MAX_VALUES), body)


def _entries(data: Mapping[str, Any], method: str) -> Iterator[Entry]:
    verdicts = data["is_drift"]
    limits = {name: data[name] for name in _LIMITS if name in data}
    for path, column, verdict in _each("data.is_drift", verdicts):
        firing = _verdict(path, verdict)
        yield Entry(path=path, name="is_drift", firing=firing, method=method, column=column, fields=limits)
    for name in _VALUES:
        if name not in data or (data[name] is None and name != "p_val"):
            continue
        about = known(name)
        for path, column, value in _each(f"data.{name}", data[name]):
            yield Entry(
                path=path,
                name=name,
                value=value,
                firing=_firing(verdicts, column) if is_number(value) else None,
                method=method,
                column=column,
                fields=limits,
                direction=about.direction,
                range=(about.least, about.most),
            )


def _each(path: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the value, or that of each feature, with where it is and which feature it is about."""
    if isinstance(value, list):
        for i, one in enumerate(bounded(value, path, MAX_VALUES)):
            yield f"{path}[{i}]", str(i), one
    else:
        yield path, "", value


def _verdict(path: str, value: Any) -> bool:
    if value not in (0, 1) or isinstance(value, float):
        raise Malformed(f"{path}: found {shown(value)}, expected 0 or 1")
    return bool(value)


def _firing(verdicts: Any, column: str) -> bool | None:
    """Return the verdict on one feature; one on all of them is no verdict on each."""
    if isinstance(verdicts, list):
        return bool(verdicts[int(column)]) if column and int(column) < len(verdicts) else None
    return None if column else bool(verdicts)


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    return isinstance(body, dict) and isinstance(body.get("data"), dict) and "is_drift" in body["data"]


FORMAT = Format("AlibiDetect", read, has_time=False, looks_like=_looks_like)
