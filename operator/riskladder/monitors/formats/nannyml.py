"""Results of NannyML as a table: ``result.to_df(multilevel=False)``, written as JSON records or as CSV.

Each row is a chunk, and each group of columns with a known suffix is a metric; ``chunk_end_date`` is when it was
observed, without a time zone (``timeZone`` of the binding). Rows of the reference period are what the thresholds come
from, and no measurements. What is estimated without the truth, as by CBPE and DLE, has a column for the realized value
beside it; that, once there is one, is a metric of its own: ``roc_auc_realized``. What is measured may have confidence
boundaries as well, as an average has.

pandas writes a time without a zone as a number of milliseconds (``to_json``), and as a day where all of a column are
midnight (``to_csv``). Both mean what the same time means as text: one on the clock of the monitor.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from riskladder.monitors.entries import Content, Delivery, Entry, Format
from riskladder.monitors.methods import known
from riskladder.monitors.payload import (
    MAX_ENTRIES,
    MAX_VALUES,
    Malformed,
    TooLarge,
    bounded,
    count_in,
    decode,
    is_number,
    member,
    shown,
    text_of,
)

_FLAT = "what to_df gives with multilevel=False"
_VALUE, _REALIZED, _ALERT = "_value", "_realized", "_alert"
_LIMITS = ("upper_threshold", "lower_threshold", "sampling_error")
_METHODS = ("jensen_shannon", "kolmogorov_smirnov", "hellinger", "wasserstein", "chi2", "l_infinity")
_PERIODS = ("analysis", "reference")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_FIRST_MILLISECONDS, _END_MILLISECONDS = 10**11, 10**13
"""A number in between is one of milliseconds, from 1973 to 2286, and far too large for seconds."""
_NOT_FINITE = {"nan": "nan", "inf": "inf", "-inf": "-inf"}
_Row = Mapping[str, Any]


def read(delivery: Delivery) -> Content:
    """Return the metrics of each chunk of the analysis period."""
    text = text_of(delivery.raw)
    is_csv = delivery.headers.get("content-type", "").startswith("text/csv") or text.lstrip()[:1] not in ("[", "{")
    body = None if is_csv else decode(delivery.raw)
    rows = _of_csv(text) if is_csv else _of_records(body)
    entries = [entry for path, row in rows for entry in _entries(path, row)]
    return Content(bounded(entries, "rows", MAX_VALUES), body)


# --- Rows -------------------------------------------------------------------------------------------------------------


def _of_records(body: Any) -> list[tuple[str, _Row]]:
    rows = bounded(member(body, "body", list, 'a list of rows (to_json with orient="records")'), "body")
    return [(f"row {i}", member(row, f"row {i}", dict, "a row")) for i, row in enumerate(rows)]


def _of_csv(text: str) -> list[tuple[str, _Row]]:
    try:
        table = csv.reader(io.StringIO(text.replace("\0", "\N{SYMBOL FOR NULL}"), newline=""), strict=True)
        heading = next(table)
        if len(set(heading)) < len(heading):
            twice = Counter(heading).most_common(1)[0][0]
            raise Malformed(f"line 1: found the column {twice[:64]!r} twice, expected {_FLAT}")
        rows: list[tuple[str, _Row]] = []
        for cells in table:
            if len(cells) != len(heading):
                raise Malformed(f"line {table.line_num}: found {len(cells)} cells, expected {len(heading)}")
            if len(rows) == MAX_ENTRIES:
                raise TooLarge(f"rows: found more than {MAX_ENTRIES}, expected at most {MAX_ENTRIES}")
            rows.append((f"row {len(rows)}", {k: _cell(cell) for k, cell in zip(heading, cells, strict=True)}))
    except (csv.Error, StopIteration) as error:
        raise Malformed(f"found no CSV with a heading: {error}") from error
    return rows


def _cell(text: str) -> Any:
    """Return a cell of CSV as the JSON value that it is written for."""
    if not text:
        return None
    if text in ("True", "False"):
        return text == "True"
    if _NUMBER.fullmatch(text):
        return int(text) if text.isdecimal() and len(text) < 19 else float(text)
    return float(_NOT_FINITE[text.lower()]) if text.lower() in _NOT_FINITE else text


# --- Metrics ----------------------------------------------------------------------------------------------------------


def _entries(path: str, row: _Row) -> Iterator[Entry]:
    metrics = [column.removesuffix(_VALUE) for column in row if column.endswith(_VALUE) and column != _VALUE]
    period = row.get("chunk_period", row.get("period"))
    if not metrics or period not in _PERIODS:
        found = f"columns {', '.join(row)[:120]}" if not metrics else f"chunk_period {shown(period)}"
        expected = "expected columns that end in _value, and chunk_period analysis or reference"
        raise Malformed(f"{path}: found {found}, {expected}: {_FLAT}")
    if period == "reference":
        return
    for metric in metrics:
        yield from _metric(path, row, metric)


def _metric(path: str, row: _Row, metric: str) -> Iterator[Entry]:
    value, alert = row[f"{metric}{_VALUE}"], row.get(f"{metric}{_ALERT}")
    method = next((name for name in _METHODS if metric.endswith(f"_{name}")), "")
    limits = {name: row[f"{metric}_{name}"] for name in _LIMITS if is_number(row.get(f"{metric}_{name}"))}
    about = known(method or metric)
    at = _time(row.get("chunk_end_date", row.get("end_date")))
    start = _time(row.get("chunk_start_date", row.get("start_date")))
    common = {
        "at": at,
        "method": method,
        "column": metric.removesuffix(f"_{method}") if method else "",
        "samples": _samples(row),
        "window": (start, at) if isinstance(start, str) and isinstance(at, str) else None,
        "direction": about.direction,
        "range": (about.least, about.most),
    }
    yield Entry(
        path=f"{path}, {metric}{_VALUE}",
        name=method or metric,
        value=value,
        firing=alert if isinstance(alert, bool) and is_number(value) else None,
        estimated=f"{metric}{_REALIZED}" in row,
        fields={"chunk": row.get("chunk_key", row.get("key")), **limits},
        **common,
    )
    realized = row.get(f"{metric}{_REALIZED}")
    if realized is not None:
        yield Entry(path=f"{path}, {metric}{_REALIZED}", name=f"{metric}{_REALIZED}", value=realized, **common)


def _time(found: Any) -> Any:
    """Return a time as text, without a zone, where pandas writes such a one otherwise."""
    if is_number(found) and _FIRST_MILLISECONDS <= found < _END_MILLISECONDS:
        return datetime.fromtimestamp(found / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{found}T00:00:00" if isinstance(found, str) and _DAY.fullmatch(found) else found


def _samples(row: _Row) -> int | None:
    first, last = count_in(row, "chunk_start_index", "start_index"), count_in(row, "chunk_end_index", "end_index")
    return last - first + 1 if first is not None and last is not None and last >= first else None


def _looks_like(delivery: Delivery) -> bool:
    text = text_of(delivery.raw)
    if text.lstrip()[:1] == "[":
        body = decode(delivery.raw)
        return bool(body) and isinstance(body[0], dict) and _is_heading(body[0])
    return _is_heading(text.partition("\n")[0].split(","))


def _is_heading(columns: Any) -> bool:
    names = {str(column).strip() for column in columns}
    return bool({"chunk_period", "period"} & names) and any(name.endswith(_VALUE) for name in names)


FORMAT = Format("NannyML", read, content_types=("application/json", "text/csv"), looks_like=_looks_like)
