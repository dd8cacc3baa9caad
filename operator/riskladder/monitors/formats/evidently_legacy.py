"""Reports and test suites of Evidently 0.4 to 0.6: ``{"metrics": [{"metric": …, "result": …}], "timestamp": …}``.

Every number of a result is an entry, by its path (``entry.fields.member``), except what is about the reference data.
An object with a ``drift_score`` is one entry: its column, its statistical test, its threshold, and whether it drifted.
A test suite rounds it to three decimals, so that a p-value may be 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from riskladder.monitors.entries import Entry
from riskladder.monitors.methods import known
from riskladder.monitors.payload import MAX_VALUES, bounded, inside, is_number, member, text_in

_DEEPEST = 6
_STATES = {"FAIL": True, "WARNING": True, "SUCCESS": False}


def is_legacy(body: Mapping[str, Any]) -> bool:
    """Return whether a report has the form of these versions."""
    metrics, tests = body.get("metrics"), body.get("tests")
    if isinstance(metrics, list) and metrics:
        return all(isinstance(metric, dict) and "metric" in metric for metric in metrics)
    return isinstance(tests, list) and bool(tests) and all(isinstance(t, dict) and "parameters" in t for t in tests)


def entries(body: Mapping[str, Any]) -> Iterator[Entry]:
    """Yield the numbers of a report, or the tests of a suite."""
    at = body.get("timestamp")
    for i, metric in enumerate(bounded(body.get("metrics") or [], "metrics", MAX_VALUES)):
        path = f"metrics[{i}]"
        name = member(metric.get("metric"), inside(path, "metric"), str, "the name of a metric")
        result = member(metric.get("result"), inside(path, "result"), dict, "an object")
        yield from _numbers(inside(path, "result"), name, "", result, at)
    if not body.get("metrics"):
        for i, test in enumerate(bounded(body["tests"], "tests", MAX_VALUES)):
            yield _test(f"tests[{i}]", test, at)


def _numbers(path: str, name: str, label: str, found: Mapping[str, Any], at: Any) -> Iterator[Entry]:
    if "drift_score" in found:
        yield _drift(path, name, found, at)
        return
    for key, value in found.items():
        where, called = inside(path, key), f"{label}.{key}" if label else key
        if key == "reference" or key.startswith(("reference_", "ref_")):
            continue
        if isinstance(value, dict) and called.count(".") < _DEEPEST:
            yield from _numbers(where, name, called, value, at)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            about = known(key)
            yield Entry(
                path=where,
                name=name,
                value=value,
                at=at,
                column=text_in(found, "column_name"),
                fields={"member": called},
                direction=about.direction,
                range=(about.least, about.most),
            )


def _drift(path: str, name: str, found: Mapping[str, Any], at: Any) -> Entry:
    value, drifted = found["drift_score"], found.get("drift_detected")
    method = text_in(found, "stattest_name")
    about = known(method)
    fields: dict[str, Any] = {"member": "drift_score"}
    if is_number(found.get("stattest_threshold")):
        fields["threshold"] = found["stattest_threshold"]
    return Entry(
        path=inside(path, "drift_score"),
        name=name,
        value=value,
        firing=drifted if isinstance(drifted, bool) and is_number(value) else None,
        at=at,
        method=method,
        column=text_in(found, "column_name"),
        fields=fields,
        direction=about.direction,
        range=(about.least, about.most),
    )


def _test(path: str, found: Any, at: Any) -> Entry:
    test = member(found, path, dict, "a test")
    parameters = member(test.get("parameters"), inside(path, "parameters"), dict, "an object")
    value = next((parameters[key] for key in ("value", "score") if key in parameters), None)
    status = text_in(test, "status")
    method = text_in(parameters, "stattest")
    about = known(method)
    return Entry(
        path=path,
        name=member(test.get("name"), inside(path, "name"), str, "the name of the test"),
        value=value,
        firing=_STATES.get(status) if value is None or is_number(value) else None,
        at=at,
        method=method,
        column=text_in(parameters, "column_name"),
        annotations={"description": text_in(test, "description")},
        fields={"group": text_in(test, "group"), "status": status},
        direction=about.direction,
        range=(about.least, about.most),
        no_reading="" if status in _STATES else f"found a test of status {status or 'none'}, expected SUCCESS or FAIL",
    )
