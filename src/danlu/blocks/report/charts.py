"""Charts as inline SVG. They take their colours from the page's style sheet, so they follow light, dark and print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

_MOST_CURVES = 8
_SIDE = 300
_LEFT, _TOP, _BOTTOM = 44, 14, 40  # room for the ticks and names of the axes
_TICKS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def whisker(value: float, low: float, high: float, lowest: float, highest: float) -> Markup:
    """A value and its interval on a scale that its neighbours share."""
    span = (highest - lowest) or 1.0
    x = [round(4 + 112 * (number - lowest) / span, 1) for number in (low, value, high)]
    return Markup(
        '<svg class="whisker" viewBox="0 0 120 12" width="120" height="12" aria-hidden="true">'
        '<line class="rail" x1="4" x2="116" y1="6" y2="6"/>'
        '<line class="span" x1="{0}" x2="{2}" y1="6" y2="6"/><circle class="dot" cx="{1}" cy="6" r="3.5"/></svg>'
    ).format(*x)


def share_bar(share: float | None) -> Markup:
    """A share between 0 and 1 as a bar."""
    width = round(60 * min(max(share or 0.0, 0.0), 1.0), 1)
    return Markup(
        '<svg class="bar" viewBox="0 0 60 6" width="60" height="6" aria-hidden="true">'
        '<rect class="rail" width="60" height="6" rx="3"/><rect class="fill" width="{}" height="6" rx="3"/></svg>'
    ).format(width)


def roc(curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Markup:
    """ROC curves, one a label; of two labels the second alone, since the other is its mirror image."""
    shown = list(curves.items())[1:] if len(curves) == 2 else list(curves.items())
    one = len(shown) == 1
    lines = Markup("").join(
        Markup('<polyline class="curve c{}" points="{}"><title>{}</title></polyline>').format(
            "1" if one else k % _MOST_CURVES + 1 if len(shown) <= _MOST_CURVES else "many",
            _points(curve["false"], curve["true"]),
            label,
        )
        for k, (label, curve) in enumerate(shown)
    )
    name = Markup("ROC curve of “{}”").format(shown[0][0]) if one else "ROC curves, each label against the rest"
    drawn = _square(lines, name, "false positive rate", "true positive rate")
    return drawn if one or len(shown) > _MOST_CURVES else drawn + _legend([label for label, _ in shown])


def reliability(bins: Sequence[Mapping[str, Any]]) -> Markup:
    """How often answers of each confidence are right; a dot's area is its number of rows."""
    most = max((b["rows"] for b in bins), default=1)
    dots = Markup("").join(
        Markup('<circle class="bubble" cx="{}" cy="{}" r="{}"><title>{} rows, {} right</title></circle>').format(
            _x(b["confidence"]),
            _y(b["right"]),
            round(3 + 9 * (b["rows"] / most) ** 0.5, 1),
            b["rows"],
            f"{b['right']:.1%}",
        )
        for b in bins
    )
    line = Markup('<polyline class="curve faint" points="{}"/>').format(
        _points([b["confidence"] for b in bins], [b["right"] for b in bins])
    )
    return _square(line + dots, "Calibration", "confidence", "share that is right")


def scatter(low: float, high: float, points: Sequence[Sequence[float]]) -> Markup:
    """Numbers given over true ones, a dot a row; `low` and `high` are the ends of both axes."""
    span = (high - low) or 1.0
    dots = Markup("").join(
        Markup('<circle class="bubble" cx="{}" cy="{}" r="2.5"/>').format(
            _x((true - low) / span), _y((given - low) / span)
        )
        for true, given in points
    )
    return _square(dots, "Answers over true numbers", "true number", "answer", low, high)


def _x(share: float) -> float:
    return round(_LEFT + _SIDE * share, 1)


def _y(share: float) -> float:
    return round(_TOP + _SIDE * (1 - share), 1)


def _points(xs: Sequence[float], ys: Sequence[float]) -> str:
    return " ".join(f"{_x(x)},{_y(y)}" for x, y in zip(xs, ys, strict=True))


def _square(content: Markup, name: Any, x_name: str, y_name: str, low: float = 0.0, high: float = 1.0) -> Markup:
    """Axes from `low` to `high` both ways, the diagonal, and `content`."""
    grid = Markup("").join(
        Markup(
            '<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>'
            '<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
            '<text x="{x}" y="{below}" text-anchor="middle">{tick:g}</text>'
            '<text x="{beside}" y="{middle}" text-anchor="end">{tick:g}</text>'
        ).format(
            x=_x(tick), y=_y(tick), top=_y(1), bottom=_y(0), left=_x(0), right=_x(1),
            tick=float(f"{low + (high - low) * tick:.3g}"),
            below=_y(0) + 16, beside=_x(0) - 7, middle=_y(tick) + 4,
        )
        for tick in _TICKS
    )  # fmt: skip
    return Markup(
        '<svg class="chart" role="img" viewBox="0 0 {width} {height}"><title>{name}</title>{grid}'
        '<line class="diagonal" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>{content}'
        '<text class="axis" x="{centre}" y="{foot}" text-anchor="middle">{x_name}</text>'
        '<text class="axis" transform="translate(11 {half}) rotate(-90)" text-anchor="middle">{y_name}</text></svg>'
    ).format(
        width=_LEFT + _SIDE + 14, height=_TOP + _SIDE + _BOTTOM, name=name, grid=grid, content=content,
        x0=_x(0), y0=_y(0), x1=_x(1), y1=_y(1), centre=_x(0.5), half=_y(0.5), foot=_y(0) + 34,
        x_name=x_name, y_name=y_name,
    )  # fmt: skip


def _legend(labels: Sequence[str]) -> Markup:
    entries = Markup("").join(
        Markup('<li><i class="swatch c{}"></i>{}</li>').format(k + 1, label) for k, label in enumerate(labels)
    )
    return Markup('<ul class="legend">{}</ul>').format(entries)
