"""Messages of a ladder that belong to no escalation: to whom, over what, how many are kept, and how they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.conditions import Conditions
from riskladder.api.ladder import MAX_MESSAGES, EscalationLadderStatus, StormStatus
from riskladder.api.notification import Message, NotificationState
from riskladder.api.reasons import ConditionType, Reason
from riskladder.cluster.client import Client
from riskladder.cluster.resources import LADDERS
from riskladder.controller.caches.entries import LadderEntry, LadderKey
from riskladder.controller.notification_queue import of_ladder
from riskladder.controller.outbox import Outbox
from riskladder.notify import alertmanager, pagerduty, webhook
from riskladder.notify.errors import Undeliverable
from riskladder.notify.forms import Form
from riskladder.notify.notice import Notice, Status
from riskladder.notify.notifier import Notifier
from riskladder.notify.render import body, subject
from riskladder.policy.ladder_messages import LadderMessages, owner_of
from riskladder.policy.snapshot import Delivery, Ladder
from riskladder.policy.storm import Demanded, Waiting, update_storm
from tests.patience import PATIENCE
from tests.unit.builders import LADDER, NOW, Document, at, edited, ladder
from tests.unit.fakes import Cache

TEXT = "A breach may go unseen: signal fairness of source monitor cannot be used"


def reached(spec: Document) -> None:
    """The owner is reached over two channels."""
    spec["channels"] = [
        {"name": "email", "type": "Webhook", "url": "https://hooks.example/risk", "secretKey": "risk"},
        {"name": "pager", "type": "PagerDuty", "secretKey": "pager"},
    ]
    spec["stakeholders"][0]["notify"] = ["email", "pager"]


def messages(
    item: Ladder, before: Sequence[Message] = (), minutes: float = 0, **deliveries: Delivery
) -> LadderMessages:
    return LadderMessages(item, before, {(item.uid, key): d for key, d in deliveries.items()}, at(minutes))


def notified(item: Ladder) -> Message:
    found = messages(item)
    found.notify("unusable", "first", [owner_of(item.spec)] if item.spec else [], Reason.SIGNALS_UNUSABLE, TEXT)
    return found.result()[0]


def test_owner_is_notified_over_each_channel_and_by_an_event_on_the_ladder() -> None:
    found = messages(ladder(reached))
    found.notify("unusable", "first", ["model-risk"], Reason.SIGNALS_UNUSABLE, TEXT)
    assert [(m.role, m.channel, str(m.state), m.message) for m in found.result()] == [
        ("model-risk", "email", "Pending", TEXT),
        ("model-risk", "pager", "Pending", TEXT),
    ]
    [entry] = found.entries
    assert (entry.event, entry.message, entry.warning, entry.recorded) == (Reason.SIGNALS_UNUSABLE, TEXT, True, False)


def test_owner_without_a_channel_is_notified_by_the_event() -> None:
    message = notified(ladder())
    assert (message.channel, message.state, message.done_at) == ("events", NotificationState.DELIVERED, NOW)


def test_without_a_charter_the_first_who_may_close_the_highest_tier_answers_for_it() -> None:
    item = ladder(lambda spec: spec.pop("charter"))
    assert item.spec is not None
    assert owner_of(item.spec) == "legal"


def test_said_again_it_is_queued_once() -> None:
    item = ladder(reached)
    first = messages(item)
    first.notify("unusable", "first", ["model-risk"], Reason.SIGNALS_UNUSABLE, TEXT)
    again = messages(item, first.result(), 5)
    again.notify("unusable", "first", ["model-risk"], Reason.SIGNALS_UNUSABLE, "other words")
    assert again.result() == first.result()


@pytest.mark.parametrize(
    ("delivery", "state", "done", "failed"),
    [
        (Delivery(1, at(1)), "Delivered", at(1), False),
        (Delivery(1, at(1), "no route"), "Pending", None, False),
        (Delivery(12, at(1), "no route", given_up=True), "Failed", at(1), True),
        (Delivery(1, at(1), "one refused", receipts=("0" * 16,)), "Delivered", None, False),
    ],
)
def test_what_became_of_it_is_kept(delivery: Delivery, state: str, done: object, failed: bool) -> None:
    item = ladder(reached)
    before = notified(item)
    found = LadderMessages(item, [before], {(item.uid, before.key): delivery}, at(2))
    [after] = found.result()
    assert (str(after.state), after.done_at, after.attempts) == (state, done, delivery.attempts)
    assert [entry.event for entry in found.entries] == ([Reason.NOTIFICATION_FAILED] if failed else [])


@given(st.lists(st.sampled_from(["Pending", "Delivered", "Failed"]), max_size=80))
def test_what_is_outstanding_is_kept_before_what_is_done(states: list[str]) -> None:
    item = ladder(reached)
    pattern = notified(item)
    given = [
        pattern.model_copy(
            update={
                "key": f"unusable/{n}",
                "state": NotificationState(state),
                "at": at(n),
                "done_at": None if state == "Pending" else at(n),
            }
        )
        for n, state in enumerate(states)
    ]
    kept = messages(item, given).result()
    assert len(kept) == min(len(given), MAX_MESSAGES)
    pending = [m for m in given if m.is_outstanding]
    assert len([m for m in kept if m.is_outstanding]) == min(len(pending), MAX_MESSAGES)
    done = [m for m in kept if not m.is_outstanding]
    assert all(d.at >= other.at for d in done for other in given if not other.is_outstanding and other not in kept)


# --- How they are sent ------------------------------------------------------------------------------------------------


def entry_of(item: Ladder, *found: Message) -> LadderEntry:
    return LadderEntry(item, EscalationLadderStatus(notifications=found), NOW, 1)


def notice_of_ladder() -> Notice:
    item = ladder(reached)
    message = notified(item)
    return of_ladder(entry_of(item, message)).notice(message)


def test_message_says_what_happened_where_and_how_to_look() -> None:
    notice = notice_of_ladder()
    assert notice.status is Status.FIRING
    assert subject(notice) == f"[riskladder] credit: {TEXT}"
    assert body(notice, Form.TEXT) == (
        f"{TEXT}\n\n"
        "Ladder:      credit in namespace models (firing, error)\n"
        "Your role:   model-risk\n"
        "About:       SignalsUnusable, 2026-11-24 12:00 UTC\n\n"
        "What you can do:\n"
        "- See the signals (anyone who may read the namespace):\n"
        "    kubectl get modelrisksignals -n models -o wide\n"
        "- See the ladder (anyone who may read the namespace):\n"
        "    kubectl describe escalationladder credit -n models"
    )
    for form in Form:
        assert "credit" in body(notice, form)
        assert "tier" not in body(notice, form)


def test_receivers_know_it_by_the_ladder() -> None:
    notice = notice_of_ladder()
    assert webhook.to_event(notice).get_source() == "/namespaces/models/escalationladders/credit"
    assert "escalation" not in notice.to_json()
    labels = alertmanager.to_alert(notice, at(5))["labels"]
    assert (labels["alertname"], labels["topic"], labels["ladder"]) == ("RiskladderLadder", "unusable", "credit")
    assert "" not in labels.values()
    assert pagerduty.dedup_key(notice) == "models/credit/model-risk/credit-uid/unusable"


class _Courier:
    """Notes what is sent, and fails as often as it is configured to."""

    def __init__(self, failures: int = 0) -> None:
        self.sent: list[Notice] = []
        self._failures = failures

    async def send(self, channel: object, credential: object, notice: Notice, **_: object) -> str:
        self.sent.append(notice)
        if len(self.sent) <= self._failures:
            raise Undeliverable("no route", permanent=False)
        return ""

    async def close(self) -> None:
        """Nothing is open."""


class _Client:
    async def get(self, *_: object) -> Document:
        return {"data": {"risk": "c2VjcmV0LXNlY3JldC1zZWNyZXQ=", "pager": "YWJjZA=="}}


async def test_outbox_delivers_what_a_ladder_has_pending_and_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riskladder.controller.outbox.FIRST_RETRY", 0.01)
    item, cache = ladder(reached), Cache()
    message = notified(item)
    cache.new(LADDERS, "credit", edited(LADDER, reached), uid=item.uid)
    cache.store.ladders["models", "credit"].status = entry_of(item, message).status
    notifier, changed = _Courier(failures=1), []
    outbox = Outbox(
        cast(Client, _Client()), cast(Notifier, notifier), cache.store, changed=changed.append, now=lambda: at(1)
    )
    outbox.activate()
    outbox.consider(of_ladder(cache.store.ladders["models", "credit"]))
    async with asyncio.timeout(PATIENCE):
        while len(notifier.sent) < 2:  # noqa: ASYNC110 - what is tested has no event for it
            await asyncio.sleep(0.01)
    assert [notice.key for notice in notifier.sent] == [message.key] * 2
    delivery = outbox.deliveries[item.uid, message.key]
    assert (delivery.attempts, delivery.error) == (2, "")
    assert set(changed) == {LadderKey("models", "credit")}
    found = LadderMessages(item, [message], outbox.deliveries, at(2)).result()
    outbox.consider(of_ladder(entry_of(item, *found)))
    assert outbox.deliveries == {}, "it is written: it is not sent again"
    outbox.forget({item.uid})
    await outbox.close()


# --- A storm ----------------------------------------------------------------------------------------------------------

RADIUS = {"atMost": 5, "per": "1h"}


def stormy(**more: object) -> Ladder:
    return ladder(lambda spec: (reached(spec), spec.update(blastRadius=RADIUS, **more)))


def waiting(number: int, since: float = 0) -> Demanded:
    found = [Waiting(f"Deployment/scorer-{n}", at(since + 15)) for n in range(number)]
    return Demanded(found, at(since), 5)


def weathered(
    item: Ladder, storm: StormStatus | None, found: Demanded, minutes: float, **more: Any
) -> tuple[StormStatus | None, LadderMessages, tuple[str, str]]:
    talk, conditions = messages(item, (), minutes), Conditions((), generation=1, now=at(minutes))
    after, _ = update_storm(talk, conditions, storm, found, **more)
    condition = conditions.get(ConditionType.WITHIN_BLAST_RADIUS)
    assert condition is not None
    return after, talk, (str(condition.status), condition.reason)


def test_storm_is_one_message_however_many_wait_and_is_over_after_a_quiet_time() -> None:
    item = stormy()
    storm, talk, says = weathered(item, None, waiting(14), 1)
    assert says == ("False", Reason.BLAST_RADIUS_EXCEEDED)
    assert {m.channel for m in talk.result()} == {"email", "pager"}
    text = talk.result()[0].message
    assert "Deployment/scorer-0, Deployment/scorer-1, Deployment/scorer-10 and 11 more wait for a decision" in text
    assert "5 models" in text
    for minutes, found in ((2, waiting(14)), (10, waiting(20, 9)), (30, Demanded((), at(9), 5)), (68, Demanded())):
        storm, talk, says = weathered(item, storm, found, minutes)
        assert (talk.result(), talk.entries, says[0]) == ((), [], "False"), minutes
    assert storm is not None
    assert (storm.since, storm.last_at) == (at(1), at(9))
    storm, talk, says = weathered(item, storm, Demanded(), 69)
    assert (storm, says) == (None, ("True", Reason.BLAST_RADIUS_KEPT))
    assert [(m.channel, m.about) for m in talk.result()] == [("pager", Reason.BLAST_RADIUS_KEPT)]


def test_storm_lasts_while_anything_waits_and_while_the_clock_is_wrong() -> None:
    item = stormy()
    storm, _, _ = weathered(item, None, waiting(1), 1)
    assert weathered(item, storm, waiting(1), 500)[0] == storm
    assert weathered(item, storm, Demanded(), 500, time_counts=False)[0] == storm
    assert weathered(item, storm, Demanded(), 500)[0] is None


def test_ladder_without_a_blast_radius_has_no_storm() -> None:
    after, talk, says = weathered(ladder(), StormStatus(since=NOW, last_at=NOW), waiting(3), 1)
    assert (after, talk.entries, says) == (None, [], ("True", Reason.NO_BLAST_RADIUS))


def test_suspended_ladder_notifies_nobody() -> None:
    _, talk, says = weathered(stormy(suspended=True), None, waiting(3), 1)
    assert (talk.result(), says[0]) == ((), "False")
