"""The architecture's invariants under crashes, lost answers, stale caches, other writers and clocks that jump."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riskladder.cluster import resources
from riskladder.cluster.resources import DEPLOYMENTS, ESCALATIONS, PODS, REPLICASETS, SIGNALS
from tests.unit.world import POLICIES, Step, simulate

SIMULATED = settings(max_examples=max(settings().max_examples // 2, 10))
"""An example is a whole scenario of two operators: half as many as elsewhere."""

# --- Any order of anything --------------------------------------------------------------------------------------------

WHO = st.integers(0, 1)
FAULT = ["killed before", "killed after", "answer lost", "refused"]
FAULTS = st.sampled_from(["", "", "", *FAULT])
READ = st.tuples(
    st.just("read"),
    st.sampled_from(["a", "b"]),
    st.sampled_from([0.95, 0.3, 0.15, 0.05]),
    st.sampled_from([0, 1, -1, 30]),
)
OPERATE = st.tuples(st.just("operate"), WHO, st.sampled_from([1, 2, 3, 9]), FAULTS)
STEPS = st.one_of(
    READ,
    READ,
    OPERATE,
    OPERATE,
    st.tuples(st.just("keep_up"), WHO),
    st.tuples(st.just("keep_up"), WHO),
    st.tuples(st.just("deliver"), WHO, st.sampled_from([[SIGNALS], [DEPLOYMENTS], [ESCALATIONS], [REPLICASETS, PODS]])),
    st.tuples(st.just("scale"), st.sampled_from([1, 3, 5])),
    st.tuples(st.just("deploy"), st.integers(1, 3)),
    st.tuples(st.just("jump"), st.sampled_from([1.0, 3.0, 40.0, -30.0, 1500.0])),
    st.tuples(st.just("ladder"), st.sampled_from(["suspend", "act", "loosen", "tighten", "delete"])),
    st.sampled_from([("roll_out",), ("delete",), ("create", 1), ("create", 2), ("prune",), ("withdraw", "a")]),
)
PEOPLE = st.one_of(
    st.tuples(
        st.just("vote"),
        st.sampled_from(["ann", "ben", "cat"]),
        st.sampled_from(["Acknowledge", "AcceptRisk", "Contain", "Object", "Resume", "Resume"]),
        st.sampled_from(["legal", "model-risk"]),
    ),
    st.tuples(st.just("agree"), st.sampled_from(["Resume", "Resume", "AcceptRisk"])),
    st.just(("agree", "Close", {"resolution": "Retired"})),
    st.just(("vote", "ann", "Escalate", "legal", {"tier": "high"})),
    st.sampled_from([("prove", True), ("prove", False), ("bar", "cat")]),
)
REFUSING: list[Step] = [("refuse", 422), ("refuse", 403), ("refuse", 500), ("refuse", 0)]
TAMPERING = st.sampled_from([("strip",), ("forge", True), ("forge", False), *REFUSING])
ERASING = st.sampled_from([("erase",), *REFUSING])
"""Who deletes the Escalation and, while the lock is not in force, what its target carries leaves nothing to go by: not
both."""
UNRECORDED = st.tuples(
    st.just("refuse_trail"), st.sampled_from(["records", "status"]), st.sampled_from([422, 403, 500, 0])
)
"""A quota or a missing permission: nothing new goes on record for a while."""
STORIES = st.lists(st.one_of(STEPS, STEPS, TAMPERING), min_size=8, max_size=30)
ERASED = st.lists(st.one_of(STEPS, STEPS, ERASING), min_size=8, max_size=30)
ACTING = STEPS.filter(lambda step: step not in (("ladder", "suspend"), ("delete",)))
"""A ladder that is suspended after a crash leaves a record that nothing accounts for, and so does an operator that has
not seen that the target is deleted: what is written then may be written again later."""
DECIDED = st.lists(st.one_of(ACTING, ACTING, PEOPLE, PEOPLE, TAMPERING, UNRECORDED), min_size=8, max_size=30)


@SIMULATED
@given(st.sampled_from(sorted(POLICIES)), STORIES, st.booleans())
def test_invariants_hold_whatever_happens(policy: str, steps: list[Step], breached: bool) -> None:
    simulate(policy, steps, breached=breached)


@SIMULATED
@given(st.sampled_from(sorted(POLICIES)), ERASED, st.booleans())
def test_invariants_hold_where_escalations_are_deleted(policy: str, steps: list[Step], breached: bool) -> None:
    simulate(policy, steps, breached=breached)


@SIMULATED
@given(st.sampled_from(sorted(POLICIES)), DECIDED, st.booleans())
def test_invariants_hold_whatever_people_decide(policy: str, steps: list[Step], breached: bool) -> None:
    simulate(policy, [("read", "a", 0.95, 0), ("keep_up", 0), ("jump", 1.0), *steps], breached=breached)


# --- The same faults, at every request of a scenario ------------------------------------------------------------------

BREACH: list[Step] = [("read", "a", 0.95, 0)]
REVERTED: list[Step] = [
    *BREACH,
    ("keep_up", 0),
    ("roll_out",),
    ("keep_up", 0),
    ("jump", 3.0),
    ("scale", 4),
    ("deploy", 2),
    ("roll_out",),
]
RISING: list[Step] = [
    ("read", "a", 0.15, 0),
    ("keep_up", 0),
    ("jump", 1.0),
    ("read", "a", 0.15, 0),
    ("keep_up", 0),
    ("roll_out",),
    ("keep_up", 0),
    ("jump", 1.0),
    ("read", "a", 0.95, 0),
]
RECREATED: list[Step] = [*BREACH, ("keep_up", 0), ("delete",), ("deliver", 0), ("create", 2), ("roll_out",)]
SCENARIOS = {"breach": BREACH, "drift": REVERTED, "rising": RISING, "recreated": RECREATED}
MOST_REQUESTS = 40
"""Of one operator from there to the end of its trail: far fewer are needed. What is beyond is the same as no fault."""


THOROUGH = settings().max_examples > 1000
FAULTS_OF: list[tuple[str, str, str]] = [
    ("zero", "drift", "killed after"),
    ("rollback", "breach", "killed before"),
    ("rollback, then zero", "rising", "answer lost"),
    ("zero", "recreated", "refused"),
]
"""A choice of policy, scenario and fault for every day; HYPOTHESIS_PROFILE=thorough tries all of them."""


def last(scenario: str) -> list[Step]:
    return [*SCENARIOS[scenario], ("deliver", 0)]


def strike_each_request(policy: str, before: list[Step], fault: str) -> None:
    """Let one fault strike, at a later request each time, until there is none left to strike."""
    for requests in range(2, MOST_REQUESTS):
        world = simulate(policy, [*before, ("operate", 0, requests, fault)], breached=False, stands=True)
        if world.exhausted[-1]:
            assert requests > 2, "no request was struck"
            return
    raise AssertionError(f"not done after {MOST_REQUESTS} requests")


@pytest.mark.parametrize(
    ("policy", "scenario", "fault"),
    list(itertools.product(POLICIES, SCENARIOS, FAULT)) if THOROUGH else FAULTS_OF,
)
def test_fault_at_every_request(policy: str, scenario: str, fault: str) -> None:
    strike_each_request(policy, last(scenario), fault)


@pytest.mark.parametrize(
    ("policy", "scenario"),
    list(itertools.product(POLICIES, SCENARIOS)) if THOROUGH else [("rollback", "breach"), ("zero", "drift")],
)
def test_second_operator_overtakes_at_every_request(policy: str, scenario: str) -> None:
    """The first is paused and goes on later, with what it knew."""
    for requests in range(1, MOST_REQUESTS):
        paused: list[Step] = [*last(scenario), ("operate", 0, requests)]
        world = simulate(policy, [*paused, ("keep_up", 1), ("operate", 0, 9)], breached=False, stands=True)
        if world.exhausted[0]:
            return
    raise AssertionError(f"not done after {MOST_REQUESTS} requests")


@pytest.mark.parametrize("change", [("deploy", 3), ("scale", 7), ("ladder", "delete"), ("withdraw", "a"), ("prune",)])
@pytest.mark.parametrize("policy", POLICIES if THOROUGH else ["rollback"])
def test_change_at_every_request(policy: str, change: Step) -> None:
    for requests in range(1, 14 if THOROUGH else 7):
        steps: list[Step] = [*last("breach"), ("operate", 0, requests), change, ("operate", 0, 9)]
        simulate(policy, steps, breached=False, stands=requests > 1)


RESUMED: list[Step] = [
    *BREACH,
    ("keep_up", 0),
    ("roll_out",),
    ("keep_up", 0),
    ("jump", 1.0),
    ("vote", "cat", "Acknowledge", "legal"),
    ("agree", "Resume"),
    ("deliver", 0),
]
BY_HAND: list[Step] = [
    ("read", "a", 0.15, 0),
    ("keep_up", 0),
    ("jump", 1.0),
    ("read", "a", 0.15, 0),
    ("keep_up", 0),
    ("jump", 1.0),
    ("vote", "ann", "Escalate", "legal", {"tier": "high"}),
    ("vote", "ben", "Contain", "model-risk"),
    ("deliver", 0),
]
ENDED: list[Step] = [*RESUMED[:-1], ("keep_up", 0), ("agree", "Close", {"resolution": "Remediated"}), ("deliver", 0)]
UNDER_SUSPENSION: list[Step] = [*RESUMED[:4], ("ladder", "suspend"), ("keep_up", 0), *RESUMED[4:]]
DECISIONS: dict[str, list[Step]] = {
    "resumed": RESUMED,
    "resumed while suspended": UNDER_SUSPENSION,
    "manually": BY_HAND,
    "ended": ENDED,
}
MOST_DECIDED = 30
"""Requests of one operator that judges, records, answers and carries out what was decided, roughly."""


@pytest.mark.parametrize(
    ("policy", "scenario", "fault"),
    list(itertools.product(POLICIES, DECISIONS, FAULT))
    if THOROUGH
    else [
        ("zero", "resumed", "killed after"),
        ("zero", "resumed while suspended", "killed after"),
        ("zero", "manually", "killed before"),
    ],
)
def test_fault_at_every_request_while_people_decide(policy: str, scenario: str, fault: str) -> None:
    """The other operator takes over from whatever the first has left behind."""
    for requests in range(2, MOST_DECIDED, 1 if THOROUGH else 3):
        steps: list[Step] = [*DECISIONS[scenario], ("operate", 0, requests, fault), ("keep_up", 1)]
        world = simulate(policy, steps, breached=False)
        if scenario.startswith("resumed") and policy == "zero":
            assert world.target()["spec"]["replicas"] == 3, f"not restored, after {requests} requests"
        if scenario == "manually" and policy == "zero":
            assert world.target()["spec"]["replicas"] == 0, f"not contained, after {requests} requests"
        if world.exhausted[-1]:
            return
    raise AssertionError(f"not done after {MOST_DECIDED} requests")


@pytest.mark.parametrize(
    ("scenario", "what", "status"),
    list(itertools.product(DECISIONS, ["records", "status"], [422, 403, 500]))
    if THOROUGH
    else [("resumed", "records", 403), ("manually", "records", 422), ("ended", "status", 403)],
)
def test_nothing_is_answered_that_cannot_be_recorded(scenario: str, what: str, status: int) -> None:
    """From any request on, records or statuses are refused for a while: no answer goes before what it is about."""
    for requests in range(1, MOST_DECIDED, 1 if THOROUGH else 3):
        refused: list[Step] = [("operate", 0, requests), ("refuse_trail", what, status), ("operate", 0, 40)]
        late: list[Step] = [("vote", "cat", "Comment", "legal"), ("keep_up", 0), ("keep_up", 1)]
        world = simulate("zero", [*DECISIONS[scenario], *refused, *late], breached=False)
        if scenario == "resumed":
            assert world.target()["spec"]["replicas"] == 3, f"not restored, refused after {requests} requests"
        if world.exhausted[0]:
            return
    raise AssertionError(f"not done after {MOST_DECIDED} requests")


def test_answer_that_nothing_keeps_is_not_believed() -> None:
    """What an older version has answered and lost counts after all; what it has kept is not done again."""
    objected: list[Step] = [
        *RESUMED[:5],
        ("vote", "cat", "Object", "legal"),
        ("answer_too_early", "d1"),
        ("deliver", 0),
    ]
    world = simulate("zero", [*objected, ("keep_up", 0), ("agree", "Resume"), ("keep_up", 0)], breached=False)
    assert world.events().count("Objected") == 1
    assert world.events().count("DecisionRefused") == 2, "the model was resumed over an objection"


def test_answer_that_the_records_alone_keep_stands() -> None:
    said: list[Step] = [("vote", "cat", "Comment", "legal"), ("keep_up", 0)]
    steps: list[Step] = [*RESUMED[:5], *(said * 20), ("age_answers",), ("keep_up", 0), ("keep_up", 1)]
    world = simulate("zero", steps, breached=False)
    assert world.events().count("Commented") == 20
    assert {d["status"].get("escalationUid") for d in world.server.all(resources.DECISIONS)} != {None}


@pytest.mark.parametrize("what", ["records", "status"])
@pytest.mark.parametrize("status", [422, 403, 500])
def test_stop_button_waits_for_no_record(what: str, status: int) -> None:
    pressed: list[Step] = [*BY_HAND[:6], ("refuse_trail", what, status), ("vote", "ben", "Contain", "model-risk")]
    world = simulate("zero", [*pressed, ("keep_up", 0), ("stopped",), ("keep_up", 1)], breached=False)
    assert world.events().count("ContainedManually") == world.events().count("ContainmentApplied") == 1


@pytest.mark.parametrize("policy", POLICIES if THOROUGH else ["zero"])
def test_vote_that_arrives_at_every_request_counts_once(policy: str) -> None:
    for requests in range(1, MOST_DECIDED, 1 if THOROUGH else 4):
        early: list[Step] = [*RESUMED[:-2], ("vote", "ann", "Resume", "legal"), ("deliver", 0)]
        late: list[Step] = [("operate", 0, requests), ("vote", "ben", "Resume", "model-risk"), ("keep_up", 1)]
        world = simulate(policy, [*early, *late, ("operate", 0, 9)], breached=False)
        assert world.events().count("Resumed") == world.events().count("Restored") == 1


@pytest.mark.parametrize("policy", ["zero", "rollback"])
def test_reverted_containment_is_on_record(policy: str) -> None:
    world = simulate(policy, [*REVERTED, ("keep_up", 0)], breached=False, stands=True)
    proved = "ScaledToZero" if policy == "zero" else "RolledBack"
    assert world.events() == ["EscalationOpened", "ContainmentApplied", proved, "ContainmentReapplied"]


def test_act_is_on_record_once_though_another_went_before_it_after_a_crash() -> None:
    """Late is recorded, and the operator dies before the status; then it is applied, which comes first next time."""
    steps: list[Step] = [
        *last("breach"),
        ("operate", 0, 3, "killed before"),
        ("ladder", "suspend"),
        ("deliver", 0),
        ("jump", 3.0),
        ("operate", 0, 3, "killed after"),
        ("ladder", "act"),
        ("deliver", 0),
        ("operate", 0, 3),
        ("deliver", 0),
        ("operate", 0, 9),
    ]
    simulate("zero", steps, breached=True)


def test_act_that_somebody_else_put_on_record_is_not_recorded_again() -> None:
    """The second operator writes something else behind the first one's records before it comes to the same act."""
    read: Step = ("read", "a", 0.95, 0)
    contained: list[Step] = [read, ("keep_up", 0), ("jump", 1.0), *[("keep_up", 0)] * 3, ("jump", 1.0)]
    simulate("rollback", [*contained, ("delete",), read, ("keep_up", 1), ("operate", 0, 9, "")], breached=False)
