"""The last table of a run: every form of the model and every baseline, with what it is worth and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import escape

_METRICS = ("accuracy", "f1")
"""What is shown of a classifier; of another model the first two that were measured."""
_TITLES = {"f1": "F1", "entity_f1": "entity F1", "answer_f1": "answer F1"}
_BATCHES = ("1", "32")


def rows(scores: Mapping[str, Any] | None, parity: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Forms first, then baselines, from what `scores.json` and `parity.json` hold; either may be missing.

    A row is `{name, default, baseline, metrics: {name: {value, low, high}}, size_mb, latency_ms}`: sizes in MB (10⁶
    bytes), latency in ms per input by batch size; what was not measured is None or left out.
    """
    forms: Mapping[str, Any] = parity["forms"] if parity else {scores["form"]: scores} if scores else {}
    default = parity["default"] if parity else scores["form"] if scores else ""
    baselines: Mapping[str, Any] = scores["baselines"] if scores else {}
    return [
        *(_row(f"{default} over HTTP" if n == "http" else n, told, default=n == default) for n, told in forms.items()),
        *(_row(name, told, baseline=True) for name, told in baselines.items()),
    ]


def _row(name: str, told: Mapping[str, Any], *, default: bool = False, baseline: bool = False) -> dict[str, Any]:
    judged = {
        metric: {end: score[end] for end in ("value", "low", "high")}
        for metric, score in told["metrics"].items()
        if score.get("low") is not None
    }
    latency = {batch: ms for batch, ms in (told.get("latency_ms") or {}).items() if batch.isdecimal()}
    common = {"name": name, "default": default, "baseline": baseline, "metrics": judged}
    return {**common, "size_mb": told.get("size_mb"), "latency_ms": latency}


def shown(table: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The metrics that the table shows."""
    measured = dict.fromkeys(name for row in table for name in row["metrics"])
    return _METRICS if not measured or measured.keys() & {*_METRICS} else tuple(measured)[:2]


def columns(metrics: Sequence[str] = _METRICS) -> tuple[str, ...]:
    """The header of `cells`; milliseconds are per input."""
    titles = (_TITLES.get(name, name.replace("_", " ")) for name in metrics)
    return ("", *titles, "MB", "ms at batch 1", "ms at batch 32")


def cells(row: Mapping[str, Any], metrics: Sequence[str] = _METRICS) -> list[str]:
    """A row as text, for a terminal, a README or a card; see `columns`."""
    note = " (baseline)" if row["baseline"] else " (served)" if row["default"] else ""
    scores = [_score(row["metrics"].get(name)) for name in metrics]
    latency = [_number(row["latency_ms"].get(batch)) for batch in _BATCHES]
    return [row["name"] + note, *scores, _number(row["size_mb"]), *latency]


def html(table: Sequence[Mapping[str, Any]]) -> str:
    """The table for a notebook."""
    metrics = shown(table)
    head = "".join(f"<th>{escape(column)}</th>" for column in columns(metrics))
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells(row, metrics)) + "</tr>" for row in table
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _score(told: Mapping[str, Any] | None) -> str:
    return f"{told['value']:.3f} ({told['low']:.3f}–{told['high']:.3f})" if told else "–"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
