"""Whether a message is true at the time it is queued: every sentence of it, in every form, against what is so."""

from __future__ import annotations

import copy
import html
import re
import shlex
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.conditions import is_true
from riskladder.api.decision import DecisionAction
from riskladder.api.notification import Notification, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.api.tiers import ContainmentAction, TimeoutAction
from riskladder.controller.notification_queue import notice_of
from riskladder.notify.forms import Form
from riskladder.notify.notice import Notice, Status
from riskladder.notify.render import body, subject
from riskladder.policy.containment import state
from riskladder.policy.decisions.standing import COMMANDS
from riskladder.policy.escalation.demands import stall_deadline
from riskladder.policy.escalation.notifications import CHASING
from riskladder.policy.signals.evaluate import tier_of
from riskladder.policy.snapshot import Escalation
from tests.unit.builders import Scene

ACTIONS = {command: action for action, command in COMMANDS.items()}
INCIDENT_ONLY = (Reason.ACKNOWLEDGED, Reason.RUNG_LEFT)
"""Messages for an incident that stands open: they say nothing new to people."""

ABOUT_THE_PERSON = (Reason.MODEL_OWNER, Reason.RAISED_IT, Reason.NOT_AUTHORIZED)
"""Refusals that no message can preview_decision: it does not know who reads it."""


def assert_true(scene: Scene, escalation: Escalation, notification: Notification) -> None:
    """Every sentence of a message that has just been queued, against the escalation and the workload as they are."""
    notice = notice_of(escalation, notification)
    _containment(scene, escalation, notification.message)
    _serves(scene, escalation, notification.serves)
    _tier(scene, escalation, notification)
    _about(escalation, notification)
    _asks(escalation, notification, notice)
    _deadline(escalation, notification, notice)
    _forms(notice)


def _containment(scene: Scene, escalation: Escalation, message: str) -> None:
    contained = is_true(escalation.status.conditions, ConditionType.CONTAINED)
    said = re.search(r"Contained: (yes|no|not|no longer)\b", message)
    if said is not None:
        assert (said[1] == "yes") is contained, message
        assert not escalation.spec.drill, f"a drill contains nothing: {message}"
    assert "(s)" not in message, "say one or several"
    if "NOT contained" in message:
        assert not contained, message
    if "is contained now" in message:
        assert contained, message
    target = scene.target
    if "not confirmed yet" in message:
        assert f"at {scene.now:%H:%M:%S} UTC" in message, "it says when that was so"
    if contained and said is not None and target is not None and target.uid == escalation.spec.target.uid:
        for intent in escalation.in_force.values():
            assert state.prove(target, escalation, intent).clear, f"{message}: and it is not"


def _serves(scene: Scene, escalation: Escalation, said: str) -> None:
    """What serves is what the workload and what is in force say; of a drill nothing is said."""
    assert bool(said) is not escalation.spec.drill
    contained = is_true(escalation.status.conditions, ConditionType.CONTAINED)
    actions = {intent.action for intent in escalation.in_force.values()}
    if said.startswith(("nothing", "no pod of ")):
        gone = scene.target is None or scene.target.uid != escalation.spec.target.uid
        stopped = {ContainmentAction.SCALE_TO_ZERO, ContainmentAction.ISOLATE} & actions
        assert gone or (contained and stopped), said
    elif said.startswith("perhaps still "):
        assert actions, said
        assert not contained, said
    elif "in place of" in said:
        assert contained, said
        assert actions & {ContainmentAction.ROLLBACK, ContainmentAction.FALLBACK}, said
        assert not actions & {ContainmentAction.SCALE_TO_ZERO} or "fallback" in said, said
    elif said:
        assert not actions, said


def _tier(scene: Scene, escalation: Escalation, notification: Notification) -> None:
    said = re.search(r"is in tier ([a-z0-9-]+)(:|,)", notification.message)
    rung = escalation.status.rung
    assert rung is not None
    if said is None:
        return
    assert said[1] == notification.tier == rung.tier, notification.message
    tier = tier_of(escalation.spec.policy, rung.tier)
    reads = re.findall(r"(\w+) is ([0-9.]+)(?=[,.;]|$)", notification.message.partition(": ")[2].partition(". ")[0])
    if said[2] == ":" and reads and tier is not None and rung.number == 1:
        values = {name: float(value) for name, value in reads}
        beyond = [t for t in tier.triggers if t.indicator in values and t.is_beyond(values[t.indicator])]
        assert beyond, f"no reading is the cause: {notification.message}"
    if rung.reason in (Reason.STALLED, Reason.CONTAINMENT_LATE, Reason.ESCALATED_MANUALLY):
        assert said[2] == ",", f"it says why the tier was entered: {notification.message}"


