"""The models: what they accept, what they keep, what they write."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from riskladder.api.base import Duration, Timestamp, format_time
from riskladder.api.escalation import EscalationSpec
from riskladder.api.intent import Image
from riskladder.api.kinds import KINDS
from riskladder.api.ladder import ClosesWhen, ContainmentAction, EscalationLadderSpec, Tier, TimeoutAction
from riskladder.api.record import EscalationRecordSpec
from riskladder.api.signal import ModelRiskSignalSpec
from tests.refusals import DOCUMENTS, HASH, LADDER, valid

timestamps: TypeAdapter[datetime] = TypeAdapter(Timestamp)
durations: TypeAdapter[Duration] = TypeAdapter(Duration)


@pytest.mark.parametrize(
    ("text", "delta"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(days=1)),
        ("15d", timedelta(days=15)),
        ("1h30m", timedelta(minutes=90)),
        ("1d2h3m4s", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("0s", timedelta()),
    ],
)
def test_duration_keeps_its_text_and_knows_its_length(text: str, delta: timedelta) -> None:
    duration = durations.validate_python(text)
    assert (type(duration), duration, duration.delta) == (Duration, text, delta)
    assert durations.dump_json(duration) == f'"{text}"'.encode()


@pytest.mark.parametrize("text", ["", "d", "5", "1.5h", "-1h", "1h1d", "30m\n", "1w", "123456s", " 1h", "1H"])
def test_duration_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValidationError):
        durations.validate_python(text)
    with pytest.raises(ValueError, match="is not a duration; expected for example"):
        _ = Duration(text).delta


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-11-24T06:00:00Z", "2026-11-24T06:00:00Z"),
        ("2026-11-24T07:00:00+01:00", "2026-11-24T06:00:00Z"),
        ("2026-11-24T06:00:00.5Z", "2026-11-24T06:00:00.500000Z"),
        ("2026-11-24T06:00:00,5Z", "2026-11-24T06:00:00.500000Z"),
        ("2026-11-24T06:00:00.123456789Z", "2026-11-24T06:00:00.123456Z"),
        ("2026-11-24T06:00:00.000Z", "2026-11-24T06:00:00Z"),
    ],
)
def test_timestamp_is_utc_with_six_digits_or_none(text: str, written: str) -> None:
    moment = timestamps.validate_python(text)
    assert moment.tzinfo is UTC
    assert timestamps.dump_json(moment) == f'"{written}"'.encode()
    assert timestamps.validate_json(f'"{text}"', strict=True) == moment


@pytest.mark.parametrize(
    "value",
    [
        "2026-11-24",
        "2026-11-24t06:00:00z",
        "2026-02-30T00:00:00Z",
        "9999-12-31T23:59:59-23:59",
        "2026-11-24T06:00:00",
        "2026-11-24 06:00:00Z",
        "2026-13-01T00:00:00Z",
        "",
        0,
        1.5,
        None,
    ],
)
def test_timestamp_refuses_what_is_not_rfc_3339(value: object) -> None:
    with pytest.raises(ValidationError):
        timestamps.validate_python(value)


def test_timestamp_refuses_a_time_without_zone() -> None:
    with pytest.raises(ValidationError):
        timestamps.validate_python(datetime(2026, 11, 24, 6))
    assert format_time(datetime(2026, 11, 24, 6, tzinfo=timezone(timedelta(hours=6)))) == "2026-11-24T00:00:00Z"


def test_ladder_of_the_contract_is_read_whole() -> None:
    spec = EscalationLadderSpec.model_validate(yaml.safe_load(LADDER.read_text())["spec"])
    moderate, high = spec.tiers
    assert spec.charter is not None
    assert spec.charter.policy_url == "https://intranet.example/policies/mr-12"
    assert moderate.triggers[0].clears_at == pytest.approx(0.08)
    assert moderate.on_timeout is TimeoutAction.ESCALATE
    assert moderate.closes_when == ClosesWhen(cleared=True, for_=Duration("1h"))
    assert high.containment is not None
    assert (high.containment.action, high.containment.if_impossible) == (
        ContainmentAction.ROLLBACK,
        ContainmentAction.SCALE_TO_ZERO,
    )
    assert high.containment.lock
    assert high.resume is not None
    assert high.resume.steps == ("10%", "50%", "100%")


def test_defaults_are_those_of_the_contract() -> None:
    tier = Tier.model_validate({"name": "high", "containment": {"action": "ScaleToZero"}})
    assert tier.containment is not None
    assert (tier.containment.when, tier.containment.within, tier.containment.lock) == ("Immediately", "2m", True)
    assert tier.on_timeout is TimeoutAction.HOLD
    assert tier.triggers == ()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_reads_back_the_same(kind: str) -> None:
    model = KINDS[kind].spec
    spec = model.model_validate(valid(kind)["spec"])
    written = spec.to_api()
    assert model.model_validate(written) == spec
    assert model.model_validate(written).to_api() == written


def test_api_form_is_camel_case_without_nulls() -> None:
    spec = ModelRiskSignalSpec.model_validate(DOCUMENTS["ModelRiskSignal"]["spec"])
    written = spec.to_api()
    assert written["observedAt"] == "2026-11-24T06:00:00Z"
    assert written["readings"][0] == {
        "indicator": "demographic_parity_difference",
        "value": 0.27,
        "window": "24h",
        "evidence": "s3://reports/1",
    }
    assert "manual" not in written
    assert Image(container="app", image="a:1", image_id="a@sha256:1").to_api()["imageID"] == "a@sha256:1"


def test_unknown_fields_are_ignored_and_models_are_frozen() -> None:
    spec = EscalationRecordSpec.model_validate({**DOCUMENTS["EscalationRecord"]["spec"], "colour": "red"})
    assert not hasattr(spec, "colour")
    with pytest.raises(ValidationError):
        spec.hash = HASH  # type: ignore[misc]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_readings_are_finite(value: float) -> None:
    document = valid("ModelRiskSignal")["spec"]
    document["readings"][0]["value"] = value
    with pytest.raises(ValidationError):
        ModelRiskSignalSpec.model_validate(document)


def test_escalation_pins_the_policy_of_its_ladder() -> None:
    ladder = EscalationLadderSpec.model_validate(valid("EscalationLadder")["spec"])
    document = valid("Escalation")["spec"]
    shared = ("charter", "trustedSources", "stakeholders", "channels", "indicators", "tiers")
    document["policy"] = {name: part for name, part in ladder.to_api().items() if name in shared}
    policy = EscalationSpec.model_validate(document).policy
    assert policy.tiers == ladder.tiers
    assert policy.stakeholders == ladder.stakeholders
    assert policy.trusted_sources == ladder.trusted_sources


def test_what_an_object_was_given_is_kept_once_for_all_and_never_mixed_up() -> None:
    """Sets of names of fields took as much memory as all values; each object still knows its own."""
    first, second = (Image(container=name, image="a") for name in ("x", "y"))
    third = Image.model_validate({"container": "z", "image": "a", "imageID": "b"})
    assert first.__pydantic_fields_set__ is second.__pydantic_fields_set__
    assert [sorted(one.model_fields_set) for one in (first, third)] == [
        ["container", "image"],
        ["container", "image", "image_id"],
    ]
    copied = first.model_copy(update={"image_id": "c"})
    assert "image_id" in copied.model_fields_set
    assert "image_id" not in second.model_fields_set
    assert second.model_dump(exclude_unset=True) == {"container": "y", "image": "a"}
