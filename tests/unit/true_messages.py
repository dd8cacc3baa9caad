"""Whether a message is true at the time it is queued: every sentence of it, in every form, against what is so."""

from __future__ import annotations

import copy
import html
import re
import shlex
from dataclasses import replace
from datetime import timedelta
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.conditions import is_true
from riskladder.api.decision import DecisionAction
from riskladder.api.notification import Notification
from riskladder.api.reasons import ConditionType, Reason
from riskladder.controller.notification_queue import notice_of
from riskladder.notify.forms import Form
from riskladder.notify.notice import Notice, Status
from riskladder.notify.render import body, subject
from riskladder.policy.containment import state
from riskladder.policy.decisions.standing import COMMANDS
from riskladder.policy.snapshot import Escalation
from tests.unit.builders import Scene

ACTIONS = {command: action for action, command in COMMANDS.items()}
ABOUT_THE_PERSON = (Reason.MODEL_OWNER, Reason.RAISED_IT, Reason.NOT_AUTHORIZED)
"""Refusals that no message can preview_decision: it does not know who reads it."""


def assert_true(scene: Scene, escalation: Escalation, notification: Notification) -> None:
    """Every sentence of a message that has just been queued, against the escalation and the workload as they are."""
    notice = notice_of(escalation, notification)
    _containment(scene, escalation, notification.message)
    _tier(escalation, notification)
    _deadline(escalation, notification, notice)
    _forms(notice)


def _containment(scene: Scene, escalation: Escalation, message: str) -> None:
    contained = is_true(escalation.status.conditions, ConditionType.CONTAINED)
    said = re.search(r"Contained: (yes|no)", message)
    if said is not None:
        assert (said[1] == "yes") is contained, message
    if "NOT contained" in message:
        assert not contained, message
    if "is contained now" in message:
        assert contained, message
    target = scene.target
    if contained and said is not None and target is not None and target.uid == escalation.spec.target.uid:
        for intent in state.in_force(escalation).values():
            assert state.prove(target, escalation, intent).clear, f"{message}: and it is not"


def _tier(escalation: Escalation, notification: Notification) -> None:
    said = re.search(r"is in tier ([a-z0-9-]+)", notification.message)
    rung = escalation.status.rung
    assert rung is not None
    if said is not None:
        assert said[1] == notification.tier == rung.tier, notification.message


def _deadline(escalation: Escalation, notification: Notification, notice: Notice) -> None:
    rung = escalation.status.rung
    assert rung is not None
    if notice.status is Status.RESOLVED:
        assert (notice.deadline, notice.due_at) == ("", None), f"over, and yet: {notice.deadline}"
    if notification.due_at is None:
        return
    real = {rung.acknowledge_by, rung.decide_by, *(clock.due_at for clock in escalation.status.clocks)}
    assert notification.due_at in real, "no deadline of the rung"
    if notice.deadline:
        assert f"{notification.due_at:%Y-%m-%d %H:%M}" in notice.deadline


def _forms(notice: Notice) -> None:
    for form in Form:
        text = html.unescape(body(notice, form))
        assert ("DRILL" in text) is notice.drill, form
        if notice.deadline:
            assert notice.deadline in text, form
        else:
            assert "Act by" not in text, form
            assert "act by" not in text, form
        if form is not Form.SHORT:
            assert notice.role in text
        for one in re.findall(r"Contained: (yes|no)", text):
            assert f"Contained: {one}" in notice.headline, form
        assert notice.tier in subject(notice, form)


def assert_offers_work(scene: Scene, escalation: Escalation, notification: Notification) -> None:
    """Check that whatever a message offers is taken if somebody who is free to act does it at once."""
    for option in notice_of(escalation, notification).options:
        words = shlex.split(option.command)[2:]
        if words[0] == "show":
            continue
        trial = copy.deepcopy(scene)
        action, more = _arguments(trial, words)
        decided = trial.decide(action.value, more.pop("role"), by="somebody-else", on=escalation.name, **more)
        status, reason = trial.verdict(decided)
        assert status == "True" or reason in ABOUT_THE_PERSON, f"{option.what}: {option.command}: {reason}"


def _arguments(scene: Scene, words: list[str]) -> tuple[DecisionAction, dict[str, Any]]:
    """Return what the command line makes of a command."""
    action = ACTIONS[words[0]]
    given = dict(zip(words[4::2], words[5::2], strict=False))
    more: dict[str, Any] = {"role": given.pop("--role")}
    given.pop("--rationale", None)
    for option, value in given.items():
        match option:
            case "--until":
                days = timedelta(days=int(value.removesuffix("d")))
                more["until"] = format_time(scene.now.replace(microsecond=0) + days - timedelta(seconds=1))
            case "--action":
                more["containment"] = value
            case "--tier" | "--resolution" | "--clock":
                more[option.removeprefix("--")] = value
            case _:
                raise AssertionError(f"unknown option {option} in {words}")
    return action, more


def new_messages(scene: Scene, known: set[tuple[str, str]]) -> list[tuple[Escalation, Notification]]:
    """The messages that were queued since, with their escalations; they are known from now on."""
    found = []
    for escalation in scene.escalations:
        for notification in escalation.status.notifications:
            if (escalation.uid, notification.key) not in known:
                known.add((escalation.uid, notification.key))
                found.append((escalation, notification))
    return found


def open_with(escalation: Escalation, status: Any) -> Escalation:
    """The escalation with another status."""
    return replace(escalation, status=status, unsaved=())