def _about(escalation: Escalation, notification: Notification) -> None:
    """What was done at the deadline is what the ladder says."""
    tier = tier_of(escalation.spec.policy, notification.tier)
    if tier is not None and notification.about in (Reason.HELD, Reason.INTERIM_CONTAINMENT):
        contains = tier.on_timeout is TimeoutAction.CONTAIN
        assert contains is (notification.about == Reason.INTERIM_CONTAINMENT), notification.about


def _asks(escalation: Escalation, notification: Notification, notice: Notice) -> None:
    """What is asked for has not been done yet, and what happens otherwise is what the ladder says."""
    status, rung = escalation.status, escalation.status.rung
    assert rung is not None
    tier = tier_of(escalation.spec.policy, rung.tier)
    counted = [d for d in status.decisions if d.counted and d.rung == rung.number]
    answered = any(d.action is not DecisionAction.COMMENT for d in counted)
    names = [ask.what for ask in notification.asks]
    assert ("acknowledge" in names) <= (not answered), "somebody has answered"
    assert ("decide" in names) <= (rung.decided_at is None), "it is decided"
    running = {f"meet {clock.name}" for clock in status.clocks if clock.met_at is None}
    assert {name for name in names if name.startswith("meet ")} == (running if escalation.is_open else set())
    for ask in notification.asks:
        assert ask.by > notification.at or ask.what in running, f"{ask.what} was due already"
        if ask.what in ("acknowledge", "decide") and tier is not None:
            assert ask.otherwise
            enters = re.search(r"tier ([a-z0-9-]+) is entered", ask.otherwise)
            assert bool(enters) <= (tier.on_timeout is TimeoutAction.ESCALATE), ask.otherwise
            assert ("scaled to zero" in ask.otherwise) <= (("would be" in ask.otherwise) is escalation.spec.drill)
    for asked in notice.asked:
        assert asked.deadline in body(notice, Form.TEXT)


def assert_nobody_is_left(escalation: Escalation) -> None:
    """Nobody has been told last that the model is not contained, while it is: whatever tier has notified them."""
    conditions = escalation.status.conditions
    if not is_true(conditions, ConditionType.CONTAINED) or not escalation.is_open:
        return
    last: dict[tuple[str, str], Notification] = {}
    for n in escalation.status.notifications:
        if n.state is not NotificationState.SKIPPED and n.about not in INCIDENT_ONLY:
            known = last.get((n.role, n.channel))
            last[n.role, n.channel] = n if known is None or n.at >= known.at else known
    for (role, channel), n in last.items():
        if re.search(r"Contained: (no|not)\b|NOT contained", n.message):
            raise AssertionError(f"{role} is left with, over {channel}: {n.message}")


def assert_once(found: list[tuple[Escalation, Notification]]) -> None:
    """Nobody is asked to act twice in one moment over one channel."""
    asking = Counter(
        (escalation.uid, n.role, n.channel, n.at) for escalation, n in found if n.about in CHASING and n.rung
    )
    assert not [key for key, number in asking.items() if number > 1], [n.key for _, n in found]


def _deadline(escalation: Escalation, notification: Notification, notice: Notice) -> None:
    rung = escalation.status.rung
    assert rung is not None
    if notice.status is Status.RESOLVED:
        assert (notice.deadline, notice.due_at) == ("", None), f"over, and yet: {notice.deadline}"
    if notification.due_at is None:
        return
    real = {rung.acknowledge_by, rung.decide_by, stall_deadline(escalation.spec, rung)}
    real |= {clock.due_at for clock in escalation.status.clocks}
    assert notification.due_at in real, "no deadline of the rung"
    if notice.deadline:
        assert f"{notification.due_at:%Y-%m-%d %H:%M}" in notice.deadline


def _forms(notice: Notice) -> None:
    for form in Form:
        text = html.unescape(body(notice, form))
        assert ("DRILL" in text) is notice.drill, form
        if notice.deadline:
            assert notice.deadline in text, form
        elif not notice.asked:
            assert not re.search(r"(?i)(act|acknowledge|decide) by", text), form
        if form is not Form.SHORT:
            assert notice.role in text
        for one in re.findall(r"Contained: (yes|not|no)\b", text):
            assert f"Contained: {one}" in notice.headline, form
        assert notice.tier in subject(notice, form)


def assert_offers_work(scene: Scene, escalation: Escalation, notification: Notification) -> None:
    """Check that whatever a message offers is taken if somebody who is free to act does it at once."""
    for option in notice_of(escalation, notification).options:
        words = shlex.split(option.command)[2:]
        if words[0] == "show":
            continue
        trial = copy.deepcopy(scene)
        if notification.about == Reason.RESUMED:
            trial.run()  # what comes back at once is back before anybody has read it
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
