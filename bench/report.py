"""Samples to medians, medians to a table, and the aims next to them."""

from __future__ import annotations

import math
import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from typing import Any, Literal

OPERATOR, FLOOR = "operator", "floor"
ONE_WRITE = "floor of one write"
Relation = Literal["", "floor", "idle", "unlocked"]


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    key: str
    title: str
    unit: str = "ms"
    aim: float | None = None
    """Not more than this; with `of`, a multiple of it."""
    of: Relation = ""
    """What the aim is a multiple of: the floor's value, the operator's own idle p99, or the same where no model is
    held, which takes the floor's column."""


LOCK_STEPS = (0, 60, 300, 1000)
"""How many models are contained in the namespace where others write."""

TAKEOVER_LATENCIES = {0: 3.0, 300: 10.0}
"""Milliseconds that every request takes longer, and the aim for a takeover, in seconds."""

LOCKED = {
    "update": ("update of an unrelated Deployment", 1.3),
    "create": ("CREATE of an unrelated Deployment", 2.0),
    "scale": ("/scale of an unrelated Deployment", 2.0),
}
"""What others write there, and the aim for it, as a multiple of what it costs with none contained."""


def _locked(what: str, step: int) -> Measure:
    title, aim = LOCKED[what]
    title = f"API server CPU, {title}, {step} contained"
    return Measure(f"lock_{what}_{step}", title, aim=aim if step else None, of="unlocked" if step else "")


MEASURES = (
    Measure("idle_p50", "one breach at a time, p50", aim=0.8, of="floor"),
    Measure("idle_p99", "one breach at a time, p99", aim=1.0, of="floor"),
    Measure("one_write_p50", "the same, floor of one write, p50"),
    Measure("one_write_p99", "the same, floor of one write, p99"),
    Measure("burst_p50", "burst, p50"),
    Measure("burst_p99", "burst, p99"),
    Measure("burst_last", "burst, first signal to last model stopped", "s", aim=0.7, of="floor"),
    Measure("one_write_last", "the same, floor of one write", "s"),
    Measure("burst_rate", "burst, models stopped per second", "1/s"),
    Measure("burst_sending", "burst, time in which the signals were written", "s"),
    Measure("burst_trail", "burst, first signal to trail complete", "s"),
    Measure("priority_p50", "breach among baseline updates, p50"),
    Measure("priority_p99", "breach among baseline updates, p99", aim=3.0, of="idle"),
    Measure("cold_ready", "first start on standing signals, ready", "s"),
    Measure("cold_breach", "first start, breach of before it contained", "s"),
    Measure("cold_current", "first start, every signal judged and written", "s"),
    Measure("restart_ready", "restart on judged signals, ready", "s"),
    Measure("restart_breach", "restart, breach of before it contained", "s"),
    Measure("restart_writes", "restart, statuses written of standing signals", "", aim=0),
    Measure("requests_before", "requests until the model is stopped (audit log)", ""),
    Measure("writes_before", "writes until the model is stopped (audit log)", "", aim=1),
    Measure("requests_total", "requests per breach, in all (audit log)", ""),
    Measure("writes_total", "writes per breach, in all (audit log)", "", aim=10),
    Measure("burst_writes", "writes per breach in a burst (operator's metrics)", ""),
    Measure("burst_writes_served", "writes per breach in a burst (API server's metrics)", ""),
    Measure("idle_cpu", "CPU per breach, one at a time, leases included"),
    Measure("burst_cpu", "CPU per breach in a burst, trail included", aim=10),
    Measure("burst_api_cpu", "API server CPU per breach in a burst, trail and controllers included", aim=30),
    Measure("rss_base", "memory after one breach, without standing signals", "MiB"),
    Measure("rss_standing", "memory after one breach, with standing signals", "MiB", aim=130),
    Measure("rss_peak", "largest memory of a start among 20,000 ReplicaSets", "MiB", aim=250),
    Measure("rss_first", "memory per standing signal, after the first start", "KiB", aim=3),
    Measure("rss_restart", "memory per standing signal, after a restart", "KiB", aim=3),
    Measure("quiet_cpu", "CPU while nothing happens", "ms/s"),
    Measure("quiet_leases", "writes of the Lease while nothing happens", ""),
    Measure("quiet_writes", "other writes while nothing happens", "", aim=0),
    *(
        Measure(f"takeover_{late}", f"killed, to the next model stopped by another, {late} ms a request", "s", aim=aim)
        for late, aim in TAKEOVER_LATENCIES.items()
    ),
    Measure(
        "ingest_p50", "alert over HTTP, to the model stopped, p50 (floor: its signal written directly)", of="floor"
    ),
    Measure("ingest_p99", "the same, p99", of="floor"),
    Measure("ingest_rate", "bodies taken per second, of 500 sent", "1/s", aim=None),
    Measure("ingest_answer_p50", "from such a body to its answer, p50"),
    Measure("ingest_answer_p99", "from such a body to its answer, p99"),
    Measure("ingest_refused", "bodies asked to come back", ""),
    Measure("ingest_cpu", "CPU of ingest per body"),
    Measure("ingest_rss", "largest memory of ingest", "MiB"),
    Measure("poll_spread", "one query for 1,000 models, first to last signal written", "s", aim=15),
    Measure("poll_cpu", "CPU of poll per reading"),
    *(_locked(what, step) for what in LOCKED for step in LOCK_STEPS),
    Measure("missed", "breaches not contained in time", "", aim=0),
)


