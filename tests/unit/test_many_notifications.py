"""However many messages there have been, the next one is queued, or a condition says why not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from riskladder.api.reasons import ConditionType, Reason
from riskladder.policy.containment.drift import record_drift
from riskladder.policy.escalation.limits import MOST_NOTIFICATIONS

from .builders import Edit, Scene, at, ladder, signal, written


def crowd(roles: int, channels: int) -> Edit:
    """A ladder with so many roles, each reached over so many channels."""

    def edit(spec: dict[str, Any]) -> None:
        names = ["model-risk", "legal", *(f"role-{n}" for n in range(roles - 2))]
        spec["channels"] = [{"name": f"c{n}", "type": "PagerDuty", "secretKey": "k"} for n in range(channels)]
        notify = [f"c{n}" for n in range(channels)]
        spec["stakeholders"] = [{"role": name, "notify": notify} for name in names]
        for tier in spec["tiers"]:
            tier["notify"] = [{"role": name} for name in names[:16]]

    return edit


def contend(scene: Scene, times: int) -> None:
    """Somebody reverts the containment over and over, for days."""
    for number in range(1, times + 1):
        scene.now = at(number / 4)
        update = record_drift(scene.escalation, scene.escalation.intents[-1], "gitops", scene.now)
        assert update is not None
        scene.entries.extend(update.entries)
        scene._replace(written(update))
        if number % 10 == 0 or number == 1:
            scene.run()
            scene.deliver()


def test_lasting_contention_leaves_room_for_the_end_of_it() -> None:
    scene = Scene([signal(bias=0.3)], ladders=[ladder(crowd(4, 2))])
    scene.run()
    scene.deliver()
    contend(scene, 1200)
    assert len(scene.escalation.status.notifications) <= 8 * 4
    scene.decide("Resume", "legal")
    queued = {n.key.split("/")[0] for n in scene.escalation.status.notifications}
    assert "resumed-1" in queued
    scene.deliver()
    scene.decide("Close", "legal", resolution="Remediated")
    closing = [key for key in scene.pending() if key.startswith("closed/")]
    assert len(closing) == 8


def test_rung_after_rung_leaves_room_for_the_next() -> None:
    def edit(spec: dict[str, Any]) -> None:
        crowd(4, 2)(spec)
        spec["tiers"][0]["acceptRisk"] = {"atMost": "7d"}
        spec["indicators"][1]["maxAge"] = "900d"

    scene = Scene([signal(drift=0.5)], ladders=[ladder(edit)])
    scene.run()
    for number in range(60):
        scene.deliver()
        scene.now = at(number * 60 + 1)
        scene.decide("AcceptRisk", "model-risk", until=at(number * 60 + 30).isoformat())
        scene.now = at(number * 60 + 31)
        scene.run()
    rung = scene.escalation.status.rung
    assert rung is not None
    assert rung.number == 61
    assert len(scene.escalation.status.notifications) <= 8 * 4
    assert f"{rung.number}/legal/notified/c0" in scene.pending()


def test_status_that_is_full_says_so_and_what_waits_is_queued_once_there_is_room() -> None:
    def edit(spec: dict[str, Any]) -> None:
        crowd(32, 8)(spec)
        for role in spec["stakeholders"][:16]:
            role["alternates"] = [other["role"] for other in spec["stakeholders"][16:24]]

    scene = Scene([signal(drift=0.5)], ladders=[ladder(edit)])
    scene.run()
    scene.now = at(31)
    scene.run()
    assert len(scene.escalation.status.notifications) == MOST_NOTIFICATIONS
    status, reason = scene.reason(ConditionType.WITHIN_LIMITS)
    assert (status, reason) == ("False", Reason.OUTBOX_FULL)
    message = scene.condition(ConditionType.WITHIN_LIMITS).message
    assert "status.notifications: found 500 messages of " in message
    assert "expected fewer than 500 of less than 600 kB" in message
    assert "pending on c0: " in message
    assert scene.events().count("OutboxFull") == 1
    assert scene.run() == []
    scene.deliver()
    scene.decide("Escalate", "legal", tier="high")
    scene.run()
    scene.deliver()
    assert "2/legal/notified/c0" in {n.key for n in scene.escalation.status.notifications}
    assert scene.reason(ConditionType.WITHIN_LIMITS) == ("True", Reason.ROOM_LEFT)


def test_status_stays_below_what_etcd_takes_whatever_the_messages_say() -> None:
    """Every channel fails with a long error, and everybody writes Chinese."""
    raised = signal("raised", manual="moderate")
    assert raised.spec is not None
    assert raised.spec.manual is not None
    manual = raised.spec.manual.model_copy(update={"rationale": "模" * 4000})
    raised = replace(raised, spec=raised.spec.model_copy(update={"manual": manual}))
    scene = Scene([raised], ladders=[ladder(crowd(32, 8))])
    scene.run()
    scene.deliver(error="错" * 4000)
    assert scene.reason(ConditionType.WITHIN_LIMITS) == ("True", Reason.ROOM_LEFT)
    for minute in (31, 60 * 24 + 1, 60 * 25 + 1):
        scene.now = at(minute)
        scene.run()
        scene.deliver(error="错" * 4000)
    stored = json.dumps(scene.escalation.status.to_api(), ensure_ascii=False).encode()
    assert len(stored) < 1024 * 1024


def test_message_that_is_done_is_said_once_though_it_has_left_the_status() -> None:
    scene = Scene([signal(bias=0.3)], ladders=[ladder(crowd(4, 2))])
    scene.run()
    scene.deliver()
    contend(scene, 40)
    said = [entry.key for entry in scene.entries if entry.key.startswith("notified/")]
    assert len(said) == len(set(said))
