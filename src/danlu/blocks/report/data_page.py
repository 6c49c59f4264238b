"""The report on a data check: one HTML file that needs no network and no script, drawn from the check's document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from danlu.blocks.report import charts
from danlu.blocks.report.page import environment, style
from danlu.core.printable import printable

GENERATOR = '<meta name="generator" content="Danlu data check">'
"""What tells a file of ours from a stranger's, so that none of these is ever overwritten."""


def data_page(document: Mapping[str, Any]) -> str:
    """The page, from what `danlu.data_check.check` gives; every text is escaped, control characters are written out."""
    templates = environment()
    templates.filters |= {"coded": coded, "sentence": sentence}
    drawn = templates.get_template("data.html").render(
        document=document,
        charts=charts,
        style=style("report.css", "data.css"),
        words_for={"stop": "stops", "warn": "warnings", "note": "notes"},
    )
    return printable(drawn)


def coded(text: str) -> Markup:
    """What stands between backticks as code; everything is escaped."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marks = (Markup("<code>{}</code>").format(part) if k % 2 else escape(part) for k, part in enumerate(parts))
    return Markup("").join(marks)


def sentence(text: str) -> str:
    """With a capital letter at its beginning."""
    return text[:1].upper() + text[1:]
