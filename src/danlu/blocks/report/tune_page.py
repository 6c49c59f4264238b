"""The report of a tune: what was tried, and quality against time, size and latency; one file, no network, no script."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from danlu.blocks.report.page import environment, style
from danlu.core.printable import printable

COSTS = {"seconds": "training time, s", "size_mb": "size, MB", "latency_ms": "latency of one input, ms"}
_WIDTH, _HEIGHT = 300, 240
_LEFT, _TOP, _BOTTOM = 52, 14, 44  # room for the ticks and names of the axes
_TICKS = 4


def tune_page(told: Mapping[str, Any]) -> str:
    """The page, from what `danlu tune --json` tells; every text is escaped, control characters are written out."""
    pictures = [pareto(told, cost) for cost in COSTS]
    drawn = environment().get_template("tune.html").render(told=told, style=style("report.css"), pictures=pictures)
    return printable(drawn)


def pareto(told: Mapping[str, Any], cost: str) -> Markup:
    """Quality on the validation rows against one cost on a logarithmic scale; the line joins those that none beats.

    Empty where fewer than two trials have both.
    """
    metric, front = told["metric"], told["fronts"][cost]
    points = {
        one["number"]: (float(one[cost]), float(one["metrics"][metric]["value"]), one)
        for one in told["trials"]
        if one["state"] == "done" and one[cost] and one["metrics"].get(metric, {}).get("value") is not None
    }
    if len(points) < 2:
        return Markup()
    across = _span([math.log10(x) for x, _, _ in points.values()])
    up = _of_shares([y for _, y, _ in points.values()])
    placed = {n: (_x(math.log10(x), across), _y(y, up)) for n, (x, y, _) in points.items()}
    line = " ".join(f"{placed[n][0]},{placed[n][1]}" for n in front if n in placed)
    dots = Markup("").join(
        Markup('<circle class="bubble" cx="{}" cy="{}" r="{}"><title>{}: {} {}, {} {}</title></circle>').format(
            *placed[n], 6 if n == told["best"] else 4, one["what"], metric, f"{y:.3f}", f"{x:.3g}", COSTS[cost]
        )
        for n, (x, y, one) in points.items()
    )
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {w} {h}"><title>{metric} against {name}</title>{axes}'
        '<polyline class="curve c1" points="{line}"/>{dots}'
        '<text class="axis" x="{centre}" y="{foot}" text-anchor="middle">{name}</text>'
        '<text class="axis" transform="translate(11 {half}) rotate(-90)" text-anchor="middle">{metric}</text></svg>'
    ).format(
        w=_LEFT + _WIDTH + 14, h=_TOP + _HEIGHT + _BOTTOM, metric=metric, name=COSTS[cost], axes=_axes(across, up),
        line=line, dots=dots, centre=_LEFT + _WIDTH / 2, foot=_TOP + _HEIGHT + 36, half=_TOP + _HEIGHT / 2,
    )  # fmt: skip


def _span(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.5
    return low - room, high + room


def _of_shares(values: Sequence[float]) -> tuple[float, float]:
    """The same; where all lie between 0 and 1, as an accuracy does, the axis ends there too."""
    low, high = _span(values) if min(values) < max(values) else (values[0] - 0.05, values[0] + 0.05)
    if min(values) < 0 or max(values) > 1:
        return low, high
    return max(low, 0.0), min(high, 1.0)


def _x(value: float, span: tuple[float, float]) -> float:
    return round(_LEFT + _WIDTH * (value - span[0]) / (span[1] - span[0]), 1)


def _y(value: float, span: tuple[float, float]) -> float:
    return round(_TOP + _HEIGHT * (span[1] - value) / (span[1] - span[0]), 1)


def _axes(across: tuple[float, float], up: tuple[float, float]) -> Markup:
    made = []
    for k in range(_TICKS):
        share = k / (_TICKS - 1)
        right, above = across[0] + share * (across[1] - across[0]), up[0] + share * (up[1] - up[0])
        made.append(
            Markup(
                '<line class="grid" x1="{left}" x2="{end}" y1="{y}" y2="{y}"/>'
                '<text x="{beside}" y="{middle}" text-anchor="end">{tall}</text>'
                '<text x="{x}" y="{below}" text-anchor="middle">{wide}</text>'
            ).format(
                left=_LEFT, end=_LEFT + _WIDTH, y=_y(above, up), beside=_LEFT - 7, middle=_y(above, up) + 4,
                tall=f"{above:.3g}", x=_x(right, across), below=_TOP + _HEIGHT + 16, wide=f"{10**right:.2g}",
            )
        )  # fmt: skip
    return Markup("").join(made)
