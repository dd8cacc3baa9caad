"""The human ladder on a real API server, with a real operator, real webhooks and people of the example's roles.

On a control plane where nothing else runs: the operator needs options, is killed, and loses its admission policy once.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from riskladder.api.base import format_time
from riskladder.api.labels import LABEL_CONTAINMENT
from riskladder.cluster import authority, resources
from riskladder.cluster.authority import POLICIES
from riskladder.cluster.client import Client, Forbidden, Object, Refused
from riskladder.cluster.connection import connect
from tests.cluster import LocalControlPlane
from tests.integration import people
from tests.integration.people import (
    HOST,
    MODEL,
    OWNER,
    PEOPLE,
    Lives,
    Message,
    PeopleNamespace,
    Receivers,
    closed_port,
    containing,
    human_ladder,
    quorum,
    tier,
)
from tests.integration.test_operator import metrics
from tests.integration.world import LADDER, condition, deployment, signal


@pytest.fixture(scope="module")
async def chief(plane: LocalControlPlane) -> AsyncIterator[Client]:
    """An administrator."""
    connection = await connect(str(plane.kubeconfig), namespace="riskladder-system", agent="tests")
    yield Client(connection)
    await connection.close()


@pytest.fixture(scope="module")
async def receivers() -> AsyncIterator[Receivers]:
    async with Receivers() as found:
        yield found


@pytest.fixture(scope="module")
async def persons(plane: LocalControlPlane) -> AsyncIterator[dict[str, Client]]:
    """Everybody's own client."""
    async with AsyncExitStack() as stack:
        yield {
            name: await stack.enter_async_context(people.impersonated(plane.kubeconfig, name, role))
            for name, role in PEOPLE.items()
        }


@pytest.fixture
async def place(chief: Client, persons: dict[str, Client], receivers: Receivers) -> AsyncIterator[PeopleNamespace]:
    """A fresh namespace with its people; without an operator."""
    async with PeopleNamespace(chief, f"lifecycle-{uuid.uuid4().hex[:8]}", persons, receivers) as fresh:
        yield fresh


