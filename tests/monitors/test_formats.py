"""The presets: what each sample becomes, and that whatever is sent is a translation or malformed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riskladder.api.base import format_time
from riskladder.api.binding import MonitorFormat
from riskladder.api.reasons import Reason
from riskladder.api.text import plain
from riskladder.cli.bind.write import where
from riskladder.monitors.entries import Delivery
from riskladder.monitors.formats import FORMATS, detect
from riskladder.monitors.methods import known
from riskladder.monitors.payload import MAX_BYTES, Malformed, TooLarge
from riskladder.monitors.translate import Translation, translate
from tests.monitors.tables import RECEIVED, SAMPLES, expected, load, samples, spec, table

EACH = pytest.mark.parametrize("path", samples(), ids=lambda path: f"{path.parent.name}/{path.name}")
FORMAT = pytest.mark.parametrize("name", MonitorFormat)


def outcome(name: MonitorFormat, found: Delivery, **more: Any) -> Translation | str:
    """What a payload becomes where every entry is bound; a text where it is malformed."""
    binding = spec(name, observedAt=more.pop("observedAt", {"from": "Received"}), **more)
    try:
        translation = translate(binding, FORMATS[name].read(found), found)
    except Malformed as error:
        message = str(error)
        assert message
        assert plain(message) == message
        assert "found" in message
        return message
    for one in translation.observations:
        assert math.isfinite(one.value)
    for refusal in translation.refusals:
        assert plain(f"{refusal.path}{refusal.message}") == f"{refusal.path}{refusal.message}"
        assert len(refusal.message) <= 1024
    return translation


def sent(body: Any, **headers: str) -> Delivery:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Delivery(raw, {name.replace("_", "-"): value for name, value in headers.items()}, RECEIVED)


def alerts(*changes: dict[str, Any], **more: Any) -> Delivery:
    body = json.loads((SAMPLES / "alertmanager/am-0.34-firing.json").read_text())
    body["alerts"] = [body["alerts"][0] | change for change in changes]
    return sent(body | more)


# --- Samples ----------------------------------------------------------------------------------------------------------


@EACH
def test_sample_becomes_what_the_table_says(path: Path) -> None:
    assert table(path) == expected(path).read_text("utf-8")


@EACH
def test_sample_is_detected_as_what_it_is(path: Path) -> None:
    folder = path.parent.name.replace("-", "")
    assert detect(load(path)).value.lower() == folder


def test_every_format_has_a_sample_and_a_reader() -> None:
    assert set(FORMATS) == set(MonitorFormat)
    assert {detect(load(path)) for path in samples()} == set(MonitorFormat)


# --- Attacks ----------------------------------------------------------------------------------------------------------


@EACH
def test_what_is_cut_off_is_a_translation_or_malformed(path: Path) -> None:
    whole = load(path)
    name = detect(whole)
    for end in range(len(whole.raw)):
        outcome(name, replace(whole, raw=whole.raw[:end]))


@EACH
@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "cp037"])
def test_other_encodings_are_malformed(path: Path, encoding: str) -> None:
    whole = load(path)
    text = whole.raw.decode("utf-8").encode(encoding, "replace")
    assert isinstance(outcome(detect(whole), replace(whole, raw=text)), str)


@EACH
def test_bytes_that_are_no_utf8_are_malformed(path: Path) -> None:
    whole = load(path)
    assert "UTF-8" in str(outcome(detect(whole), replace(whole, raw=whole.raw[:20] + b"\xff\xfe" + whole.raw[20:])))


@FORMAT
@pytest.mark.parametrize("body", [b" " * 2 * MAX_BYTES, b'{"a": "' + b'\\"' * MAX_BYTES + b'"}'], ids=["blank", "text"])
def test_two_mebibytes_are_too_large(name: MonitorFormat, body: bytes) -> None:
    with pytest.raises(TooLarge):
        FORMATS[name].read(sent(body))


@FORMAT
@pytest.mark.parametrize(
    "body",
    ["[" * 10_000, "[" * 10_000 + "]" * 10_000, '{"a":' * 10_000 + "1" + "}" * 10_000, '"' + '\\"' * 300_000],
    ids=["open", "lists", "objects", "quotes"],
)
def test_deep_or_endless_bodies_are_malformed_at_once(name: MonitorFormat, body: str) -> None:
    assert isinstance(outcome(name, sent(body)), str)


@FORMAT
@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "true",
        "17",
        '"text"',
        "[]",
        "[[]]",
        "[null]",
        "{}",
        '[{}, 1, "x"]',
        "NaN",
        "\0",
        "a,b\n1",
        '{"a": 1, "a": 2}',
    ],
)
def test_wrong_top_level_types_never_crash(name: MonitorFormat, body: str) -> None:
    outcome(name, sent(body))


@FORMAT
def test_half_of_a_surrogate_pair_is_malformed(name: MonitorFormat) -> None:
    assert isinstance(outcome(name, sent('{"value": 1, "name": "\\ud800"}')), str)


NO_NUMBERS = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 500,
    '"0.2"',
    "true",
    "false",
    "null",
    "[]",
    "{}",
    "[1, NaN]",
]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_named_and_no_reading(value: str) -> None:
    found = outcome(MonitorFormat.GENERIC, sent(f'{{"value": {value}}}'))
    assert isinstance(found, Translation)
    assert found.observations == ()
    assert [refusal.reason for refusal in found.refusals] == [Reason.NO_READING]
    assert "expected a" in found.refusals[0].message


@pytest.mark.parametrize("value", [value for value in NO_NUMBERS if not value.startswith(("[", "{"))])
@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("Evidently", '{{"metrics": [{{"id": "a", "config": {{"type": "x:Accuracy"}}, "value": {}}}]}}'),
        ("Evidently", '{{"metrics": [{{"id": "a", "config": {{"type": "x:F1ByLabel"}}, "value": {{"1": {}}}}}]}}'),
        ("Evidently", '{{"metrics": [{{"metric": "M", "result": {{"drift_score": {}, "drift_detected": true}}}}]}}'),
        ("NannyML", '[{{"chunk_period": "analysis", "f1_value": {}, "f1_alert": true}}]'),
        ("AlibiDetect", '{{"data": {{"is_drift": 1, "p_val": {}}}}}'),
        ("VertexAI", '{{"statsName": "a", "anomaly": {{"tabularAnomaly": {{"anomaly": {}}}}}}}'),
        ("CloudEvents", '{{"specversion": "1.0", "id": "1", "source": "s", "type": "t", "data": {{"value": {}}}}}'),
    ],
)
def test_no_format_makes_a_reading_or_a_breach_of_what_is_no_number(name: str, body: str, value: str) -> None:
    found = sent(body.format(value))
    where = "entry.name != 'is_drift'"
    for reading in ({"as": "Value", "aggregate": "Max"}, {"as": "Breach", "aggregate": "Max"}):
        binding = spec(
            MonitorFormat(name), {"indicator": "i", "where": where, **reading}, observedAt={"from": "Received"}
        )
        translation = translate(binding, FORMATS[MonitorFormat(name)].read(found), found)
        assert translation.observations == ()
        assert translation.refusals != ()


@pytest.mark.parametrize(
    ("time", "message"),
    [
        ("2026-11-24T06:00:00", "names no time zone"),
        ("2026-11-30T00:10:00Z", "no time in the future"),
        ("1970-01-01T00:00:00Z", "years 2000 to 2199"),
        (0, "years 2000 to 2199"),
        (1795500000000, "milliseconds must be divided by 1000"),
        ("0001-01-01T00:00:00Z", "years 2000 to 2199"),
        ("2026-02-30T00:00:00Z", "no time of the calendar"),
        ("yesterday", "expected RFC 3339"),
        (True, "found no time"),
        ({}, "found no time"),
        (None, "found no time"),
    ],
)
def test_times_that_cannot_be_are_refused(time: Any, message: str) -> None:
    found = outcome(
        MonitorFormat.GENERIC, sent({"value": 1, "observedAt": time}), observedAt={"from": "Payload"}, timeZone=""
    )
    assert isinstance(found, Translation)
    assert found.observations == ()
    assert message in found.refusals[0].message


def test_three_hundred_alerts_are_too_many() -> None:
    assert "found 300, expected at most 256" in str(outcome(MonitorFormat.ALERTMANAGER, alerts(*[{}] * 300)))


def test_the_same_alert_twice_is_ambiguous_unless_it_is_aggregated() -> None:
    binding = spec(MonitorFormat.ALERTMANAGER, {"indicator": "i", "as": "Breach"})
    found = alerts({}, {})
    translation = translate(binding, FORMATS[MonitorFormat.ALERTMANAGER].read(found), found)
    assert [refusal.reason for refusal in translation.refusals] == [Reason.AMBIGUOUS]


def test_control_characters_of_labels_do_not_reach_a_message() -> None:
    hostile = "\x1b[31m\n\u202e\x00"
    found = alerts({"labels": {hostile: 1}})
    assert "\\x1b" in str(outcome(MonitorFormat.ALERTMANAGER, found))
    outcome(MonitorFormat.ALERTMANAGER, alerts({"labels": {"alertname": hostile, hostile: hostile}}))
    metric = {"id": hostile, "config": {"type": hostile, "column": hostile}, "value": {hostile: hostile}}
    outcome(MonitorFormat.EVIDENTLY, sent({"metrics": [metric], "tests": []}))


@pytest.mark.parametrize("how", ["Max", "Min", "Mean", "Last"])
def test_values_at_the_end_of_what_is_finite_are_aggregated_or_refused(how: str) -> None:
    found = sent([{"value": 1.7e308}, {"value": 1.7e308}])
    binding = spec(MonitorFormat.GENERIC, {"indicator": "i", "aggregate": how}, observedAt={"from": "Received"})
    translation = translate(binding, FORMATS[MonitorFormat.GENERIC].read(found), found)
    assert len(translation.observations) + len(translation.refusals) == 1


def test_body_is_not_looked_through_for_every_entry_of_a_large_payload() -> None:
    found = sent([{"value": 1, "filler": "x" * 3500} for _ in range(256)])
    binding = spec(
        MonitorFormat.GENERIC,
        {"indicator": "i", "where": "size(body) == 1", "aggregate": "Max"},
        observedAt={"from": "Received"},
    )
    translation = translate(binding, FORMATS[MonitorFormat.GENERIC].read(found), found)
    assert any("too large to look at body" in refusal.message for refusal in translation.refusals)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    [
        *("metrics", "tests", "metric", "result", "config", "value", "id", "type", "metric_results", "timestamp"),
        *("data", "meta", "is_drift", "p_val", "distance", "alerts", "version", "status", "labels", "startsAt"),
        *("violations", "constraint_check_type", "detail", "detail-type", "state", "anomaly", "tabularAnomaly"),
        *("specversion", "source", "entity", "action", "chunk_period", "f1_value", "f1_alert", "drift_score", "name"),
    ]
)
VALUES = JSON | st.sampled_from(["1.0", "4", "firing", "analysis", "model_version_alias", "created", 0, 1, "ALARM"])
SHAPED = st.recursive(
    VALUES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)


@given(body=SHAPED, name=st.sampled_from(MonitorFormat))
def test_any_json_is_a_translation_or_malformed(body: Any, name: MonitorFormat) -> None:
    found = sent(json.dumps(body, ensure_ascii=True))
    outcome(name, found)
    outcome(name, found, observedAt={"from": "Payload"})
    detect(found)


@given(body=st.binary(max_size=64) | st.text(max_size=64).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_a_translation_or_malformed(body: bytes) -> None:
    for name in MonitorFormat:
        outcome(name, sent(body))


# --- What each format knows -------------------------------------------------------------------------------------------


def test_event_that_is_sent_twice_in_a_batch_counts_once() -> None:
    content = FORMATS[MonitorFormat.CLOUD_EVENTS].read(load(SAMPLES / "cloudevents/synthetic-batch.json"))
    assert [entry.delivery_id for entry in content.entries] == [f"/monitors/drift {i}" for i in (1, 2, 3, 4)]
    assert content.entries[0].path == "body[0]"


def test_event_of_one_indicator_says_nothing_against_the_others() -> None:
    found = load(SAMPLES / "cloudevents/synthetic-structured.json")
    readings = [{"indicator": "a", "where": "entry.column == 'gender'"}, {"indicator": "b", "where": "false"}]
    binding = spec(MonitorFormat.CLOUD_EVENTS, *readings)
    translation = translate(binding, FORMATS[MonitorFormat.CLOUD_EVENTS].read(found), found)
    assert [one.indicator for one in translation.observations] == ["a"]
    assert translation.refusals == ()


def test_registry_says_the_version_of_the_model_of_the_binding_only() -> None:
    found = load(SAMPLES / "mlflow/synthetic-alias-created.http")
    for model, versions in (("credit-scorer", ["7"]), ("another", [])):
        binding = spec(MonitorFormat.MLFLOW, {"indicator": "i", "where": "false"}, model={"name": model})
        translation = translate(binding, FORMATS[MonitorFormat.MLFLOW].read(found), found)
        assert [version.version for version in translation.versions] == versions
        assert (translation.observations, translation.refusals) == ((), ())


def chunk(**columns: Any) -> dict[str, Any]:
    """A chunk of NannyML, by the names of its columns."""
    times = {"chunk_start_date": "2026-11-17T00:00:00.000", "chunk_end_date": "2026-11-23T23:59:59.000"}
    return {"chunk_period": "analysis", **times, "mae_value": 0.3, **columns}


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-17T00:00:00.000", "2026-11-24T00:00:00.000"),
        (1794873600000, 1795478400000),
        ("2026-11-17", "2026-11-24"),
        ("2026-11-16T23:00:00.000Z", "2026-11-23T23:00:00.000Z"),
    ],
    ids=["text", "milliseconds of to_json", "days of to_csv", "with a zone"],
)
def test_times_that_pandas_writes_are_those_of_the_clock(start: Any, end: Any) -> None:
    found = sent([chunk(chunk_start_date=start, chunk_end_date=end)])
    binding = spec(MonitorFormat.NANNYML, timeZone="Europe/Berlin")
    [one] = translate(binding, FORMATS[MonitorFormat.NANNYML].read(found), found).observations
    assert (format_time(one.observed_at), one.window) == ("2026-11-23T23:00:00Z", "7d")


def test_only_what_has_a_realized_value_beside_it_is_estimated() -> None:
    bounds = {"mae_sampling_error": 0.1, "mae_upper_confidence_boundary": 0.6, "mae_lower_confidence_boundary": 0.0}
    found = sent([chunk(**bounds), chunk(**bounds, mae_realized=None)])
    entries = FORMATS[MonitorFormat.NANNYML].read(found).entries
    assert [entry.estimated for entry in entries] == [False, True]


@pytest.mark.parametrize(
    "body",
    ["chunk,chunk,mae\nkey,period,value\n[0:9],analysis,0.3\n", "[{\"('mae', 'value')\": 0.3}]"],
    ids=["csv", "json"],
)
def test_table_of_several_levels_is_refused_with_what_to_do(body: str) -> None:
    assert "to_df gives with multilevel=False" in str(outcome(MonitorFormat.NANNYML, sent(body)))


def test_what_is_measured_by_group_is_told_apart() -> None:
    def by_gender(kind: str, column: str, label: str, value: Any) -> dict[str, Any]:
        inner = {"type": f"evidently:metric_v2:{kind}", "column": column}
        config = {"type": "evidently:metric_v2:GroupByMetric", "metric": inner, "column_name": "sex", "label": label}
        return {"id": f"{kind}{column}{label}", "metric_name": "GroupByMetric", "config": config, "value": value}

    metrics = [
        by_gender("MeanValue", "score", "f", 0.7),
        by_gender("MeanValue", "score", "m", 0.9),
        by_gender("MeanValue", "income", "m", 80.0),
        by_gender("StdValue", "income", "m", 20.0),
        by_gender("MissingValueCount", "income", "m", {"count": 3, "share": 0.1}),
    ]
    entries = FORMATS[MonitorFormat.EVIDENTLY].read(sent({"metrics": metrics})).entries
    assert [(entry.method, entry.column, entry.fields["member"], entry.direction.value) for entry in entries] == [
        ("MeanValue", "score", "sex=f", "Unknown"),
        ("MeanValue", "score", "sex=m", "Unknown"),
        ("MeanValue", "income", "sex=m", "Unknown"),
        ("StdValue", "income", "sex=m", "Unknown"),
        ("MissingValueCount", "income", "sex=m.count", "HighIsBad"),
        ("MissingValueCount", "income", "sex=m.share", "HighIsBad"),
    ]
    assert len({where(entry) for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    ("kind", "direction"),
    [
        *((kind, "LowIsBad") for kind in ("InRangeValueCount", "InListValueCount")),
        *((kind, "HighIsBad") for kind in ("OutRangeValueCount", "DatasetMissingValueCount")),
        ("CategoryCount", "Unknown"),
    ],
)
def test_direction_of_a_share_depends_on_what_it_is_a_share_of(kind: str, direction: str) -> None:
    value = {"count": 3, "share": 0.1}
    metric = {"id": "a", "metric_name": kind, "config": {"type": f"evidently:metric_v2:{kind}"}, "value": value}
    entries = FORMATS[MonitorFormat.EVIDENTLY].read(sent({"metrics": [metric]})).entries
    assert {entry.direction.value for entry in entries} == {direction}


def test_reference_data_of_an_old_report_are_no_measurement() -> None:
    bias = {"income": {"current_range": 9.2, "ref_range": 1.6}}
    metric = {"metric": "RegressionQualityMetric", "result": {"error_bias": bias, "reference": {"rmse": 1.0}}}
    entries = FORMATS[MonitorFormat.EVIDENTLY].read(sent({"metrics": [metric]})).entries
    assert [entry.fields["member"] for entry in entries] == ["error_bias.income.current_range"]


@pytest.mark.parametrize(
    ("method", "direction"),
    [
        *((method, "LowIsBad") for method in ("ks", "K-S p_value", "chi-square p_value", "Z-test p_value", "anderson")),
        *((method, "LowIsBad") for method in ("fisher_exact", "t_test", "mannw", "es", "cramer_von_mises", "g_test")),
        *((method, "LowIsBad") for method in ("TVD", "empirical_mmd", "Accuracy", "roc_auc", "F1Score", "R2Score")),
        *((method, "HighIsBad") for method in ("psi", "PSI", "Wasserstein distance (normed)", "kl_div", "hellinger")),
        *((method, "HighIsBad") for method in ("Jensen-Shannon distance", "jensenshannon", "ed", "mae", "LogLoss")),
        *((method, "HighIsBad") for method in ("chi2", "l_infinity", "domain_classifier_auroc")),
        *((method, "BothAreBad") for method in ("trustyai_spd", "DIR")),
        *((method, "Unknown") for method in ("", "trustyai_kstest", "MeanValue", "something_new")),
    ],
)
def test_direction_depends_on_the_method(method: str, direction: str) -> None:
    assert known(method).direction.value == direction
