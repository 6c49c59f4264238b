"""The page of explanations: one HTML file that needs no network and no script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from danlu.blocks.report.page import environment, style
from danlu.core.printable import printable

_FAINTEST = 0.04
"""The share of the greatest weight from which on a piece is coloured."""
_STRONGEST = 6
_RECT = Markup(
    '<rect class="{}" x="{}" y="{}" width="{}" height="{}" style="--share:{:.2f}"><title>{:+.3f}</title></rect>'
)


def explain_page(told: Mapping[str, Any]) -> str:
    """The page, from what `explanations.json` holds; every text is escaped, control characters are written out."""
    drawn = (
        environment()
        .get_template("explain.html")
        .render(
            told=told,
            style=style("report.css", "explain.css"),
            marked=marked,
            squares=squares,
            strongest=strongest,
            said=said,
            bar=bar,
        )
    )
    return printable(drawn)


def said(answer: Any) -> str:
    """An answer, or a true one, in a few words."""
    if not isinstance(answer, Mapping):
        return str(answer)
    if "label" in answer:
        return str(answer["label"])
    if "labels" in answer:
        return ", ".join(answer["labels"]) or "none"
    return f"{answer['value']:.3g}" if isinstance(answer.get("value"), float | int) else str(dict(answer))


def marked(pieces: Sequence[Mapping[str, Any]]) -> Markup:
    """The texts with each piece in the colour of its weight: blue speaks for the answer, orange against it; what
    speaks against is underlined too."""
    most, drawn, field = _most(pieces), [], None
    for piece in pieces:
        if piece["field"] != field:
            field = piece["field"]
            drawn.append(Markup('<span class="field">{}</span> ').format(field) if field else Markup(""))
        kind, share = _tone(piece["weight"], most)
        word = piece["text"].lstrip()
        drawn.append(escape(piece["text"][: -len(word)]))
        mark = '<span class="{}" style="--share:{:.2f}" title="{:+.3f}">{}</span>' if kind else "<span>{3}</span>"
        drawn.append(Markup(mark).format(kind, share, piece["weight"], word))  # noqa: S704 - one of the two above
    return Markup("").join(drawn)


def squares(pieces: Sequence[Mapping[str, Any]]) -> Markup:
    """The weights of a picture's squares, to lie beside it."""
    height = max(piece["place"][2] for piece in pieces)
    width = max(piece["place"][3] for piece in pieces)
    most, drawn = _most(pieces), []
    for piece in pieces:
        top, left, bottom, right = piece["place"]
        kind, share = _tone(piece["weight"], most)
        size = (left, top, right - left, bottom - top)
        drawn.append(_RECT.format(kind or "none", *size, share, piece["weight"]))
    name = "what each square adds: blue speaks for the answer, orange against it"
    return Markup('<svg class="squares" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, name, Markup("").join(drawn)
    )


def strongest(pieces: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The words with the greatest weights in either direction."""
    named = [piece for piece in pieces if piece["text"].strip()]
    return sorted(named, key=lambda piece: -abs(piece["weight"]))[:_STRONGEST]


def bar(weight: float, most: float) -> Markup:
    """A bar to the right of the middle for what speaks for an answer, to the left for what speaks against it."""
    share = 50 * min(1.0, abs(weight) / most) if most else 0.0
    kind, x = ("for", 50.0) if weight > 0 else ("against", 50 - share)
    return Markup(
        '<svg class="weight" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        '<line x1="50" x2="50" y1="0" y2="10"/><rect class="{}" x="{:.1f}" y="2" width="{:.1f}" height="6"/></svg>'
    ).format(kind, x, share)


def _most(pieces: Sequence[Mapping[str, Any]]) -> float:
    return max((abs(piece["weight"]) for piece in pieces), default=0.0)


def _tone(weight: float, most: float) -> tuple[str, float]:
    share = abs(weight) / most if most else 0.0
    return ("for" if weight > 0 else "against", share) if share >= _FAINTEST else ("", 0.0)
