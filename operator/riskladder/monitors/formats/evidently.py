"""Reports of Evidently: ``save_json`` and ``dumps`` of 0.7, and what 0.4 to 0.6 write (``evidently_legacy``).

An identifier of a metric is a hash of its configuration, so that it changes with every threshold: match on the type of
the metric (``entry.name``), ``entry.column`` and ``entry.method``. What a metric has several values of, such as count
and share, or one for each label, is an entry for each (``entry.fields.member``). Of what is measured by group
(``GroupByMetric``), ``entry.method`` is the metric and ``entry.column`` its column; the member is the group, such as
``gender=f``. ``save_json`` of 0.7 says no time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from riskladder.monitors.entries import Content, Delivery, Direction, Entry, Format
from riskladder.monitors.formats import evidently_legacy
from riskladder.monitors.methods import known
from riskladder.monitors.payload import MAX_VALUES, bounded, decode, inside, is_number, member, shown, text_in

_SHARES, _COUNTS = re.compile(r"(^|\.)shares?($|\.)"), re.compile(r"(^|\.)counts?($|\.)")
_PARTS = ("values", "counts", "shares", "count", "share", "mean", "std")
_FAILED = {"FAIL": True, "WARNING": True, "SUCCESS": False}
_Tests = Mapping[str, list[Mapping[str, Any]]]


def read(delivery: Delivery) -> Content:
    """Return the values of a report."""
    body = member(decode(delivery.raw), "body", dict, "a report of Evidently")
    if "metric_results" in body:
        entries = _of_snapshot(body)
    elif evidently_legacy.is_legacy(body):
        entries = evidently_legacy.entries(body)
    else:
        entries = _of_report(body)
    return Content(bounded(list(entries), "metrics", MAX_VALUES), body)


# --- save_json --------------------------------------------------------------------------------------------------------


def _of_report(body: Mapping[str, Any]) -> Iterator[Entry]:
    metrics = bounded(member(body.get("metrics"), "metrics", list, "a list of metrics"), "metrics", MAX_VALUES)
    tests = _tests(body.get("tests") or [], "tests")
    for i, found in enumerate(metrics):
        path = f"metrics[{i}]"
        metric = member(found, path, dict, "a metric")
        config = metric.get("config")
        if not isinstance(config, dict):
            config = _from_name(text_in(metric, "metric_name") or text_in(metric, "metric_id"))
        value = metric.get("value")
        yield from _entries(inside(path, "value"), config, value, tests.get(text_in(metric, "id"), []), None)


def _from_name(name: str) -> dict[str, Any]:
    """Return the configuration of ``ValueDrift(column=age,method=psi,threshold=0.1)``."""
    kind, _, rest = name.partition("(")
    pairs = (part.partition("=") for part in re.split(r",(?=\w+=)", rest.removesuffix(")")))
    return {"type": kind, **{key: value for key, _, value in pairs if key}}


def _tests(found: Any, path: str) -> _Tests:
    """Return the results of the tests, by the metric that they are about."""
    by_metric: dict[str, list[Mapping[str, Any]]] = {}
    for i, one in enumerate(bounded(member(found, path, list, "a list of tests"), path, MAX_VALUES)):
        test = member(one, f"{path}[{i}]", dict, "the result of a test")
        config = test.get("metric_config")
        by_metric.setdefault(text_in(config, "metric_id") if isinstance(config, dict) else "", []).append(test)
    return by_metric


# --- dumps ------------------------------------------------------------------------------------------------------------


def _of_snapshot(body: Mapping[str, Any]) -> Iterator[Entry]:
    results = member(body["metric_results"], "metric_results", dict, "an object of results")
    shown_ones = body.get("top_level_metrics")
    for key, found in results.items():
        if isinstance(shown_ones, list) and key not in shown_ones:
            continue
        path = inside("metric_results", key)
        result = member(found, path, dict, "a result")
        location = result.get("metric_value_location")
        metric = location.get("metric") if isinstance(location, dict) else None
        config = metric.get("params") if isinstance(metric, dict) else None
        tests = _tests(result.get("tests") or [], inside(path, "tests"))
        about = [test for group in tests.values() for test in group]
        value = _plain(result)
        at = body.get("timestamp")
        yield from _entries(inside(path, "value"), config if isinstance(config, dict) else {}, value, about, at)


def _plain(result: Mapping[str, Any]) -> Any:
    """Return the value of a result as ``save_json`` writes it."""
    if "value" in result:
        return result["value"]
    parts = {key: result[key] for key in _PARTS if isinstance(result.get(key), dict)}
    if set(parts) == {"values"}:
        parts = parts["values"]
    return {
        key: _plain(part) if {"value", "type"} & part.keys() else {k: _plain(v) for k, v in part.items() if _is(v)}
        for key, part in parts.items()
        if _is(part)
    }


def _is(value: Any) -> bool:
    return isinstance(value, dict)


# --- Values -----------------------------------------------------------------------------------------------------------


def _entries(
    path: str, config: Mapping[str, Any], value: Any, tests: list[Mapping[str, Any]], at: Any
) -> Iterator[Entry]:
    """Yield the value of a metric, or each of its values."""
    name = _type(config)
    of_group = config.get("metric")
    measured = of_group if isinstance(of_group, dict) else config
    method = text_in(measured, "method") or (_type(measured) if measured is not config else "")
    group = f"{config.get('column_name')}={config.get('label')}" if name == "GroupByMetric" else ""
    fields = {
        key: one for key, one in {**config, **measured}.items() if isinstance(one, (str, int, float)) and key != "type"
    }
    for where, label, one in _members(path, "", value):
        called = ".".join(part for part in (group, label) if part)
        about = known(method, _type(measured), label.rpartition(".")[2])
        least, most, direction = about.least, about.most, about.direction
        if _SHARES.search(label):
            least, most = 0.0, 1.0
        elif _COUNTS.search(label):
            least, most = 0.0, None
        elif label in ("mean", "std"):
            least, most = None, None
        if label == "std":
            direction = Direction.UNKNOWN
        unreadable = "" if _can_be_read(one) else f"found {shown(one)}, expected a number"
        yield Entry(
            path=where,
            name=name,
            value=None if unreadable else one,
            firing=_firing(tests, label) if is_number(one) else None,
            at=at,
            method=method,
            column=text_in(measured, "column"),
            fields={**fields, "member": called} if called else fields,
            direction=direction,
            range=(least, most),
            no_reading=unreadable,
        )


def _type(config: Mapping[str, Any]) -> str:
    return text_in(config, "type").rpartition(":")[2]


def _can_be_read(value: Any) -> bool:
    """Return whether it is a number; one that is not finite is refused where it is bound."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _members(path: str, label: str, value: Any) -> Iterator[tuple[str, str, Any]]:
    """Yield the numbers of a value: where each is, and what it is called."""
    if not isinstance(value, dict) or not value or label.count(".") > 2:
        yield path, label, value
        return
    for key, one in value.items():
        yield from _members(inside(path, key), f"{label}.{key}" if label else key, one)


def _firing(tests: list[Mapping[str, Any]], label: str) -> bool | None:
    """Return whether one of the tests of a value failed; ``None`` where none was made, or one could not be."""
    states = [_FAILED.get(text_in(test, "status")) for test in tests if _is_about(test.get("bound_test"), label)]
    if not states or None in states:
        return None
    return any(states)


def _is_about(bound: Any, label: str) -> bool:
    """Return whether a test is about this one of the values of its metric."""
    if not label:
        return True
    if not isinstance(bound, dict):
        return False
    if "is_count" in bound:
        return label == ("count" if bound["is_count"] else "share")
    if "is_mean" in bound:
        return label == ("mean" if bound["is_mean"] else "std")
    if "slot" in bound:
        return label == f"{bound['slot']}s.{bound.get('label')}"
    return "label" in bound and label == str(bound["label"])


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    if not isinstance(body, dict):
        return False
    metrics = body.get("metrics")
    is_report = isinstance(metrics, list) and all(
        isinstance(m, dict) and ("metric_name" in m or "metric_id" in m or not m) for m in metrics
    )
    return is_report or "metric_results" in body or evidently_legacy.is_legacy(body)


FORMAT = Format("Evidently", read, looks_like=_looks_like)
