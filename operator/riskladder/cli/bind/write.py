"""Writes a MonitorBinding as YAML with comments. Nothing of a sample gets into it that is not quoted and visible."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from riskladder.api.base import API_VERSION
from riskladder.api.binding import MonitorFormat
from riskladder.api.signal import MAX_READINGS
from riskladder.api.text import one_line, plain
from riskladder.monitors.entries import Content, Direction, Entry
from riskladder.monitors.methods import known

PLACEHOLDER = "CHANGE-ME"
"""What a user must choose: no name that the API server takes."""
_SIDES = {
    Direction.HIGH_IS_BAD: "bad when high",
    Direction.LOW_IS_BAD: "bad when low",
    Direction.BOTH_ARE_BAD: "bad on both sides",
}
_ZONED = re.compile(r"(Z|z|UTC|[+-]\d{2}:?\d{2})$")
_LONGEST = 1024
"""Characters of an expression, at most."""


class NothingToBind(ValueError):  # noqa: N818 - reads as a sentence at the call site
    """A sample without any value that may become a reading."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user has chosen already."""

    name: str | None = None
    ladder: str | None = None
    kind: str = "Deployment"
    target: str | None = None
    source: str | None = None
    service_account: str | None = None


def written(format_: MonitorFormat, content: Content, choices: Choices) -> str:
    """Return the binding.

    Raises:
        NothingToBind: There is no value that may become a reading.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in content.entries:
        if not entry.no_reading:
            groups.setdefault(where(entry), []).append(entry)
    if not groups:
        why = next((entry.no_reading for entry in content.entries), "it is empty")
        raise NothingToBind(f"holds no value that may become a reading: {why}")
    return "\n".join(_lines(format_, content, groups, choices)) + "\n"


def where(entry: Entry) -> str:
    """Return the expression that is true for an entry, and for what is like it in the next payload."""
    asked = [("entry.name", entry.name), ("entry.column", entry.column), ("entry.method", entry.method)]
    member = entry.fields.get("member")
    if isinstance(member, str):
        asked.append(("entry.fields.member", member))
    return " && ".join(f"{field} == {_quoted(text)}" for field, text in asked if text) or "true"


def _quoted(text: str) -> str:
    """Return a text of CEL; what cannot be seen, or is no character, is escaped: the API server refuses it."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub("[\ufffd-\uffff]", lambda found: f"\\u{ord(found[0]):x}", plain(escaped)) + '"'


def _lines(format_: MonitorFormat, content: Content, groups: dict[str, list[Entry]], choices: Choices) -> Iterator[str]:
    yield f"apiVersion: {API_VERSION}"
    yield "kind: MonitorBinding"
    yield "metadata:"
    yield _chosen(2, "name", choices.name)
    yield "spec:"
    yield f"  format: {format_}"
    yield _chosen(2, "ladder", choices.ladder, "the EscalationLadder, in the same namespace")
    yield f"  target: {{kind: {_scalar(choices.kind)}, name: {_scalar(choices.target or PLACEHOLDER)}}}" + (
        "" if choices.target else "  # the workload that serves the model; or targetFrom"
    )
    yield _chosen(2, "source", choices.source, "who reports; one of trustedSources of the ladder")
    yield _chosen(2, "serviceAccount", choices.service_account or choices.source, "under whose name it is written")
    yield "  sender: {audienceToken: {}}  # or hmac, for a monitor that signs"
    yield from _time(content)
    yield "  readings:"
    names: set[str] = set()
    for number, (expression, entries) in enumerate(groups.items()):
        too_many, too_long = number >= MAX_READINGS, len(expression) > _LONGEST
        if too_many or too_long:
            why = f"more than {MAX_READINGS} readings" if too_many else f"longer than {_LONGEST} characters"
            yield f"  # Left out ({why}): {one_line(entries[0].path, 80)}"
            continue
        yield from _reading(expression, entries, _indicator(entries[0], names))


def _chosen(indent: int, field: str, value: str | None, what: str = "") -> str:
    comment = f"  # {what}" if what and value is None else ""
    return f"{' ' * indent}{field}: {_scalar(value or PLACEHOLDER)}{comment}"


def _scalar(text: str) -> str:
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9.-]*", text) else json.dumps(plain(text), ensure_ascii=False)


def _time(content: Content) -> Iterator[str]:
    times = [entry.at for entry in content.entries if not entry.no_reading]
    if all(at is None for at in times):
        yield "  observedAt: {from: Received}  # the payload says no time; better a header that does"
    elif any(isinstance(at, str) and not _ZONED.search(at.strip()) for at in times):
        yield f"  timeZone: {PLACEHOLDER}  # of the times of the payload, such as Europe/Berlin"


def _reading(expression: str, entries: Sequence[Entry], indicator: str) -> Iterator[str]:
    first = entries[0]
    said = "; ".join(_said(entries))
    yield f"  # {one_line(first.path, 80)}" + (f": {said}" if said else "")
    yield f"  - indicator: {indicator}"
    if expression != "true":
        yield f"    where: '{expression.replace(chr(39), chr(39) * 2)}'"
    if first.value is None and first.firing is not None:
        yield "    as: Breach  # without a number: 1 while it fires, 0 once it does not"
    elif first.value is None:
        yield f"    pick: entry.fields.{PLACEHOLDER.replace('-', '_')}  # the value; {_fields(first)}"


def _said(entries: Sequence[Entry]) -> Iterator[str]:
    """Yield what the format knows of a value."""
    first = entries[0]
    least, most = first.range
    if side := _SIDES.get(first.direction):
        fair = known(first.method, first.name).fair
        yield side if fair is None else f"fair at {fair:g}, {side}"
    if least is not None and most is not None:
        yield f"from {least:g} to {most:g}"
    elif least is not None:
        yield f"at least {least:g}"
    elif most is not None:
        yield f"at most {most:g}"
    if first.estimated:
        yield "an estimate without the truth"
    times = [entry.at for entry in entries]
    if len(set(map(str, times))) < len(times):
        differing = sorted({key for entry in entries for key in entry.labels if _differs(key, entries)})[:6]
        by = f" by entry.labels ({one_line(', '.join(differing), 120)}), or use targetFrom," if differing else ","
        yield f"{len(entries)} of one time: narrow where{by} or say how to aggregate"


def _differs(label: str, entries: Sequence[Entry]) -> bool:
    return len({entry.labels.get(label) for entry in entries}) > 1


def _fields(entry: Entry) -> str:
    names = [name for name in entry.fields if re.fullmatch(r"[A-Za-z_]\w{0,40}", name, re.ASCII)]
    return "fields: " + (", ".join(names[:8]) or "none")


def _indicator(entry: Entry, taken: set[str]) -> str:
    """Return a name for an indicator that no other reading has."""
    member = entry.fields.get("member")
    parts = [entry.name.rpartition(".")[2], entry.column, member if isinstance(member, str) else ""]
    words = "_".join(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", part) for part in parts if part)
    stem = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:56].rstrip("_") or "value"
    stem = stem if stem[0].isalpha() else f"value_{stem}"
    name, number = stem, 2
    while name in taken:
        name, number = f"{stem}_{number}", number + 1
    taken.add(name)
    return name
