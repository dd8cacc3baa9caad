"""Expressions that cost more than they may: whoever writes one binding must not stop the readings of the others."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from riskladder.api.binding import MonitorBindingSpec
from riskladder.monitors.check import problems
from riskladder.monitors.entries import Content, Delivery, Entry
from riskladder.monitors.expressions import BadExpression, Scope
from riskladder.monitors.observations import MAX_REFUSALS
from riskladder.monitors.translate import translate

WIDE = list(range(300))


def binding(pick: str) -> MonitorBindingSpec:
    return MonitorBindingSpec.model_validate(
        {
            "format": "Generic",
            "ladder": "credit",
            "target": {"kind": "Deployment", "name": "scorer"},
            "source": "fairness",
            "serviceAccount": "fairness",
            "sender": {"audienceToken": {}},
            "readings": [{"indicator": "dpd", "pick": pick}],
        }
    )


def value(expression: str, fields: dict[str, Any], body: Any = None) -> Any:
    return Scope([Entry("", fields=fields).to_cel()], body, 0).evaluate(expression, 0)


@pytest.mark.parametrize(
    "pick",
    [
        "lists.range(4000000000)[0]",
        "size(lists.range(2000).map(x, lists.range(2000).map(y, lists.range(2000).map(z, z))))",
        "size(lists.range(2000).filter(x, lists.range(2000).all(y, lists.range(2000).all(z, z >= 0))))",
        "['x']" + ".map(y, y + y)" * 70 + "[0]",
        "['x']" + ".map(y, [y, y])" * 60 + "[0]",
        "'a'" + f".replace('a', '{'a' * 150}')" * 5,
        "'" + "a" * 400 + "'" + ".split('').join('" + "a" * 400 + "')",
        "'a'.matches('(\\\\w{20}){8}') || " * 30 + "true",
        "[1, 2].all(x, sets.contains(lists.range(2000), lists.range(2000)))",
        'r"\\" == "".map(x, x).map(x, x).map(x, x).map(x, x)[0]',
    ],
)
def test_binding_that_costs_without_a_payload_is_checked_in_a_moment(pick: str) -> None:
    """It is evaluated as it is taken in, by both processes, for all namespaces: this must neither hang nor grow."""
    started = time.process_time()
    problems(binding(pick))
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    ("expression", "fields"),
    [
        ("entry.fields.l.filter(x, entry.fields.l.all(y, entry.fields.l.all(z, z >= 0)))", {"l": WIDE}),
        ("entry.fields.l.all(x, x in entry.fields.l)", {"l": list(range(30_000))}),
        ("entry.fields.l.map(x, entry.fields.t)", {"l": WIDE, "t": "x" * 500_000}),
        ("entry.fields.t + " * 140 + "entry.fields.t", {"t": "x" * 500_000}),
        ("entry.fields.t.split('')", {"t": "x" * 500_000}),
        ("entry.fields.t.replace('x', 'yyyyyyyyyy')", {"t": "x" * 100_000}),
        ("entry.fields.l.distinct()", {"l": list(range(30_000))}),
        ("entry.name.matches(entry.fields.p)", {"p": "x"}),
        ("sets.contains(entry.fields.l, entry.fields.l)", {"l": list(range(30_000))}),
    ],
)
def test_expression_that_costs_with_such_a_payload_is_refused_with_it(expression: str, fields: dict[str, Any]) -> None:
    started = time.process_time()
    with pytest.raises(BadExpression):
        value(expression, fields)
    assert time.process_time() - started < 2.0


@pytest.mark.parametrize(
    "expression",
    ["entry.fields.l.exists(x, entry.fields.l.exists(y, y < 0 && x < 0))", r"entry.name.matches('(\\w{20}){8}')"],
)
def test_what_many_entries_cost_counts_together(expression: str) -> None:
    scope = Scope([Entry("", fields={"l": WIDE[:100]}).to_cel() for _ in range(256)], None, 0)
    started = time.process_time()

    def all_of_them() -> None:
        for number in range(256):
            scope.evaluate(expression, number)

    with pytest.raises(BadExpression, match="for so many entries"):
        all_of_them()
    assert time.process_time() - started < 60.0


@pytest.mark.parametrize(
    ("expression", "fields", "expected"),
    [
        ("max(entry.fields.c.filter(c, c.kind == 'psi').map(c, c.v))", {"c": [{"kind": "psi", "v": 0.2}]}, 0.2),
        ("max(entry.fields.c.map(c, c.v * 100.0))", {"c": [{"v": float(n)} for n in range(900)]}, 89_900.0),
        ("entry.fields.c.exists(c, c.parts.all(p, p.v > 1.0))", {"c": [{"parts": [{"v": 2.0}]}] * 20}, True),
        ("double(entry.fields.t.split(' ')[0].replace(',', '.')) / 100.0", {"t": "27,5 %"}, 0.275),
        ("entry.fields.a + entry.fields.b", {"a": 0.25, "b": 0.5}, 0.75),
        ("entry.fields.t.matches(r'^\\d+$')", {"t": "27"}, True),
        ("entry.fields.t == 'a.map(x, x)' + ''", {"t": "a.map(x, x)"}, True),
        ("size([1, 1, 2].distinct()) == 2 && sets.contains([1, 2], [1])", {}, True),
    ],
)
def test_what_bindings_are_for_is_within_the_bounds(expression: str, fields: dict[str, Any], expected: Any) -> None:
    assert not problems(binding(expression))
    assert value(expression, fields) == expected


def test_answer_to_a_payload_of_refusals_is_bounded() -> None:
    """Each is a verdict in the answer, and a line in the log: a thousand of them say no more than the first ones."""
    entries = [Entry(f"row {number}") for number in range(2000)]
    found = translate(binding("entry.value"), Content(entries, None), Delivery(b"", {}, datetime.now(UTC)))
    assert len(found.refusals) == MAX_REFUSALS
    assert found.refusals[-1].message == f"found {2000 - MAX_REFUSALS + 1} more that become no reading"
