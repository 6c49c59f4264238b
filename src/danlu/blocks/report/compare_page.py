"""The page of models side by side: quality with intervals, costs, and quality against each; one file, no network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from danlu.blocks.report import charts
from danlu.blocks.report.page import environment, scales, style
from danlu.blocks.report.tune_page import COSTS, pareto
from danlu.core.printable import printable


def compare_page(told: Mapping[str, Any]) -> str:
    """The page, from what `danlu compare --json` tells of models side by side; every text is escaped, control
    characters are written out. The large dot of a picture is the model that the others are compared with."""
    dots = [{"number": k, "state": "done", "what": one["name"], **one} for k, one in enumerate(told["models"])]
    best = next(dot["number"] for dot in dots if dot["name"] == told["against"])
    pictures = [pareto({**told, "trials": dots, "best": best}, cost) for cost in COSTS]
    drawn = (
        environment()
        .get_template("compare.html")
        .render(
            told=told, style=style("report.css"), charts=charts, pictures=pictures, scales=scales(list(told["models"]))
        )
    )
    return printable(drawn)
