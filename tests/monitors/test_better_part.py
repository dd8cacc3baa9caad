"""What is left of a payload where a part of it cannot be read must not be the better part of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from riskladder.api.binding import MonitorBindingSpec
from riskladder.monitors.entries import Delivery
from riskladder.monitors.formats import FORMATS
from riskladder.monitors.translate import translate

NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
BEFORE = "2026-11-24T05:00:00Z"


def values(format_: str, body: Any, **reading: Any) -> list[float]:
    spec = MonitorBindingSpec.model_validate(
        {
            "format": format_,
            "ladder": "credit",
            "target": {"kind": "Deployment", "name": "scorer"},
            "source": "fairness",
            "serviceAccount": "fairness",
            "sender": {"audienceToken": {}},
            "readings": [{"indicator": "dpd"} | reading],
        }
    )
    delivery = Delivery(json.dumps(body).encode(), {}, NOW)
    found = translate(spec, FORMATS[spec.format].read(delivery), delivery)
    assert all(str(one.value) != "-0.0" for one in found.observations)
    return [one.value for one in found.observations]


def alert(status: str, at: str = BEFORE, value: float | None = None) -> dict[str, Any]:
    return {"status": status, "labels": {}, "startsAt": at, "endsAt": at, "values": {"B": value}}


def alerts(*found: dict[str, Any]) -> dict[str, Any]:
    return {"version": "4", "alerts": list(found)}


@pytest.mark.parametrize("aggregate", ["Only", "Max", "Last", "Min"])
def test_alert_that_fires_at_an_unknown_time_is_not_hidden_by_one_that_has_ended(aggregate: str) -> None:
    assert values("Alertmanager", alerts(alert("firing", "?"), alert("resolved")), aggregate=aggregate, **BREACH) == []


BREACH: dict[str, Any] = {"as": "Breach"}


def test_alert_that_fires_counts_whatever_else_cannot_be_read() -> None:
    for other in (alert("firing", "?"), alert("resolved", "?")):
        assert values("Alertmanager", alerts(alert("firing"), other), aggregate="Max", **BREACH) == [1.0]
    assert values("Alertmanager", alerts(alert("resolved"), alert("resolved", "?")), aggregate="Max", **BREACH) == [0.0]
    both = alerts(alert("firing", value=0.9), alert("resolved", value=0.1))
    assert values("Alertmanager", both, aggregate="Max", pick="entry.fields.values.B") == [0.9]


@pytest.mark.parametrize(("aggregate", "expected"), [("Only", [0.1]), ("Max", []), ("Mean", []), ("Last", [])])
def test_value_of_an_unknown_time_may_belong_to_what_is_aggregated(aggregate: str, expected: list[float]) -> None:
    body = [{"value": 0.1, "observedAt": BEFORE}, {"value": 0.9}]
    assert values("Generic", body, aggregate=aggregate) == expected


@pytest.mark.parametrize(("samples", "expected"), [(0, []), (0.0, []), (1.0, [0.2]), (3, [0.2]), (1.5, [0.2])])
def test_measurement_of_no_samples_is_none_however_their_number_is_written(samples: Any, expected: list[float]) -> None:
    assert values("Generic", {"value": 0.2, "samples": samples, "observedAt": BEFORE}) == expected


def test_zero_has_no_sign() -> None:
    assert values("Generic", {"value": 0, "observedAt": BEFORE}, scale=-1) == [0.0]
    assert values("Generic", {"value": -0.0, "observedAt": BEFORE}) == [0.0]