@pytest.fixture(scope="module")
def lives(account: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    """An operator that may reach the receivers."""
    with Lives(account, tmp_path_factory.mktemp("log")) as lives:
        yield lives


@pytest.fixture
async def operator(lives: Lives) -> Lives:
    """The same, alive whatever a test before this one did to it."""
    if not lives.alive:
        await lives.start()
    return lives


# --- 1. One lifecycle -------------------------------------------------------------------------------------------------


async def test_lifecycle_from_the_first_reading_to_the_review(place: PeopleNamespace, operator: Lives) -> None:
    remedies = ["Re-run the fairness suite on the last 7 days"]
    duty = {"name": "art-73", "within": "15d", "role": "legal"}
    await place.apply(
        human_ladder(
            place.receivers,
            tier("moderate", 0.10, "data-science", acknowledge={"within": "30m"}, remedies=remedies),
            containing("high", 0.20, "legal", "executive", clocks=[duty]),
        )
    )
    await place.ladder_ready()
    await place.serve("scorer", replicas=3)

    # A moderate breach: notified, and acknowledged.
    await place.apply(signal("fairness", "scorer", 0.14, model=MODEL))
    notified = await place.received("Notified", "data-science")
    escalation = (await place.escalation("scorer"))["metadata"]
    name, uid = escalation["name"], escalation["uid"]
    assert notified.channel == "data-science"
    assert notified.event["type"] == "dev.riskladder.notification.v1"
    assert notified.event["source"] == f"/namespaces/{place.namespace}/escalations/{name}"
    assert notified.event["id"] == notified.identity == f"1/data-science/notified/data-science/{uid}"
    data = notified.data
    assert (data["status"], data["tier"], data["target"], data["drill"]) == (
        "firing",
        "moderate",
        "Deployment/scorer",
        False,
    )
    assert data["headline"].startswith(
        "credit-scorer (Deployment scorer) is in tier moderate: demographic_parity_difference is 0.14. Contained: no"
    )
    [reading] = data["readings"]
    assert {k: reading[k] for k in ("value", "threshold", "side", "tier")} == {
        "value": 0.14,
        "threshold": 0.1,
        "side": "above",
        "tier": "moderate",
    }
    assert data["remedies"] == remedies
    assert data["deadline"].endswith("in 30 min")
    commands = [option["command"] for option in data["options"]]
    assert f"kubectl riskladder ack {name} -n {place.namespace} --role data-science --rationale '…'" in commands
    assert await place.counted("dan", "Acknowledge", name) == "Acknowledged"
    stands = await place.escalation_says("scorer", "Acknowledged", "True")
    assert condition(stands, "Contained")["reason"] == "ContainmentNotRequired"

    # A worse one: contained at once, and others are notified on a new rung.
    await place.apply(signal("fairness", "scorer", 0.27, model=MODEL))
    for role in ("legal", "executive"):
        said = (await place.received("Notified", role)).data
        assert (said["tier"], said["key"]) == ("high", f"2/{role}/notified/{role}")
        assert said["headline"].startswith(
            "credit-scorer (Deployment scorer) is in tier high: demographic_parity_difference is 0.27. Contained: "
        )
        [reading] = said["readings"]
        assert (reading["value"], reading["tier"]) == (0.27, "high")
    stands = await place.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert stands["metadata"]["labels"][LABEL_CONTAINMENT] == "ScaleToZero"
    assert stands["status"]["rung"]["number"] == 2
    assert await place.endpoints("scorer") == set()

    # Who has no say.
    assert await place.refused(OWNER, "Resume", name) == "ModelOwner"
    with pytest.raises(Forbidden, match='dan may not resume as "data-science"'):
        await place.decide("dan", "Resume", name)
    forged = await place.decide(
        "eve", "Object", name, decidedBy={"username": "ann", "uid": "u-0", "groups": ["legal", "system:masters"]}
    )
    assert forged["spec"]["decidedBy"]["username"] == "eve"
    assert forged["spec"]["decidedBy"]["groups"] == ["executive", "system:authenticated"]
    assert await place.answered(forged) == ("True", "Objected")

    # An objection blocks until it is withdrawn; then the quorum resumes.
    assert await place.refused("ann", "Resume", name) == "ObjectionStands"
    assert await place.counted("eve", "Object", name, withdraw=True) == "ObjectionWithdrawn"
    assert await place.counted("ann", "Resume", name) == "Counted"
    assert (await place.deployment("scorer"))["spec"]["replicas"] == 0
    assert await place.counted("max", "Resume", name) == "QuorumMet"
    await place.ready("scorer", 3)
    for role in ("data-science", "legal", "executive"):
        said = (await place.received("Resumed", role)).data
        assert (said["status"], said["headline"]) == (
            "resolved",
            "The model is resumed: credit-scorer (Deployment scorer). It is left to one person each from "
            "legal and executive to close it, once they are sure",
        )
    await place.recorded(name, "Restored")
    stands = await place.escalation("scorer")
    assert LABEL_CONTAINMENT not in stands["metadata"]["labels"]
    assert stands["status"]["resume"]["by"] == ["ann", "max"]

    # The duty, the end, and what was learnt.
    assert await place.refused("ann", "Close", name, resolution="Remediated") == "ClockRunning"
    assert await place.counted("ann", "Comment", name, clock="art-73") == "Commented"
    assert await place.counted("ann", "Close", name, resolution="Remediated") == "Counted"
    assert await place.counted("eve", "Close", name, resolution="Remediated") == "QuorumMet"
    for role in ("data-science", "legal", "executive"):
        assert (await place.received("Remediated", role)).data["status"] == "resolved"
    with pytest.raises(Forbidden, match='ann may not review as "legal"'):
        await place.decide("ann", "Review", name, review={"policyUpdated": True, "satisfaction": 4})
    review = {"policyUpdated": True, "satisfaction": 4, "lessons": "ask earlier"}
    assert await place.counted("max", "Review", name, review=review) == "Reviewed"
    assert await place.refused("eve", "Close", name, resolution="Remediated") == "EscalationClosed"

    # The reading still stands; it has been handled.
    await all_sent(place)
    await place.quiet()
    stands = await place.escalation("scorer")
    assert condition(stands, "Closed")["reason"] == "Remediated"
    assert condition(stands, "ReviewDone")["status"] == "True"
    assert (await place.deployment("scorer"))["spec"]["replicas"] == 3
    assert {n["state"] for n in stands["status"]["notifications"]} == {"Delivered"}
    # Whoever hears of it before the proof hears of the proof as well: how long that takes is up to the machine.
    proved = {f"2/{role}/contained-1/{role}" for role in ("legal", "executive")} & set(place.keys())
    assert Counter(m.key for m in place.messages()) == Counter(proved) + Counter(
        f"{what}/{role}"
        for what in (
            *("1/data-science/notified", "2/legal/notified", "2/executive/notified", "2/data-science/contained-1"),
            *(f"{end}/{role}" for end in ("resumed-2", "closed") for role in ("data-science", "executive", "legal")),
        )
        for role in [what.split("/")[1]]
    ), "everybody once"
    records = await place.verified(stands)
    events = [r["spec"]["event"] for r in records]
    assert events.count("Notified") == 10 + len(proved)
    assert [event for event in events if event not in ("Notified", "Restored")] == [
        *("EscalationOpened", "Acknowledged"),
        *("TierRaised", "ClockStarted", "ContainmentApplied", "ScaledToZero"),
        *("DecisionRefused", "Objected", "DecisionRefused", "ObjectionWithdrawn", "Counted", "Counted", "Resumed"),
        *(
            "DecisionRefused",
            "Commented",
            "ClockMet",
            "Counted",
            "Counted",
            "Remediated",
            "Reviewed",
            "DecisionRefused",
        ),
    ]
    assert events.index("Resumed") < events.index("Restored") < events.index("Commented")
    assert [r["spec"]["actor"] for r in records if r["spec"]["event"] == "Counted"] == ["ann", "max", "ann", "eve"]
    assert_said_once(records, await place.events())
    assert_measured(operator, place.namespace, notified=10 + len(proved))


async def all_sent(place: PeopleNamespace) -> None:
    """Wait until it is noted of every message about the model what became of it."""

    async def check() -> bool:
        stands = await place.escalation("scorer")
        return "Pending" not in {n["state"] for n in stands["status"]["notifications"]}

    await place.until(check, "every message to be sent")


def assert_said_once(records: list[Object], events: list[Object], *, killed: bool = False) -> None:
    """Everything is on record once, and in an Event about the escalation or its target; one for a pass and an object.

    A pass in which the operator was killed may have more to say when it is repeated, and then says all of it again.
    """
    assert set(Counter(r["spec"]["detail"]["key"] for r in records).values()) == {1}
    relevant = [e for e in events if e["regarding"]["kind"] in ("Escalation", "Deployment")]
    said = Counter(e["reason"] for e in relevant)
    recorded = Counter(r["spec"]["event"] for r in records)
    assert set(said) <= set(recorded)
    cut = [e for e in relevant if e["note"].endswith("…")]
    for record in records:
        message = record["spec"]["detail"]["message"]
        assert cut or any(message in e["note"] for e in relevant), message
    repeated = ("Reminded", "ContainmentReapplied")  # an Event for each, and a record now and then
    assert killed or all(said[reason] <= number for reason, number in recorded.items() if reason not in repeated)


def assert_measured(operator: Lives, namespace: str, *, notified: int) -> None:
    """The metrics have how long people took, and what went on record."""
    found: dict[str, Counter[str]] = {
        "riskladder_response_seconds_count": Counter(),
        "riskladder_trail_total": Counter(),
    }
    for (name, labels), number in metrics(operator.process).items():
        about = dict(labels)
        if about.get("namespace") == namespace and name in found:
            assert about["ladder"] == LADDER
            assert about["drill"] == "false"
            found[name][about.get("stage") or about["reason"]] += int(number)
    responses, trail = found.values()
    assert responses == {"notify": notified, "acknowledge": 4, "decide": 1, "contain": 1, "resume": 1}
    assert trail["Notified"] == notified
    assert trail["DecisionRefused"] == 4
    assert trail["Reviewed"] == trail["Resumed"] == trail["Remediated"] == 1


async def test_who_is_impersonated_brings_no_model_back_where_the_ladder_says_so(
    place: PeopleNamespace, operator: Lives, plane: LocalControlPlane, tmp_path: Path
) -> None:
    rules = {"allowImpersonated": False}
    await place.apply(
        human_ladder(
            place.receivers, containing("high", 0.20, "legal", resume={"quorum": quorum("legal")}), decisions=rules
        )
    )
    await place.ladder_ready()
    await place.serve("scorer", replicas=1)
    await place.apply(signal("fairness", "scorer", 0.27))
    name = (await place.escalation_says("scorer", "Contained", "True", "ScaledToZero"))["metadata"]["name"]
    assert await place.counted("ann", "Acknowledge", name) == "Acknowledged"
    assert await place.refused("ann", "Resume", name) == "Impersonated"
    async with place.by_token("ann", plane.kubeconfig, tmp_path) as own:
        assert await own.counted("ann", "Resume", name) == "QuorumMet"
    await place.ready("scorer", 1)
    acts = [record["spec"] for record in await place.records(name)]
    refused = next(act["detail"] for act in acts if act["event"] == "DecisionRefused")
    assert (refused["refusedBecause"], refused["impersonated"]) == ("Impersonated", "true")
    counted = next(act["detail"] for act in acts if act["event"] == "Counted")
    assert counted["credential"].startswith("JTI=")
    assert "impersonated" not in counted


# --- 2. Deadlines -----------------------------------------------------------------------------------------------------


async def test_missed_deadlines_remind_notify_alternates_enter_the_next_rung_and_hold(
    place: PeopleNamespace, operator: Lives
) -> None:
    await place.apply(
        human_ladder(
            place.receivers,
            tier(
                *("moderate", 0.10, "data-science"),
                acknowledge={"within": "12s", "remindEvery": "10s"},
                onTimeout="Escalate",
            ),
            containing("high", 0.20, "legal", "executive", decide={"within": "2s", "quorum": quorum("legal")}),
            alternates={"data-science": ["security"]},
        )
    )
    await place.ladder_ready()
    await place.apply(deployment("scorer", replicas=2))
    await place.apply(signal("fairness", "scorer", 0.14, model=MODEL))
    stands_in = await place.received("AlternatesNotified", "security")
    assert stands_in.data["headline"].startswith("You stand in for data-science, who has not answered: credit-scorer")
    await place.received("Notified", "executive")
    await place.replicas_are("scorer", 0)
    held = await place.received("Held", "model-risk")
    assert held.data["headline"].startswith(
        "Nobody has acted in time: credit-scorer (Deployment scorer) is in tier high"
    )
    await all_sent(place)
    await place.quiet()

    keys = place.keys()
    reminders = [key for key in keys if "/remind-" in key]
    first, last = keys.index(stands_in.key), keys.index("2/legal/notified/legal")
    assert keys[0] == "1/data-science/notified/data-science"
    assert 0 < first < last, keys
    assert any(key.startswith("1/data-science/remind-") for key in keys[:last]), keys
    corrected = {f"2/{role}/contained-1/{role}" for role in ("legal", "executive", "data-science", "security")}
    asking = [key for key in keys if key not in corrected]  # the proof comes when it comes
    assert asking[-1] == held.key == "2/model-risk/stalled/model-risk"
    assert set(keys) - set(reminders) - corrected == {
        *("1/data-science/notified/data-science", "1/security/for-data-science/security"),
        *("2/legal/notified/legal", "2/executive/notified/executive", "2/model-risk/stalled/model-risk"),
    }
    assert Counter(m.key for m in place.messages()) == Counter(keys), "everything once"
    for role in ("data-science", "security"):
        mine = [int(key.split("remind-")[1].split("/")[0]) for key in reminders if f"/{role}/" in key]
        assert mine == sorted(mine)
    stands = await place.escalation_says("scorer", "Stalled", "True", "Overdue")
    assert stands["status"]["rung"]["reason"] == "Stalled"
    assert stands["status"]["waitingOn"] == ["legal"]
    records = await place.verified(stands)
    events = [r["spec"]["event"] for r in records]
    order = [
        *("EscalationOpened", "Notified", "AcknowledgementOverdue", "AlternatesNotified", "Stalled"),
        *("TierRaised", "ContainmentApplied", "DecisionOverdue", "Held"),
    ]
    assert [events.index(event) for event in order] == sorted(events.index(event) for event in order), events
    once = Counter(event for event in events if event not in ("Notified", "Reminded"))
    assert set(once.values()) == {1}, once
    assert_said_once(records, await place.events())


# --- 3. Killed --------------------------------------------------------------------------------------------------------


async def test_killed_between_all_steps_it_skips_repeats_and_counts_nothing_twice(
    place: PeopleNamespace, operator: Lives
) -> None:
    receivers = place.receivers

    def dies_of(about: str) -> None:
        """Kill the operator when the first message of that reason has come in, before it is answered."""

        def check(message: Message) -> None:
            if (message.data["namespace"], message.about) == (place.namespace, about):
                receivers.on_message = None
                operator.kill()

        receivers.on_message = check

    async def dead() -> bool:
        return not operator.alive

    await place.apply(human_ladder(receivers, containing("high", 0.20, "legal", "executive")))
    await place.ladder_ready()
    await place.serve("scorer", replicas=2)
    dies_of("Notified")
    await place.apply(signal("fairness", "scorer", 0.27, model=MODEL))
    await place.until(dead, "the operator to die while it notifies")
    name = (await place.escalation("scorer"))["metadata"]["name"]
    await operator.start()
    await place.received("Notified", "legal")
    await place.received("Notified", "executive")

    await place.decide("ann", "Acknowledge", name)
    await place.recorded(name, "Acknowledged")
    operator.kill()
    first = await place.decide("ann", "Resume", name)
    await operator.start()
    await place.recorded(name, "Counted")
    operator.kill()
    await operator.start()
    assert await place.answered(first) == ("True", "Counted")
    assert (await place.deployment("scorer"))["spec"]["replicas"] == 0

    dies_of("Resumed")
    await place.decide("max", "Resume", name)
    await place.until(dead, "the operator to die while it notifies that the model is resumed")
    again = await place.decide("max", "Resume", name)
    await operator.start()
    assert await place.answered(again) == ("False", "NothingToResume")
    await place.ready("scorer", 2)
    await place.recorded(name, "Restored")
    operator.kill()
    await place.decide("ann", "Close", name, resolution="Remediated")
    await place.decide("eve", "Close", name, resolution="Remediated")
    await operator.start()
    await place.recorded(name, "Remediated")
    operator.kill()
    await operator.start()
    for role in ("legal", "executive"):
        await place.received("Remediated", role)
    await all_sent(place)
    await place.quiet()

    stands = await place.escalation("scorer")
    assert {n["state"] for n in stands["status"]["notifications"]} == {"Delivered"}
    bodies: dict[str, set[tuple[str, bytes]]] = {}
    for message in place.messages():
        bodies.setdefault(message.key, set()).add((message.identity, message.body))
    ways = [f"{way}/{role}/{{}}{role}" for way in ("1", "resumed-1", "closed") for role in ("legal", "executive")]
    # Whoever hears of it before the proof hears of the proof as well: how long that takes is up to the machine.
    proved = {f"1/{role}/contained-1/{role}" for role in ("legal", "executive")} & set(bodies)
    assert set(bodies) - proved == {way.format("notified/" if way.startswith("1/") else "") for way in ways}
    assert all(len(found) == 1 for found in bodies.values()), "the same words, whenever it was sent again"
    assert len(place.messages()) > len(bodies), "it died before it could record the delivery"
    assert [(d["by"], d["action"], d["reason"]) for d in stands["status"]["decisions"]] == [
        ("ann", "Acknowledge", "Acknowledged"),
        ("ann", "Resume", "Counted"),
        ("max", "Resume", "QuorumMet"),
        ("max", "Resume", "NothingToResume"),
        ("ann", "Close", "Counted"),
        ("eve", "Close", "QuorumMet"),
    ]
    records = await place.verified(stands)
    assert Counter(r["spec"]["event"] for r in records) == {
        "EscalationOpened": 1,
        "ContainmentApplied": 1,
        "ScaledToZero": 1,
        "Notified": 6 + len(proved),
        "Acknowledged": 1,
        "Counted": 4,
        "DecisionRefused": 1,
        "Resumed": 1,
        "Restored": 1,
        "Remediated": 1,
    }
    assert_said_once(records, await place.events(), killed=True)


# --- 4. Channels that do not work -------------------------------------------------------------------------------------


async def test_receiver_that_never_answers_delays_nobody_else(place: PeopleNamespace, operator: Lives) -> None:
    hanging = place.receivers.hanging
    place.receivers.hangs.add("legal")
    try:
        await place.apply(human_ladder(place.receivers, containing("high", 0.20, "legal", "executive")))
        await place.ladder_ready()
        await place.apply(deployment("first", replicas=2))
        await place.apply(deployment("second", replicas=2))
        await place.apply(signal("first", "first", 0.27))
        await place.received("Notified", "executive")

        async def hangs() -> bool:
            return "legal" in hanging

        await place.until(hangs, "a request to legal to hang")
        await place.apply(signal("second", "second", 0.27))
        await place.escalation_says("second", "Contained", "True", "ScaledToZero")
        await place.until(hangs, "a request to legal to hang still, or again")
        assert set(hanging) == {"legal"}
        proved = "1/executive/contained-1/executive"  # for who heard of it before the proof
        assert set(place.keys()) - {proved} == {"1/executive/notified/executive"}
    finally:
        place.receivers.release()


async def test_channel_that_is_dead_is_named_its_role_has_alternates_and_it_may_come_back(
    place: PeopleNamespace, operator: Lives
) -> None:
    port = await closed_port()
    await place.apply(
        human_ladder(
            place.receivers,
            containing("high", 0.20, "legal", "executive"),
            alternates={"legal": ["security"]},
            urls={"legal": f"http://{HOST}:{port}/legal"},
        )
    )
    await place.ladder_ready()
    await place.apply(deployment("first"))
    await place.apply(deployment("second"))
    await place.apply(signal("first", "first", 0.27))
    found = await place.ladder_says("ChannelsAvailable", "False", "ChannelUnavailable")
    assert found["message"] == f"channel legal: {HOST} could not be reached: connection refused"
    await place.received("AlternatesNotified", "security")
    [event] = [e for e in await place.events(LADDER) if e["reason"] == "ChannelUnavailable"]
    assert event["type"] == "Warning"
    async with Receivers(port) as revived:
        await place.apply(signal("second", "second", 0.27))
        await place.ladder_says("ChannelsAvailable", "True", "ChannelsReachable")

        async def notified() -> bool:
            return "1/legal/notified/legal" in revived.keys(place.namespace)

        await place.until(notified, "legal to be notified")


# --- 6. An accepted risk ----------------------------------------------------------------------------------------------


async def test_accepted_risk_is_quiet_until_its_date_and_a_worse_reading_ends_it(
    place: PeopleNamespace, operator: Lives
) -> None:
    await place.apply(
        human_ladder(
            place.receivers,
            tier(
                *("moderate", 0.10, "data-science"),
                acknowledge={"within": "1h", "remindEvery": "10s"},
                decide={"within": "2h", "quorum": quorum("legal")},
                acceptRisk={"atMost": "1h"},
            ),
            containing("high", 0.20, "legal"),
        )
    )
    await place.ladder_ready()
    await place.apply(deployment("scorer", replicas=2))
    await place.apply(signal("fairness", "scorer", 0.14, model=MODEL))
    await place.received("Notified", "data-science")
    name = (await place.escalation("scorer"))["metadata"]["name"]
    until = format_time(datetime.now(UTC) + timedelta(seconds=5))
    assert await place.counted("ann", "AcceptRisk", name, until=until) == "QuorumMet"
    stands = await place.escalation_says("scorer", "Decided", "True", "RiskAccepted")  # first: it is so for 5 s only
    assert "waitingOn" not in stands["status"] or stands["status"]["waitingOn"] == []
    assert stands["status"]["riskAcceptance"]["by"] == ["ann"]
    await place.received("RiskAccepted", "data-science")

    stands = await place.on_rung("scorer", 2)
    assert stands["status"]["rung"]["reason"] == "RiskAcceptanceExpired"
    assert stands["status"]["rung"]["enteredAt"] >= stands["status"]["decisions"][0]["until"]
    assert (await place.received("Notified", "data-science", 2)).key == "2/data-science/notified/data-science"
    keys = place.keys()
    quiet = keys[
        keys.index("accepted-1/data-science/data-science") + 1 : keys.index("2/data-science/notified/data-science")
    ]
    assert quiet == []

    until = format_time(datetime.now(UTC) + timedelta(minutes=30))
    assert await place.counted("ann", "AcceptRisk", name, until=until) == "QuorumMet"
    await place.apply(signal("fairness", "scorer", 0.27, model=MODEL))
    await place.replicas_are("scorer", 0)
    await place.received("Notified", "legal")
    stands = await place.on_rung("scorer", 3)
    assert (stands["status"]["tier"], stands["status"].get("riskAcceptance")) == ("high", None)
    await place.recorded(name, "RiskAcceptanceOvertaken")
    await place.verified(await place.escalation("scorer"))


# --- 7. The stop button -----------------------------------------------------------------------------------------------


async def test_stop_button_contains_a_healthy_model_for_those_who_may_press_it(
    place: PeopleNamespace, operator: Lives
) -> None:
    await place.apply(
        human_ladder(place.receivers, tier("moderate", 0.10, "data-science"), containing("high", 0.20, "legal"))
    )
    await place.ladder_ready()
    await place.apply(deployment("scorer", replicas=2))
    await place.apply(signal("fairness", "scorer", 0.05))
    await place.tier("fairness", "baseline")
    await place.may("dan", {"resources": ["modelrisksignals"], "verbs": ["create"]})

    for person, role, refusal in (
        ("sam", "legal", 'sam may not raise as "legal"'),
        ("dan", "data-science", 'dan may not raise as "data-science"'),
        ("eve", "executive", 'cannot create resource "modelrisksignals"'),
    ):
        with pytest.raises(Forbidden, match=refusal):
            await place.stop(person, "scorer", role=role)
    await place.may("dan", {"resources": ["stakeholders"], "resourceNames": ["data-science"], "verbs": ["raise"]})
    with pytest.raises(Forbidden, match='dan may not contain as "data-science"'):
        await place.stop("dan", "scorer")
    assert await place.escalations() == []

    pressed = await place.stop("sam", "scorer", raisedBy="ann")
    assert pressed["spec"]["manual"]["raisedBy"] == "sam"
    await place.replicas_are("scorer", 0)
    notified = await place.received("Notified", "data-science")
    assert "is in tier moderate: raised by sam: it rejects everybody. Contained: " in notified.data["headline"]
    assert notified.data["judgement"]["raisedBy"] == "sam"
    stands = await place.escalation_says("scorer", "Contained", "True", "ScaledToZero")
    assert stands["spec"]["signal"]["manual"]["raisedBy"] == "sam"
    assert stands["spec"]["intent"]["reason"] == "ContainedManually"
    [opened, *_] = await place.verified(stands)
    assert opened["spec"]["detail"]["raisedBy"] == "sam"


# --- 8. Drills --------------------------------------------------------------------------------------------------------


async def test_drill_is_marked_changes_nothing_counts_decisions_and_ends_with_a_result(
    place: PeopleNamespace, operator: Lives
) -> None:
    await place.apply(human_ladder(place.receivers, containing("high", 0.20, "legal", "executive")))
    await place.ladder_ready()
    before = await place.serve("scorer", replicas=2)
    await place.drill("ann", "scorer")
    for role in ("legal", "executive"):
        notified = await place.received("Notified", role)
        assert notified.data["drill"] is True
        assert notified.event["subject"].startswith("DRILL [riskladder] ")
        assert "tier high" in notified.event["subject"]
    stands = await place.escalation_says("scorer", "Contained", "False", "Rehearsed")
    name = stands["metadata"]["name"]
    assert stands["metadata"]["labels"]["riskladder.dev/drill"] == "true"
    assert LABEL_CONTAINMENT not in stands["metadata"]["labels"]
    assert await place.counted("ann", "Acknowledge", name) == "Acknowledged"
    assert await place.refused(OWNER, "Close", name, resolution="FalsePositive") == "NotInQuorum"
    assert await place.counted("ann", "Resume", name) == "Counted"
    assert await place.counted("max", "Resume", name) == "QuorumMet"
    stands = await place.escalation_says("scorer", "Closed", "True", "DrillCompleted")
    for role in ("legal", "executive"):
        assert (
            (await place.received("DrillCompleted", role)).event["subject"].startswith("DRILL [riskladder] resolved, ")
        )
    await place.quiet()

    after = await place.deployment("scorer")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert {m["manager"] for m in after["metadata"]["managedFields"]} == {
        m["manager"] for m in before["metadata"]["managedFields"]
    }
    assert len(await place.endpoints("scorer")) == 2
    records = await place.verified(await place.escalation("scorer"))
    [rehearsed] = [r["spec"] for r in records if r["spec"]["event"] == "Rehearsed"]
    assert rehearsed["detail"]["message"].startswith(
        "ScaleToZero as a dry run: permitted and admitted; nothing was changed"
    )
    [result] = [r["spec"]["detail"] for r in records if r["spec"]["event"] == "DrillCompleted"]
    assert result["role.legal"].startswith("answered after ")
    assert result["role.executive"] == "never answered"
    assert (result["containment"], result["channelsFailed"]) == ("permitted", "none")
    assert_said_once(records, await place.events())


async def test_drill_reports_a_containment_that_would_be_refused(place: PeopleNamespace, operator: Lives) -> None:
    await place.apply(human_ladder(place.receivers, containing("high", 0.20, "legal"), drillWithin="3s"))
    await place.ladder_ready()
    await place.apply(deployment("scorer", replicas=2))
    async with never_at_zero(place):
        await place.drill("ann", "scorer")
        stands = await place.escalation_says("scorer", "Closed", "True", "DrillExpired")
    name = stands["metadata"]["name"]
    rehearsed = (await place.recorded(name, "Rehearsed"))["spec"]
    assert "this model is never at zero" in rehearsed["detail"]["message"]
    [event] = [e for e in await place.events(name) if e["reason"] == "Rehearsed"]
    assert event["type"] == "Warning"
    [result] = [r["spec"]["detail"] for r in await place.records(name) if r["spec"]["event"] == "DrillExpired"]
    assert result["containment"] == "failed"
    assert result["role.legal"] == "never answered"


@asynccontextmanager
async def never_at_zero(place: PeopleNamespace) -> AsyncIterator[None]:
    """Admission that refuses to scale to zero in this namespace."""
    name = f"never-at-zero-{place.namespace}"
    rule = {"apiGroups": ["apps"], "apiVersions": ["*"], "resources": ["deployments"], "operations": ["UPDATE"]}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "object.spec.replicas > 0", "message": "this model is never at zero"}],
    }
    binding = {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": selector},
    }
    dry = Client(place.client._connection, dry_run=True)

    async def refuses() -> bool:
        try:
            await dry.merge_patch(resources.DEPLOYMENTS, place.namespace, "scorer", {"spec": {"replicas": 0}})
        except Refused:
            return True
        return False

    await place.client.create(POLICIES, None, {"metadata": {"name": name}, "spec": policy})
    await place.client.create(authority.BINDINGS, None, {"metadata": {"name": name}, "spec": binding})
    try:
        await place.until(refuses, "the policy to be in force")
        yield
    finally:
        await place.client.delete(authority.BINDINGS, None, name)
        await place.client.delete(POLICIES, None, name)


