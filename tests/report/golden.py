"""Writes the reports that tests compare with: ``python -m tests.report.golden``."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from riskladder.api.chain import ChainKey
from riskladder.people.export import Export
from riskladder.report.build import report_of_period, report_on
from riskladder.report.document import Document as Page
from riskladder.report.html import html
from riskladder.report.markdown import markdown
from riskladder.report.model import by_chain
from riskladder.report.period import Report
from tests.report.history import History, export_of, objects_of, year
from tests.unit.builders import NAMESPACE, Document

PLACE = Path(__file__).parent / "expected"
SINCE, UNTIL = datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
ARCHIVE = "2026.tar.gz"


@lru_cache(maxsize=1)
def histories() -> tuple[History, ...]:
    """The year, which is made once; nobody may change it."""
    return year()


@lru_cache(maxsize=1)
def objects() -> list[Document]:
    """Everything that a cluster has of the year; nobody may change it."""
    return objects_of(*histories())


@lru_cache(maxsize=1)
def exported() -> Export:
    """What an export of the year holds."""
    return export_of(*histories())


@lru_cache
def only(uid: str) -> Export:
    """What there is about one of the targets of the year."""
    return by_chain(exported())[key(uid)]


def key(uid: str) -> ChainKey:
    """The chain of one of the targets of the year."""
    [found] = [one for one in histories() if one.uid == uid]
    return ChainKey(NAMESPACE, found.escalation.name)


@lru_cache
def account(uid: str, form: str = "") -> tuple[Page, Report]:
    """The report about one escalation of the year."""
    return report_on(only(uid), key(uid), source=ARCHIVE, form=form)


@lru_cache(maxsize=1)
def period() -> tuple[Page, Report]:
    """The report about the year."""
    return report_of_period(exported(), SINCE, UNTIL, source=ARCHIVE)


@lru_cache(maxsize=1)
def expected() -> dict[str, str]:
    """Every report that is compared, by the name of its file."""
    contained, stalled = account("a")[0], account("c")[0]
    return {
        "contained.md": markdown(contained),
        "contained.html": html(contained),
        "stalled.md": markdown(stalled),
        "article-73.md": markdown(account("a", "ai-act-73-initial")[0]),
        "period.md": markdown(period()[0]),
        "period.html": html(period()[0]),
    }


if __name__ == "__main__":
    PLACE.mkdir(exist_ok=True)
    for name, text in expected().items():
        (PLACE / name).write_text(text, "utf-8")
