"""Writes a report as one HTML file: no script, no resource from elsewhere; every text is escaped by the template."""

from __future__ import annotations

from functools import lru_cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from riskladder.api.text import plain
from riskladder.report import document as parts
from riskladder.report.document import Block, Document


def html(report: Document) -> str:
    """Return the report as HTML."""
    return _template().render(report=report, kind=_kind, blank=parts.BLANK, drawn=_drawn, shown=_shown)


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        autoescape=True,
        loader=PackageLoader("riskladder.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("report.html.j2")


def _kind(block: Block) -> str:
    return type(block).__name__


def _drawn(block: parts.Drawing) -> Markup:
    """Return a drawing as it is: charts.py has escaped every text in it."""
    return Markup(block.svg)  # noqa: S704 - made by charts.py of escaped texts


def _shown(text: str) -> str:
    """Return text without invisible characters that could reorder what is read; the template escapes the rest."""
    return plain(" ".join(text.split()))
