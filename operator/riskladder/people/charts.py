"""Drawings of an escalation as inline SVG: no script, no font and no file of anybody else's. Pure.

Colours are CSS variables with a default, so that a page decides about light and dark: ``--ink``, ``--soft``,
``--line``, ``--high``, ``--mod``, ``--ok``. Whoever cannot see a drawing is told the same in words by its label.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from riskladder.api.text import length, listed, one_line

PALETTE = {
    "ink": "#1b1f24",
    "soft": "#5b6571",
    "line": "#d5dae0",
    "high": "#b42318",
    "mod": "#b45309",
    "ok": "#1a7f4b",
}
"""The colours where a page sets none: those of paper."""

_VARIABLE = re.compile(r"var\(--[a-z]+, (#[0-9a-f]{6})\)")
_FONT = 'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif"'
_WIDTH, _LEFT, _RIGHT = 720, 64, 16
_LABEL, _LINE = 170.0, 12.0
"""Room of the words at a threshold."""
_TICKS = (
    (0.0, "opened"),
    (1.0, "1 s"),
    (60.0, "1 min"),
    (3_600.0, "1 h"),
    (86_400.0, "1 d"),
    (2_592_000.0, "30 d"),
    (31_536_000.0, "1 y"),
)


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time."""

    at: datetime
    value: float
    note: str = ""
    """What it did, in a word or two."""
    is_breach: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """A line that a value is judged by."""

    name: str
    value: float
    side: str = "above"
    """On which side of it is a breach."""
    severe: bool = True
    """Whether it is drawn as that of a severe tier."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened, on a lane of a timeline."""

    at: datetime
    lane: str
    label: str
    kind: str = "ink"
    """Its colour, by the name of the variable."""
    until: datetime | None = None
    """End of something that lasts."""


def colour(name: str) -> str:
    """Return a colour as the variable of that name, with its default."""
    return f"var(--{name}, {PALETTE[name]})"


def on_paper(svg: str) -> str:
    """Return the drawing with the default colours in place of variables, for what knows none."""
    return _VARIABLE.sub(r"\1", svg)


# --- Readings ---------------------------------------------------------------------------------------------------------


def readings_chart(points: Iterable[Point], thresholds: Iterable[Threshold] = (), *, title: str, unit: str = "") -> str:
    """Return the readings of one indicator against its thresholds, over time.

    Args:
        points: What was measured.
        thresholds: The lines that it is judged by.
        title: Name of the indicator.
        unit: Of the values.
    """
    found, lines = sorted(points, key=lambda p: p.at), list(thresholds)
    top, bottom, height = 30, 168, 200
    low, high = _range([p.value for p in found] + [t.value for t in lines])
    begin, end = _span([p.at for p in found])

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    def x(at: datetime) -> float:
        whole = (end - begin).total_seconds()
        part = (at - begin).total_seconds() / whole if whole else 0.5
        return _LEFT + 170 + part * (_WIDTH - _LEFT - _RIGHT - 250)

    parts = [_text(_LEFT, 16, f"{title}{f' in {unit}' if unit else ''}", "ink", weight="600")]
    for value in (low, (low + high) / 2, high):
        parts.append(_line(_LEFT, y(value), _WIDTH - _RIGHT, y(value), "line"))
        parts.append(_text(_LEFT - 8, y(value) + 4, _number(value), "soft", anchor="end"))
    places: list[tuple[float, float]] = []
    for line in lines:
        kind = "high" if line.severe else "mod"
        parts.append(_line(_LEFT, y(line.value), _WIDTH - _RIGHT, y(line.value), kind, dashed=True))
        words = f"{line.name}: {line.side} {_number(line.value)}"
        place = (_LEFT + 6.0, y(line.value) - 5)
        while any(abs(place[0] - x_) < _LABEL and abs(place[1] - y_) < _LINE for x_, y_ in places):
            place = (place[0] + _LABEL, place[1])  # beside a line that is close by, not over its words
        places.append(place)
        parts.append(_text(*place, words, kind))
    if len(found) > 1:
        path = " ".join(f"{x(p.at):.1f},{y(p.value):.1f}" for p in found)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour("soft")}" stroke-width="1.5"/>')
    for point in found:
        kind = "high" if point.is_breach else "ok"
        parts.append(
            f'<circle cx="{x(point.at):.1f}" cy="{y(point.value):.1f}" r="5" fill="{colour(kind)}">'
            f"<title>{_escaped(_point(point))}</title></circle>"
        )
        parts.append(_text(x(point.at) + 9, y(point.value) + 4, _number(point.value), "ink", weight="600"))
    for at in dict.fromkeys(p.at for p in (found[0], found[-1])) if found else ():
        parts.append(_text(x(at), height - 12, at.astimezone(UTC).strftime("%Y-%m-%d %H:%M"), "soft", anchor="middle"))
    return _svg(parts, height, _readings_in_words(found, lines, title))


