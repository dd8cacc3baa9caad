"""Puts a report together: the document, and its form for programs. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from riskladder.api.chain import ChainKey
from riskladder.people.export import Export
from riskladder.report.account_page import account_page, account_sections
from riskladder.report.article73 import FORM, article_73
from riskladder.report.document import Document, Section
from riskladder.report.model import Told, accounts, accounts_of, by_chain
from riskladder.report.period import Report, figures, in_period
from riskladder.report.period_page import period_page

FORMS = {FORM: article_73}
"""Forms of authorities, by name."""


def report_on(export: Export, key: ChainKey, *, source: str, form: str = "") -> tuple[Document, Report]:
    """Return the report about one escalation, which may share its chain with earlier ones of its name.

    Args:
        export: Records and escalations.
        key: Its chain.
        source: The file that they come from; empty for the cluster.
        form: Name of the form that is filled in, in place of a report.

    Raises:
        ValueError: The status of the escalation has a ledger that is none.
        LookupError: There is no record of it.
    """
    part = by_chain(export).get(key)
    if part is None:
        raise LookupError(f"no record of {key}")
    told = accounts_of({key: part}, source=source)
    data = Report(source=source, period=None, escalations=tuple(one.account for one in told))
    return FORMS[form](told[-1]) if form else _several(told), data


def _several(told: Sequence[Told]) -> Document:
    """Return one document; of several escalations of one name, each with a heading of its own."""
    page = account_page(told[-1])
    if len(told) == 1:
        return page
    sections: list[Section] = []
    for number, one in enumerate(told, start=1):
        heading = f"{number} of {len(told)} escalations of this name"
        sections += [Section(heading, ()), *account_sections(one, level=3)]
    return Document(page.title, page.lead, tuple(sections), page.at)


def report_of_period(
    export: Export, since: datetime, until: datetime, *, ladder: str = "", source: str
) -> tuple[Document, Report]:
    """Return the report about a period.

    Args:
        export: Records and escalations.
        since: Begin.
        until: End, as of which everything is told.
        ladder: Name of the one ladder that is told of; empty for all.
        source: The file that they come from; empty for the cluster.

    Raises:
        ValueError: The status of an escalation has a ledger that is none.
    """
    known = accounts(export, source=source, until=until)
    told = in_period(known, since, until, ladder)
    found = figures(told, since, until, ladder, known=known)
    data = Report(source=source, period=found, escalations=tuple(one.account for one in told))
    return period_page(found, told, source), data
