"""People under any ladder and order of events: nobody is notified twice, nothing counts twice or ends nowhere."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from riskladder.api.validation import validate
from tests.unit.builders import Document, ladder
from tests.unit.decision_scenario import PEOPLE, DecisionScenario, Step, play

ROLES = ("risk", "legal", "science", "board")
CHANNELS = ("page", "chat", "hook")
TIERS = ("low", "mid", "top")

# --- Ladders ----------------------------------------------------------------------------------------------------------


@st.composite
def quorums(draw: st.DrawFn) -> list[Document]:
    roles = draw(st.lists(st.sampled_from(ROLES), min_size=1, max_size=2, unique=True))
    return [{"role": role, "count": draw(st.sampled_from([1, 1, 2]))} for role in roles]


@st.composite
def tiers(draw: st.DrawFn, number: int, *, last: bool) -> Document:
    one_in = st.integers(0, 3)
    tier: Document = {"name": TIERS[number], "triggers": [{"indicator": "bias", "above": round(0.1 * (number + 1), 1)}]}
    if number == 0:
        tier["triggers"][0]["readings"] = draw(st.sampled_from([1, 2]))
    notified = draw(st.lists(st.sampled_from(ROLES), max_size=3, unique=True))
    tier["notify"] = [{"role": role, "after": draw(st.sampled_from(["0s", "0s", "10m", "2h"]))} for role in notified]
    if draw(one_in):
        tier["acknowledge"] = {"within": draw(st.sampled_from(["10m", "1h"]))}
        if draw(st.booleans()):
            tier["acknowledge"]["remindEvery"] = draw(st.sampled_from(["4m", "10m"]))
    if draw(one_in):
        tier["decide"] = {"within": draw(st.sampled_from(["30m", "1d"])), "quorum": draw(quorums())}
        if draw(st.booleans()):
            tier["acceptRisk"] = {"atMost": draw(st.sampled_from(["1h", "30d"]))}
    if draw(st.integers(0, 2)) == 0 or ("decide" not in tier and draw(st.booleans())):
        tier["resume"] = {"quorum": draw(quorums())}
        if draw(st.booleans()):
            tier["resume"]["watchFor"] = "1h"
    timed = "acknowledge" in tier or "decide" in tier
    if draw(one_in) and ("decide" in tier or "resume" in tier):
        whens = ["Immediately"] + ["OnDecision"] * ("decide" in tier) + ["OnTimeout"] * timed
        action = draw(st.sampled_from(["ScaleToZero", "ScaleToZero", "Rollback"]))
        tier["containment"] = {"when": draw(st.sampled_from(whens)), "action": action}
    when = tier.get("containment", {}).get("when")
    outcomes = ["Hold"] + ["Escalate"] * (timed and not last) + ["Contain"] * (timed and when == "OnDecision")
    tier["onTimeout"] = "Contain" if when == "OnTimeout" else draw(st.sampled_from(outcomes))
    if draw(st.booleans()):
        tier["closesWhen"] = {"for": draw(st.sampled_from(["0s", "1h"]))}
    if draw(one_in) == 0:
        within = draw(st.sampled_from(["1h", "15d"]))
        tier["clocks"] = [{"name": f"duty-{number}", "within": within, "role": draw(st.sampled_from(ROLES))}]
    return tier


@st.composite
def ladders(draw: st.DrawFn) -> Document:
    stakeholders = []
    for role in ROLES:
        others = [other for other in ROLES if other != role]
        stakeholders.append(
            {
                "role": role,
                "seats": 2,
                "notify": draw(st.lists(st.sampled_from(CHANNELS), max_size=2, unique=True)),
                "alternates": draw(st.lists(st.sampled_from(others), max_size=1)),
            }
        )
    count = draw(st.integers(2, 3))
    document: Document = {
        "governs": {"selector": {"matchLabels": {"ladder": "credit"}}},
        "stakeholders": stakeholders,
        "channels": [
            {"name": "page", "type": "PagerDuty", "secretKey": "page"},
            {"name": "chat", "type": "Apprise", "secretKey": "chat"},
            {"name": "hook", "type": "Webhook", "url": "https://hooks.example/risk", "secretKey": "hook"},
        ],
        "indicators": [{"name": "bias"}],
        "drillWithin": draw(st.sampled_from(["20m", "2h"])),
        "tiers": [draw(tiers(number, last=number == count - 1)) for number in range(count)],
    }
    if draw(st.booleans()):
        document["indicators"][0] |= {"staleAfter": "6h", "whenStale": draw(st.sampled_from(TIERS[:count]))}
    if draw(st.booleans()):
        document["charter"] = {"owner": draw(st.sampled_from(ROLES))}
    return document


# --- What happens -----------------------------------------------------------------------------------------------------

ACTIONS = (
    *("Acknowledge", "Comment", "Contain", "Escalate", "Object"),
    *("AcceptRisk", "Resume", "Resume", "Close", "Review"),
)
PARTICULARS: dict[str, st.SearchStrategy[Document]] = {
    "Comment": st.sampled_from([{}, {"clock": "duty-0"}, {"clock": "duty-1"}]),
    "Contain": st.sampled_from([{}, {"containment": "ScaleToZero"}, {"containment": "Rollback"}]),
    "Escalate": st.sampled_from([{"tier": name} for name in TIERS]),
    "Object": st.sampled_from([{}, {"withdraw": True}]),
    "Close": st.sampled_from(
        [{"resolution": r} for r in ("Remediated", "FalsePositive", "RiskAccepted", "Retired", "Remediated")]
    ),
    "Review": st.just({"review": {"policyUpdated": True, "satisfaction": 4}}),
}


@st.composite
def decisions(draw: st.DrawFn) -> Step:
    action = draw(st.sampled_from(ACTIONS))
    given = {"action": action, "role": draw(st.sampled_from(ROLES)), "by": draw(st.sampled_from(PEOPLE))}
    given |= draw(PARTICULARS.get(action, st.just({})))
    if action == "AcceptRisk":
        given["until"] = draw(st.sampled_from(["2026-11-24T12:30:00Z", "2026-11-24T15:00:00Z", "2026-12-10T00:00:00Z"]))
    oddity = draw(st.integers(0, 15))
    given |= {0: {"authorized": False}, 1: {"ago": 90}, 2: {"earlier": 1}, 3: {"name": "d1"}}.get(oddity, {})
    return ("say", draw(st.integers(0, 4)) > 0, given)


def step(what: str, /, **choices: Any) -> st.SearchStrategy[Step]:
    given = {key: st.sampled_from(values) for key, values in choices.items()}
    return st.tuples(st.just(what), st.integers(0, 4).map(bool), st.fixed_dictionaries(given))


READINGS = [0.05, 0.15, 0.25, 0.35, 0.35]
EXTRA = ["", "", "dan"]
AGREED = st.one_of(
    step("agree", action=["Resume"], extra=EXTRA),
    step("agree", action=["AcceptRisk"], extra=EXTRA, until=["2026-11-24T12:30:00Z", "2026-11-25T00:00:00Z"]),
    step("agree", action=["Close"], extra=EXTRA, resolution=["Remediated", "RiskAccepted", "Retired"]),
)
RARE = st.one_of(
    step("restart"),
    step("prove", minutes=[None, 0, 60, 60]),
    step("delete"),
    step("create"),
    step("rival", replicas=[1, 3, 5]),
    step("release", labels=[{}, {"ladder": "credit"}]),
    step("suspend", on=[True, False]),
    step("drain"),
    step("withdraw", name=["monitor", "hand"]),
    step("read", value=READINGS, name=["other", "exercise"], drill=[True]),
    step("read", value=[0], name=["hand"], manual=["low", "mid"], stop=["", "ScaleToZero"]),
)
STEPS = st.one_of(
    decisions(),
    decisions(),
    decisions(),
    AGREED,
    step("read", value=READINGS),
    step("wait", seconds=[1, 61, 600, 1800, 3600, 86400, 700000]),
    step("wait", seconds=[0.25, 61, 241, 601]),
    step("wake"),
    step("attempt", error=["", "", "refused"], given_up=[False, True], channels=[CHANNELS, ("page",)]),
    RARE,
)
STORIES = st.lists(STEPS, min_size=4, max_size=14)
START: Step = ("read", True, {"value": 0.15})


def scenario(document: Document, *, slow: bool = False) -> DecisionScenario:
    return DecisionScenario(ladders=[ladder(lambda spec: (spec.clear(), spec.update(document)))], slow=slow)


@settings(max_examples=max(settings().max_examples // 5, 4))
@given(ladders())
def test_ladders_of_these_scenarios_are_valid(document: Document) -> None:
    assert not validate("EscalationLadder", {"metadata": {"name": "credit"}, "spec": document})


@given(ladders(), st.sampled_from([0.15, 0.25, 0.35]), STORIES, st.booleans())
def test_people_are_notified_heard_and_never_stuck_whatever_happens(
    document: Document, value: float, steps: list[Step], slow: bool
) -> None:
    found = play(scenario(document, slow=slow), [("read", True, {"value": value}), *steps])
    found.bring_to_an_end()