@dataclass(slots=True)
class Results:
    """Every measure of every round."""

    samples: dict[str, dict[str, list[float]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, key: str, contender: str, value: float) -> None:
        assert any(measure.key == key for measure in MEASURES), key
        self.samples[key][contender].append(value)

    def add_latencies(self, prefix: str, contender: str, seconds: Iterable[float | None]) -> None:
        """Add p50 and p99 in milliseconds, and how many there was nothing to measure of."""
        values = list(seconds)
        self.add("missed", contender, sum(value is None for value in values))
        self.add_percentiles(prefix, contender, values)

    def add_percentiles(self, prefix: str, contender: str, seconds: Iterable[float | None]) -> None:
        """Add p50 and p99 in milliseconds of what was measured already."""
        known = [value * 1000 for value in seconds if value is not None]
        if known:
            self.add(f"{prefix}_p50", contender, percentile(known, 50))
            self.add(f"{prefix}_p99", contender, percentile(known, 99))

    def value(self, key: str, contender: str) -> float | None:
        """Return the median of the rounds; of what was missed, the sum."""
        found = self.samples.get(key, {}).get(contender)
        if not found:
            return None
        return float(sum(found)) if key == "missed" else float(median(found))

    def judge(self, measure: Measure) -> tuple[float | None, bool | None]:
        """Return the ratio that the aim is about (or to the floor, where there is one), and whether the aim is met."""
        mine, floor = self.value(measure.key, OPERATOR), self.value(measure.key, FLOOR)
        if mine is None:
            return None, None
        base = self.value("idle_p99", OPERATOR) if measure.of == "idle" else floor
        ratio = mine / base if base else None
        if measure.aim is None:
            return ratio, None
        if not measure.of:
            return ratio, mine <= measure.aim
        return ratio, None if ratio is None else ratio <= measure.aim

    def document(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything, for other programs."""
        measures = {}
        for measure in MEASURES:
            ratio, met = self.judge(measure)
            measures[measure.key] = {
                "title": measure.title,
                "unit": measure.unit,
                "aim": measure.aim,
                "aimOf": measure.of or None,
                "ratio": ratio,
                "met": met,
                **{
                    contender: {"median": self.value(measure.key, contender), "rounds": rounds}
                    for contender, rounds in self.samples.get(measure.key, {}).items()
                },
            }
        return {"settings": dict(settings), "machine": machine(), "measures": measures}

    def table(self) -> str:
        """Return a Markdown table. In brackets the smallest and the largest round."""
        rows = [("", "operator", "floor", "ratio", "aim", "")]
        for measure in MEASURES:
            if not self.samples.get(measure.key):
                continue
            ratio, met = self.judge(measure)
            unit = f" ({measure.unit})" if measure.unit else ""
            rows.append(
                (
                    measure.title + unit,
                    self._cell(measure.key, OPERATOR),
                    self._cell(measure.key, FLOOR),
                    f"{ratio:.2f}{' of idle' if measure.of == 'idle' else ''}" if ratio is not None else "",
                    _aim(measure),
                    {True: "met", False: "**missed**", None: ""}[met],
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = [_line(row, widths) for row in rows]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        return "\n".join(lines)

    def _cell(self, key: str, contender: str) -> str:
        value = self.value(key, contender)
        if value is None:
            return ""
        rounds = self.samples[key][contender]
        if len(rounds) == 1 or min(rounds) == max(rounds) or key == "missed":
            return _number(value)
        return f"{_number(value)} [{_number(min(rounds))}, {_number(max(rounds))}]"


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile by nearest rank: a value that really occurred."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def machine() -> dict[str, Any]:
    """Return where and when it was measured."""
    model = next(
        (line.partition(":")[2].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")),  # noqa: SIM115, PTH123
        platform.processor(),
    )
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _aim(measure: Measure) -> str:
    if measure.aim is None:
        return ""
    if measure.of:
        of = {"floor": "floor", "idle": "idle p99", "unlocked": "none"}[measure.of]
        return f"<= {measure.aim:g} x {of}"
    return f"<= {measure.aim:g}"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e6:
        return str(int(value))
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return f"| {first[0]:<{first[1]}} | " + " | ".join(f"{cell:>{width}}" for cell, width in rest) + " |"
