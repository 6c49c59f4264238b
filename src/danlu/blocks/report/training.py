"""The course of a training: its loss and learning rate as a picture, in a page or a file of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_WIDTH, _HEIGHT = 620, 240
_LEFT, _TOP, _BOTTOM, _RIGHT = 52, 12, 40, 32  # room for the ticks and names of the axes
_TICKS = 5
_STYLE = Markup(
    "<style>svg{background:#fff;font-family:sans-serif}text{fill:#6b665f;font-size:11px}.grid{stroke:#e4dfd8}"
    ".curve{fill:none;stroke-width:2}.c1{stroke:#b3402a}circle.c1{fill:#b3402a}.c2{stroke:#2a6f97}"
    "circle.c2{fill:#2a6f97}.rate{stroke:#a29b90;stroke-dasharray:3 3}</style>"
)

Points = Sequence[Sequence[float]]


def curves(numbers: Mapping[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """`train`, `validation` and `learning rate` as points (step, value), from the numbers of a training.

    A curve without points is left out.
    """
    looks = numbers.get("validation") or {}
    found = {"train": numbers.get("loss"), "validation": looks.get("looks"), "learning rate": numbers.get("rates")}
    return {name: [(float(x), float(y)) for x, y in points] for name, points in found.items() if points}


def picture(numbers: Mapping[str, Any], *, alone: bool = False) -> Markup:
    """Training loss, validation and, on a scale of its own from 0, the learning rate over the steps; empty without any.

    What is looked at on the validation rows shares the scale of the loss where it is the loss, and else has its own.
    `alone` is a file by itself, which brings its colours with it.
    """
    found = curves(numbers)
    losses = {name: points for name, points in found.items() if name != "learning rate"}
    if not losses:
        return Markup()
    of = (numbers.get("validation") or {}).get("of", "loss")
    shared = [y for name, points in losses.items() if name == "train" or of == "loss" for _, y in points]
    scale = _span(shared or [y for _, y in losses["validation"]])
    most = max(x for points in found.values() for x, _ in points)
    lines = [_line("rate", found.get("learning rate", []), most, (0.0, None), "learning rate")]
    for name, points in losses.items():
        own = scale if name == "train" or of == "loss" else _span([y for _, y in points])
        lines.append(_line("c1" if name == "train" else "c2", points, most, own, name))
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" class="chart wide" role="img" viewBox="0 0 {} {}">'
        "<title>Loss over the steps of the training</title>{}{}{}{}</svg>"
    ).format(
        _LEFT + _WIDTH + _RIGHT,
        _TOP + _HEIGHT + _BOTTOM,
        _STYLE if alone else "",
        _axes(most, scale),
        Markup("").join(lines),
        _names(),
    )


def _span(values: Sequence[float]) -> tuple[float, float | None]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _line(kind: str, points: Points, most: float, scale: tuple[float, float | None], name: str) -> Markup:
    if not points:
        return Markup()
    low, high = scale
    top = max(y for _, y in points) if high is None else high
    drawn = " ".join(f"{_x(x, most)},{_y(y, low, top)}" for x, y in points)
    dots = Markup("").join(
        Markup('<circle class="{}" cx="{}" cy="{}" r="2"><title>{}: {} at step {}</title></circle>').format(
            kind, _x(x, most), _y(y, low, top), name, f"{y:.4g}", f"{x:,.0f}"
        )
        for x, y in points
    )
    shape = Markup('<polyline class="curve {}" points="{}"><title>{}</title></polyline>').format(kind, drawn, name)
    return shape + (dots if kind != "rate" else "")


def _axes(most: float, scale: tuple[float, float | None]) -> Markup:
    low, high = scale[0], scale[1] or scale[0]
    made = []
    for k in range(_TICKS):
        share = k / (_TICKS - 1)
        x, y = _x(share * most, most), _y(share, 0.0, 1.0)
        made.append(
            Markup(
                '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>'
                '<text x="{}" y="{}" text-anchor="end">{}</text><text x="{}" y="{}" text-anchor="middle">{}</text>'
            ).format(
                _LEFT, _LEFT + _WIDTH, _LEFT - 7, y + 4, f"{low + share * (high - low):.3g}",
                x, _TOP + _HEIGHT + 16, f"{share * most:,.0f}", y=y,
            )
        )  # fmt: skip
    return Markup("").join(made)


def _names() -> Markup:
    return Markup('<text class="axis" x="{}" y="{}" text-anchor="middle">step</text>').format(
        _LEFT + _WIDTH / 2, _TOP + _HEIGHT + 33
    )


def _x(step: float, most: float) -> float:
    return round(_LEFT + _WIDTH * step / (most or 1.0), 1)


def _y(value: float, low: float, high: float) -> float:
    return round(_TOP + _HEIGHT * (1 - (value - low) / ((high - low) or 1.0)), 1)


def told(numbers: Mapping[str, Any]) -> dict[str, str]:
    """What is worth reading of a training's numbers, as names and text; what is not known is left out."""

    def said(name: str, pattern: str, by: float = 1.0) -> str | None:
        value = numbers.get(name)
        return None if value is None else pattern.format(value / by)

    energy, cost = numbers.get("energy") or {}, numbers.get("cost") or {}
    spent, own = [value for value in cost.values() if value is not None], numbers.get("precision", "bf16")
    found = {
        "steps": said("steps", "{:,.0f}"),
        "time": said("seconds", "{:,.1f} s") if numbers.get("seconds") else None,
        "examples/s": said("examples_per_s", "{:,.1f}"),
        "tokens/s": said("tokens_per_s", "{:,.0f}"),
        "useful GFLOP/s": said("flop_per_s", "{:,.1f}", 1e9),
        "of the matrix-multiply rate in bf16 (MFU)": said("mfu", "{:.1%}"),
        f"of the matrix-multiply rate in {own}": said("matmul_share", "{:.1%}") if own != "bf16" else None,
        "peak memory": said("peak_memory_mb", "{:,.0f} MB"),
        "energy": f"{energy['kwh']:.3g} kWh ({energy['by']})" if energy.get("kwh") is not None else None,
        "CO2": f"{energy['co2_g']:.3g} g" if energy.get("co2_g") is not None else None,
        "cost, about": f"{sum(spent):.3g}" if spent else None,
    }
    return {name: value for name, value in found.items() if value is not None}