def _readings_in_words(points: Sequence[Point], thresholds: Sequence[Threshold], title: str) -> str:
    said = listed(f"{_number(p.value)} {_point(p)}" for p in points) or "no reading on record"
    lines = listed(f"{t.name} {t.side} {_number(t.value)}" for t in thresholds)
    return f"Readings of {title}: {said}" + (f". Thresholds: {lines}" if lines else ". No threshold on record")


def _point(point: Point) -> str:
    note = f" ({point.note})" if point.note else ""
    return f"at {point.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{note}"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return a range with room above and below, and never without any."""
    finite = [value for value in values if math.isfinite(value) and abs(value) < 1e300]
    low, high = min(finite, default=0.0), max(finite, default=1.0)
    room = (high - low) * 0.15 or abs(high) * 0.15 or 0.5
    return (0.0 if 0 <= low < room * 14 else low - room), high + room


def _span(times: Sequence[datetime]) -> tuple[datetime, datetime]:
    return (min(times), max(times)) if times else (datetime(1970, 1, 1, tzinfo=UTC),) * 2


# --- What happened ----------------------------------------------------------------------------------------------------


def timeline_chart(marks: Iterable[Mark], *, opened: datetime, title: str) -> str:
    """Return what happened, in lanes, by the time since the opening: its scale gives every unit of time as much room.

    Args:
        marks: What happened, in any order.
        opened: When it began.
        title: What it is about.
    """
    found = sorted(marks, key=lambda mark: mark.at)
    lanes = list(dict.fromkeys(mark.lane for mark in found))
    left, top, step = 108, 40, 34
    bottom = top + step * max(len(lanes), 1)
    longest = max([(mark.until or mark.at) - opened for mark in found] or [timedelta(0)])
    whole = _logarithm(max(longest.total_seconds(), 60.0)) * 1.02

    def x(at: datetime) -> float:
        return left + _logarithm((at - opened).total_seconds()) / whole * (_WIDTH - left - _RIGHT - 8)

    parts = [_text(0, 14, title, "ink", weight="600")]
    for seconds, name in _TICKS:
        if _logarithm(seconds) <= whole:
            tick = x(opened + timedelta(seconds=seconds))
            parts.append(_line(tick, top - 10, tick, bottom - 8, "line"))
            parts.append(_text(tick, bottom + 8, name, "soft", anchor="middle" if seconds else "start"))
    for number, lane in enumerate(lanes):
        middle = top + step * number + step / 2 - 8
        parts.append(_text(0, middle + 4, lane, "soft"))
        parts.append(_line(left, middle, _WIDTH - _RIGHT, middle, "line"))
        for mark in (m for m in found if m.lane == lane):
            parts.append(_mark(mark, x, middle))
    return _svg(parts, bottom + 18, _timeline_in_words(found, opened, title))


def _mark(mark: Mark, x: Callable[[datetime], float], middle: float) -> str:
    place = x(mark.at)
    said = f"<title>{_escaped(mark.label)}</title>"
    if mark.until is not None:
        wide = max(x(mark.until) - place, 2.0)
        return (
            f'<rect x="{place:.1f}" y="{middle - 5:.1f}" width="{wide:.1f}" height="10" rx="3" '
            f'fill="{colour(mark.kind)}" fill-opacity="0.35">{said}</rect>'
        )
    return f'<circle cx="{place:.1f}" cy="{middle:.1f}" r="5" fill="{colour(mark.kind)}">{said}</circle>'


def _timeline_in_words(marks: Sequence[Mark], opened: datetime, title: str) -> str:
    said = [f"{mark.label} {_since(mark.at - opened)}" for mark in marks[:40]]
    more = f"; and {len(marks) - 40} more" if len(marks) > 40 else ""
    return f"{title}: {'; '.join(said) or 'nothing on record'}{more}"


def _since(delta: timedelta) -> str:
    if abs(delta) < timedelta(seconds=1):
        return f"after {max(round(delta / timedelta(milliseconds=1)), 0)} ms"
    return f"after {length(delta)}" if delta > timedelta(0) else f"{length(-delta)} before"


def _logarithm(seconds: float) -> float:
    return math.log10(1 + max(seconds, 0.0) * 10)


# --- Parts ------------------------------------------------------------------------------------------------------------


def _svg(parts: Iterable[str], height: float, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="100%" role="img" '
        f'aria-label="{_escaped(label)}" {_FONT} font-size="12">{"".join(parts)}</svg>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str, *, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    places = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {places} stroke="{colour(kind)}" stroke-width="1"{dash}/>'


def _text(x: float, y: float, text: str, kind: str, *, anchor: str = "start", weight: str = "400") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour(kind)}" text-anchor="{anchor}" font-weight="{weight}">'
        f"{_escaped(one_line(text, 60))}</text>"
    )


def _escaped(text: str) -> str:
    return escape(one_line(text))


def _number(value: float) -> str:
    return f"{value:.4g}"
