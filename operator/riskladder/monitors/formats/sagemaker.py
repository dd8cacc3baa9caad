"""Amazon SageMaker Model Monitor: ``constraint_violations.json``, and the state of a CloudWatch alarm by EventBridge.

A violation has its numbers in prose only (``description``), which is no value: it is a breach. The file lists nothing
but violations, so what is not in it has no reading. An alarm's event says its state; the datapoints that it quotes are
text, too. An envelope of Amazon SNS is refused by name: it would have to be confirmed at an address that it brings.
"""

from __future__ import annotations

from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.payload import Malformed, bounded, decode, member, shown, text_in

_ALARM = "CloudWatch Alarm State Change"
_STATES = {"ALARM": True, "OK": False}
_COLUMNS = ("feature_name", "metric_name", "facet")


def read(delivery: Delivery) -> Content:
    """Return the violations, or the alarm."""
    body = member(decode(delivery.raw), "body", dict, "constraint_violations.json, or an event of EventBridge")
    if "TopicArn" in body or ("Type" in body and "Message" in body):
        raise Malformed(
            f"Type: found an envelope of Amazon SNS ({shown(body.get('Type'))}), expected what is inside: send by "
            "EventBridge, since SubscribeURL is never fetched"
        )
    if "detail-type" in body:
        return Content([_alarm(body)], body, is_partial=True)
    violations = member(body.get("violations"), "violations", list, "a list of violations, or an event of EventBridge")
    return Content(
        [_violation(f"violations[{i}]", one) for i, one in enumerate(bounded(violations, "violations"))], body
    )


def _violation(path: str, found: Any) -> Entry:
    violation = member(found, path, dict, "a violation")
    kind = member(violation.get("constraint_check_type"), f"{path}.constraint_check_type", str, "a text")
    return Entry(
        path=path,
        name=kind,
        firing=True,
        column=next((text for key in _COLUMNS if (text := text_in(violation, key))), ""),
        annotations={"description": text_in(violation, "description")},
        fields=violation,
    )


def _alarm(body: dict[str, Any]) -> Entry:
    kind = body.get("detail-type")
    if kind != _ALARM:
        raise Malformed(f'detail-type: found {shown(kind)}, expected "{_ALARM}"')
    detail = member(body.get("detail"), "detail", dict, "an object")
    state = member(detail.get("state"), "detail.state", dict, "an object with the state")
    value = member(state.get("value"), "detail.state.value", str, "ALARM, OK or INSUFFICIENT_DATA")
    if value not in (*_STATES, "INSUFFICIENT_DATA"):
        raise Malformed(f"detail.state.value: found {shown(value)}, expected ALARM, OK or INSUFFICIENT_DATA")
    source, event = text_in(body, "source"), text_in(body, "id")
    return Entry(
        path="detail",
        name=member(detail.get("alarmName"), "detail.alarmName", str, "the name of the alarm"),
        firing=_STATES.get(value),
        at=state.get("timestamp", body.get("time")),
        annotations={"reason": text_in(state, "reason")},
        fields=detail,
        delivery_id=f"{source} {event}" if event else "",
        no_reading="" if value in _STATES else "found INSUFFICIENT_DATA, expected ALARM or OK",
    )


def _looks_like(delivery: Delivery) -> bool:
    body = decode(delivery.raw)
    return isinstance(body, dict) and (
        body.get("detail-type") == _ALARM or isinstance(body.get("violations"), list) or "TopicArn" in body
    )


FORMAT = Format("SageMaker", read, looks_like=_looks_like)
