"""Draw the page: formats for numbers, and the template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from danlu.blocks.report import charts, training
from danlu.core.printable import printable

_HERE = Path(__file__).parent
_ABSENT: dict[str, Any] = {
    "baselines": {}, "calibration": {}, "confusion": {}, "disturbed": {}, "filled": [], "labels": [], "latency_ms": {},
    "numbers": {}, "operators": [], "rankings": {}, "rests_on": [], "roc": {}, "size_mb": None, "cautions": [],
    "trainings": [], "worst": [],
}  # fmt: skip
"""What not every evaluation has; its part of the page is then left out."""
_MOST_IN_MATRIX = 20
_MOST_PAIRS = 20
_ACRONYMS = {"auc", "f1", "roc"}


def page(scores: Mapping[str, Any]) -> str:
    """The report as one HTML document, from what `scores.json` holds; every text in it is escaped,
    control characters are written out."""
    scores = _ABSENT | dict(scores)
    models = compared(scores)
    drawn = (
        environment()
        .get_template("report.html")
        .render(
            scores=scores,
            style=style("report.css"),
            charts=charts,
            training=training,
            models=models,
            scales=scales(models),
            pairs=confused(scores["confusion"]),
            in_matrix=_MOST_IN_MATRIX,
        )
    )
    return printable(drawn)


def environment() -> Environment:
    """Templates that escape every text, with the formats of numbers that all pages share."""
    made = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": figure,
        "count": count,
        "signed": signed,
        "words": words,
        "spoken": spoken,
        "one_line": one_line,
        "unit": unit,
        "percent": percent,
    }
    return made


def style(*names: str) -> Markup:
    """Style sheets of this folder, one after another, to lie inside a page."""
    return Markup("\n".join((_HERE / name).read_text(encoding="utf-8") for name in names))  # noqa: S704 - our own files


def compared(scores: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The model and the baselines, as rows of one table: `{name, role, metrics, under, size_mb, latency_ms,
    difference}`."""
    own = {"name": scores["form"], "role": "model", "metrics": scores["metrics"], "difference": None, "verdict": ""}
    measured = {"size_mb": scores["size_mb"], "latency_ms": scores["latency_ms"], "under": scores.get("under", {})}
    baselines = [{"name": name, "role": "baseline", "under": {}, **row} for name, row in scores["baselines"].items()]
    return [own | measured, *baselines]


def scales(models: list[dict[str, Any]]) -> dict[str, tuple[float, float]]:
    """Metric → the range that holds every interval in its column; metrics without an interval are left out."""
    found: dict[str, list[float]] = {}
    for model in models:
        every = [model["metrics"], *(told["metrics"] for told in model.get("under", {}).values())]
        for name, told in (pair for metrics in every for pair in metrics.items()):
            if told["low"] is not None:
                found.setdefault(name, []).extend((told["low"], told["value"], told["high"]))
    return {name: (min(ends), max(ends)) for name, ends in found.items()}


def confused(confusion: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The pairs of labels that are taken for one another most often: `{gold, label, rows, share}`."""
    names, matrix = confusion.get("names", []), confusion.get("matrix", [])
    pairs = [
        {"gold": names[i], "label": names[j], "rows": rows, "share": rows / (sum(matrix[i]) or 1)}
        for i in range(len(names))
        for j, rows in enumerate(matrix[i])
        if i != j and rows
    ]
    return sorted(pairs, key=lambda pair: -pair["rows"])[:_MOST_PAIRS]


def figure(value: float | None, digits: int = 3) -> str:
    """A number with a fixed number of decimals; a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference with its sign."""
    return "–" if value is None else f"{value:+.3f}".replace("-", "−")


def count(value: float) -> str:
    """A number of things, with thousands set apart."""
    return f"{value:,.0f}"


def percent(share: float | None) -> str:
    """A share with as many digits as it takes to be told from 0 and from 1."""
    if share is None:
        return "–"
    if share in (0, 1):
        return f"{share:.0%}".replace("%", " %")
    digits = 0 if 0.1 <= share <= 0.9 else 1 if 0.01 <= share <= 0.99 else 2
    return f"{100 * share:.{digits}f} %" if share >= 0.0001 else "< 0.01 %"


def unit(value: float | None, name: str) -> str:
    """A measured quantity with three significant digits and its unit."""
    if value is None:
        return "–"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {name}"


def words(name: str) -> str:
    """A recipe's name as a title: `text_classification` → `Text classification`, `roc_auc` → `ROC AUC`."""
    said = spoken(name)
    return said[:1].upper() + said[1:]


def spoken(name: str) -> str:
    """A recipe's name within a sentence."""
    return " ".join(part.upper() if part in _ACRONYMS else part for part in name.split("_"))


def one_line(value: Any) -> str:
    """Settings as compact text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
