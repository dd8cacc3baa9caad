"""Who reported, with which credential: on record, on the page of an escalation, and in its timeline."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.decision import DecidedBy
from riskladder.api.reasons import Reason
from riskladder.api.record import OPEN_NAMES
from riskladder.api.signal import ModelRiskSignalSpec, ReportedBy
from riskladder.cli.people.details import details
from riskladder.cli.people.show import facts
from riskladder.people.case import read_case
from riskladder.people.export import Export
from riskladder.people.timeline import timeline_of
from riskladder.people.view import View, knows_credentials
from riskladder.policy.authentication import how, shortened
from riskladder.policy.plan import Entry
from riskladder.policy.signals.particulars import reporter_particulars
from riskladder.policy.snapshot import Signal
from tests.people import NOW, decided, escalation
from tests.trails import ENTRIES, UID, chain
from tests.unit.builders import Scene, ladder, signal
from tests.unit.test_cli_people_details import text
from tests.unit.test_cli_timeline import KEY

ACCOUNT = "system:serviceaccount:monitors:fairness-monitor"
TOKEN = "JTI=8c5b1f0e-4d0c-4b3a-9a50-0b8d2f1c7e11"
CERTIFICATE = "X509SHA256=" + "ab12cd34" * 8


def stamped(credential: str, *, binding: str = "", manual: str = "") -> Signal:
    made = signal(manual=manual) if manual else signal(bias=0.3)
    assert made.spec is not None
    by = ReportedBy(username=ACCOUNT, credential_id=credential)
    return replace(made, spec=made.spec.model_copy(update={"reported_by": by}), binding=binding)


def recorded(found: Signal, *, known: bool = True) -> list[Entry]:
    scene = Scene([found], knows_credentials=known)
    scene.run()
    return scene.entries


def opening(found: Signal, *, known: bool = True) -> dict[str, str]:
    [entry] = [e for e in recorded(found, known=known) if e.event is Reason.ESCALATION_OPENED]
    return {name: entry.detail.get(name, "") for name in ("reportedBy", "credential", "impersonated", "binding")}


# --- On record --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("credential", [TOKEN, CERTIFICATE])
def test_record_names_who_reported_and_the_whole_credential(credential: str) -> None:
    expected = {"reportedBy": ACCOUNT, "credential": credential, "impersonated": "", "binding": ""}
    assert opening(stamped(credential, binding="left-from-before")) == expected


def test_record_says_that_a_reading_was_reported_by_impersonation_and_through_which_binding() -> None:
    expected = {"reportedBy": ACCOUNT, "credential": "", "impersonated": "true", "binding": "fairness"}
    assert opening(stamped("", binding="fairness")) == expected
    assert opening(stamped("")) == expected | {"binding": ""}


def test_where_the_api_server_knows_no_credentials_nobody_is_said_to_impersonate() -> None:
    assert opening(stamped(""), known=False)["impersonated"] == ""
    # Who translates for a monitor impersonates its account, whatever the API server knows.
    assert opening(stamped("", binding="fairness"), known=False)["impersonated"] == "true"


def test_signal_without_a_stamp_says_nothing_but_its_binding() -> None:
    nothing = dict.fromkeys(("reportedBy", "credential", "impersonated", "binding"), "")
    assert opening(signal(bias=0.3)) == nothing
    assert opening(replace(signal(bias=0.3), binding="fairness")) == nothing | {"binding": "fairness"}


def test_who_raised_it_is_named_once_and_the_credential_next_to_it() -> None:
    raised = stamped(TOKEN, manual="high")
    assert opening(raised) == {"reportedBy": "", "credential": TOKEN, "impersonated": "", "binding": ""}


def test_record_of_a_higher_tier_names_who_reported_what_raised_it() -> None:
    scene = Scene([signal(drift=0.3)])
    scene.run()
    scene.signals = [*scene.signals, replace(stamped(TOKEN), name="other", uid="other-uid")]
    scene.run()
    [risen] = [e for e in scene.entries if e.event is Reason.TIER_RAISED]
    assert (risen.detail["reportedBy"], risen.detail["credential"]) == (ACCOUNT, TOKEN)


def test_name_of_who_reported_can_be_erased_from_a_record() -> None:
    assert "reportedBy" in OPEN_NAMES


def test_decision_without_a_credential_is_on_record_as_impersonated_where_the_api_server_knows_any() -> None:
    for known, said in ((True, "true"), (False, None)):
        scene = Scene([signal(bias=0.3)], ladders=[ladder()], knows_credentials=known)
        scene.run()
        scene.decide("Comment", "legal")
        scene.decide("Comment", "legal", decidedBy={"username": "ann", "credentialID": TOKEN})
        without, own = (e.detail for e in scene.entries if e.event is Reason.COMMENTED)
        assert (without.get("credential"), without.get("impersonated")) == (None, said)
        assert (own.get("credential"), own.get("impersonated")) == (TOKEN, None)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40)


@given(names, st.sampled_from(["", TOKEN, CERTIFICATE]), st.sampled_from(["", "fairness"]), st.booleans())
def test_particulars_never_say_both_a_credential_and_impersonation(
    name: str, credential: str, binding: str, known: bool
) -> None:
    by = ReportedBy(username=name, credential_id=credential)
    found = replace(stamped(""), binding=binding)
    assert found.spec is not None
    reference = replace(found, spec=found.spec.model_copy(update={"reported_by": by})).reference()
    said = reporter_particulars(reference, known=known)
    assert said["reportedBy"] == by.username
    assert ("credential" in said) == bool(credential)
    assert ("impersonated" in said) == (not credential and (known or bool(binding)))
    assert ("binding" in said) == (bool(binding) and not credential)


# --- In words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credential", "short"),
    [
        (TOKEN, "JTI=8c5b1f0e…"),
        (CERTIFICATE, "X509SHA256=ab12cd34…"),
        ("JTI=0b1c", "JTI=0b1c"),
        ("something-without-a-kind", "somethin…"),
    ],
)
def test_credential_is_shortened_for_people(credential: str, short: str) -> None:
    assert shortened(credential) == short
    assert how(credential, known=True) == f"credential {short}"


def test_impersonation_in_words() -> None:
    assert how("", binding="fairness", known=False) == "impersonated, through MonitorBinding fairness"
    assert (how("", known=True), how("", known=False)) == ("impersonated", "")


def page(
    reported_by: dict[str, Any] | None, *, binding: str = "", known: bool = True, via: str = "", **more: Any
) -> str:
    raw = escalation(decisions=[decided("Resume", "model-risk", "max"), decided("Comment", "legal", "ann")])
    raw["spec"]["signal"] |= {"reportedBy": reported_by, "binding": binding or None, **more}
    case = read_case(raw)
    resume, comment = (d["name"] for d in raw["status"]["decisions"])
    seen = View(case, (), credentials={resume: TOKEN, comment: ""}, known=known, via={comment: via} if via else {})
    shown = details(seen, NOW)
    return " ".join(text(shown, width=200).split())


def test_page_shows_who_reported() -> None:
    by = {"username": ACCOUNT, "credentialID": TOKEN}
    assert f"Reported by {ACCOUNT}, credential JTI=8c5b1f0e…" in page(by)
    impersonated = page({"username": ACCOUNT}, binding="fairness")
    assert f"Reported by {ACCOUNT}, impersonated, through MonitorBinding fairness" in impersonated
    assert f"Reported by {ACCOUNT}, impersonated " in page({"username": ACCOUNT})
    assert "Reported by" not in page(None)


def test_page_shows_with_which_credential_a_person_raised_and_decided() -> None:
    manual = {"tier": "high", "rationale": "Complaints", "raisedBy": "sam", "role": "security"}
    shown = page({"username": "sam", "credentialID": CERTIFICATE}, manual=manual, readings=[])
    assert "Raised by sam as security, credential X509SHA256=ab12cd34…: Complaints" in shown
    assert "Reported by" not in shown
    assert "Resume max as model-risk, credential JTI=8c5b1f0e…, 2026-11-24" in shown
    assert "Comment ann as legal, impersonated, 2026-11-24" in shown
    assert "ann as legal, 2026-11-24" in page(None, known=False)
    through = page(None, known=False, via="console")
    assert "Comment ann as legal, impersonated, through console, 2026-11-24" in through


def test_page_for_programs_has_credentials_whole() -> None:
    raw = escalation(decisions=[decided("Resume", "model-risk", "max")])
    [resume] = (d["name"] for d in raw["status"]["decisions"])
    assert facts(View(read_case(raw), (), credentials={resume: TOKEN}))["credentials"] == {resume: TOKEN}


def test_api_server_knows_credentials_where_any_is_seen() -> None:
    raw = escalation()
    nobody = DecidedBy(username="ann")
    assert not knows_credentials(read_case(raw), nobody, {"d": ""})
    assert knows_credentials(read_case(raw), nobody, {"d": TOKEN})
    assert knows_credentials(read_case(raw), DecidedBy(username="ann", credential_id=TOKEN), {})
    raw["spec"]["signal"]["reportedBy"] = {"username": ACCOUNT, "credentialID": TOKEN}
    assert knows_credentials(read_case(raw), nobody, {})


def told(**detail: str) -> dict[str, str]:
    """The particulars of the opening in a timeline, by heading."""
    first, *others = ENTRIES
    records = chain([replace(first, detail={**first.detail, **detail}), *others])
    return {p.heading: p.text for p in timeline_of(Export(records, [], None), KEY).steps[0].particulars}


def test_timeline_shows_who_reported() -> None:
    assert told(reportedBy=ACCOUNT, credential=TOKEN)["reported by"] == f"{ACCOUNT}, credential JTI=8c5b1f0e…"
    through = told(reportedBy=ACCOUNT, impersonated="true", binding="fairness")
    assert through["reported by"] == f"{ACCOUNT}, impersonated, through MonitorBinding fairness"
    assert told(raisedBy="sam", credential=TOKEN)["raised by"] == "sam, credential JTI=8c5b1f0e…"
    assert "reported by" not in told()
    assert not {"credential", "impersonated", "binding"} & set(" ".join(told().values()).split())


def test_timeline_shows_that_a_decision_was_impersonated() -> None:
    said = {"decision": "d1", "impersonated": "true"}
    entry = replace(ENTRIES[0], event="Commented", key=f"{UID}/decision/1", actor="ann", detail=said)
    steps = timeline_of(Export(chain([entry]), [], None), KEY).steps
    assert {p.heading: p.text for p in steps[0].particulars}["authenticated"] == "impersonated"


# --- As it is stored --------------------------------------------------------------------------------------------------


def test_reading_is_the_same_whoever_says_it_again() -> None:
    """A stamp that changes with every rotation of a token makes no new reading, and no new record."""
    scene = Scene([stamped(TOKEN)])
    scene.run()
    before = len(scene.entries)
    again = stamped("JTI=another")
    scene.signals = [replace(again, generation=2, status=scene.signals[0].status)]
    scene.run()
    assert len(scene.entries) == before


def test_spec_takes_a_stamp() -> None:
    document = {"ladder": "l", "target": {"kind": "Deployment", "name": "d"}, "source": "m"}
    document |= {"observedAt": datetime(2026, 11, 24).isoformat() + "Z", "reportedBy": {"username": "a"}}
    spec = ModelRiskSignalSpec.model_validate({**document, "readings": [{"indicator": "i", "value": 1}]})
    assert spec.reported_by == ReportedBy(username="a")