# --- 5. Without proof -------------------------------------------------------------------------------------------------


async def test_without_the_admission_policy_no_decision_counts_and_the_ladder_says_so(
    place: PeopleNamespace, operator: Lives
) -> None:
    await place.apply(human_ladder(place.receivers, containing("high", 0.20, "legal")))
    await place.ladder_says("DecisionsCount", "True", "IdentityProved")
    await place.apply(deployment("scorer", replicas=2))
    await place.apply(signal("fairness", "scorer", 0.27))
    await place.received("Notified", "legal")
    name = (await place.escalation("scorer"))["metadata"]["name"]
    async with unbound(place):
        assert await place.refused("ann", "Acknowledge", name) == "NotProved"
        found = await place.ladder_says("DecisionsCount", "False", "PolicyMissing")
        assert "there is no ValidatingAdmissionPolicyBinding riskladder-decisions" in found["message"]
        [event] = [e for e in await place.events(LADDER) if e["reason"] == "PolicyMissing"]
        assert event["type"] == "Warning"
        # Anybody can write one in any role now, and it counts as little.
        assert await place.answered(await place.admitted("dan", "Resume", name, role="legal")) == ("False", "NotProved")
    stands = await place.escalation("scorer")
    assert [(d["by"], d["counted"]) for d in stands["status"]["decisions"]] == [("ann", False), ("dan", False)]
    assert (await place.deployment("scorer"))["spec"]["replicas"] == 0
    await place.decisions_count()
    assert await place.counted("ann", "Acknowledge", name) == "Acknowledged"


@asynccontextmanager
async def unbound(place: PeopleNamespace) -> AsyncIterator[None]:
    """The admission policy that proves who decides is not in force."""
    before = await place.client.get(authority.BINDINGS, None, authority.POLICY)
    await place.client.delete(authority.BINDINGS, None, authority.POLICY)
    try:
        yield
    finally:
        metadata = {key: before["metadata"][key] for key in ("name", "labels")}
        await place.client.create(authority.BINDINGS, None, {"metadata": metadata, "spec": before["spec"]})
