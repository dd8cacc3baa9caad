"""What becomes of each sample, as a table: its entries, and the readings and refusals where each of them is bound."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from riskladder.api.base import format_time
from riskladder.api.binding import MonitorBindingSpec, MonitorFormat
from riskladder.cli.bind.sample import delivery
from riskladder.cli.bind.write import where
from riskladder.monitors.entries import Content, Delivery, Direction
from riskladder.monitors.formats import FORMATS, detect
from riskladder.monitors.payload import Malformed
from riskladder.monitors.translate import translate

SAMPLES, EXPECTED = Path(__file__).parent / "samples", Path(__file__).parent / "expected"
RECEIVED = datetime(2026, 11, 30, tzinfo=UTC)


def samples() -> list[Path]:
    return sorted(path for path in SAMPLES.glob("*/*") if path.is_file())


def load(path: Path) -> Delivery:
    return delivery(str(path), (), RECEIVED)


def spec(format_: MonitorFormat, *readings: dict[str, Any], **more: Any) -> MonitorBindingSpec:
    """A binding, of which only the readings matter."""
    return MonitorBindingSpec.model_validate(
        {
            "format": format_,
            "ladder": "credit-scoring",
            "target": {"kind": "Deployment", "name": "credit-scorer"},
            "source": "monitor",
            "serviceAccount": "monitor",
            "sender": {"audienceToken": {}},
            "readings": readings or ({"indicator": "any", "aggregate": "Max"},),
            "timeZone": "Europe/Berlin",
            **more,
        }
    )


def binding_of(format_: MonitorFormat, content: Content) -> MonitorBindingSpec:
    """A binding with a reading for each kind of entry, even those that are none."""
    found: dict[str, bool] = {}
    for entry in content.entries:
        found.setdefault(where(entry), entry.value is None and entry.firing is not None)
    has_time = any(entry.at is not None for entry in content.entries)
    readings = [
        {"indicator": f"i{number}", "where": expression, "as": "Breach" if breach else "Value", "aggregate": "Max"}
        for number, (expression, breach) in enumerate(found.items())
        if expression != "true" or len(found) == 1
    ]
    return spec(format_, *readings[:32], observedAt={"from": "Payload" if has_time else "Received"})


def table(path: Path) -> str:
    found = load(path)
    name = detect(found)
    return "\n".join([f"{name}", *_lines(name, found)]) + "\n"


def _lines(name: MonitorFormat, found: Delivery) -> Iterator[str]:
    try:
        content = FORMATS[name].read(found)
    except Malformed as error:
        yield f"malformed: {error}"
        return
    for entry in content.entries:
        said = {
            "name": entry.name,
            "column": entry.column,
            "method": entry.method,
            "member": entry.fields.get("member"),
            "firing": entry.firing,
            "samples": entry.samples,
            "estimated": entry.estimated or None,
            "version": entry.version,
            "direction": None if entry.direction is Direction.UNKNOWN else entry.direction.value,
            "range": None if entry.range == (None, None) else entry.range,
        }
        yield f"{entry.path}: " + ", ".join(f"{key} {value}" for key, value in said.items() if value not in (None, ""))
    translation = translate(binding_of(name, content), content, found)
    yield ""
    for one in translation.observations:
        yield f"reading {one.indicator} = {one.value!r} at {format_time(one.observed_at)} ({one.path}), back {one.back}"
    for version in translation.versions:
        yield f"version {version.version} of {version.name}, alias {version.alias}"
    for refusal in translation.refusals:
        yield f"refused {refusal.indicator or '-'} at {refusal.path}: {refusal.reason}: {refusal.message}"


def expected(path: Path) -> Path:
    return EXPECTED / path.parent.name / f"{path.name}.txt"


if __name__ == "__main__":
    for sample in samples():
        target = expected(sample)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(table(sample), "utf-8")
