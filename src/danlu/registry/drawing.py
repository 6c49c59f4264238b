"""A lineage as one SVG picture: the source of the data on top, the version at the bottom, an arrow for every input.

Artifacts stand in rows, each below all it was made from. An arrow that passes a row has a place of its own there
(Sugiyama, Tagawa and Toda, 1981), so that none runs through a box. Text is monospaced, so that its width is known.
"""

from __future__ import annotations

import textwrap
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from unicodedata import east_asian_width

from danlu.core.printable import printable
from danlu.registry.lineage import Node, dataset_manifest, lineage
from danlu.registry.telling import source, told
from danlu.registry.versions import Version

_COLUMNS, _MOST_LINES = 44, 6
_LETTER, _LINE, _MARGIN = 7.3, 17, 12  # pixels
_WIDTH = round(_COLUMNS * _LETTER) + 2 * _MARGIN
_PASSING, _GAP, _ROW_GAP = 16, 28, 54
_COLOURS = {"source": "#f3f4f6", "dataset": "#e8f1fb", "model": "#fdf0e1", "version": "#e6f5ea"}
_OTHER = "#f5f0fa"
_STYLE = (
    "text{font:12px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1f2933}"
    ".head{font-weight:bold}path{fill:none;stroke:#7b8794;stroke-width:1.5}rect{stroke:#9aa5b1}"
)


@dataclass
class _Box:
    """An artifact in the picture, or the place where an arrow passes a row (`lines` is empty)."""

    kind: str
    lines: list[str]
    above: list[str] = field(default_factory=list)
    row: int = 0
    x: float = 0.0
    """Its middle."""

    @property
    def width(self) -> int:
        return _WIDTH if self.lines else _PASSING

    @property
    def height(self) -> int:
        return len(self.lines) * _LINE + 2 * _MARGIN if self.lines else 0


def svg(version: Version) -> str:
    """The picture as a whole SVG file; it loads nothing and runs no script."""
    boxes = _boxes(version)
    _give_rows(boxes)
    rows = _rows(_with_passing(boxes))
    tops, height = _tops(rows)
    width = max(sum(box.width + _GAP for box in row.values()) for row in rows) + _GAP
    _place(rows, width)
    everything = {name: box for row in rows for name, box in row.items()}
    parts = [_arrow(everything[name], box, tops, rows) for box in everything.values() for name in box.above]
    parts += [_drawn(box, tops[box.row]) for box in everything.values() if box.lines]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" role="img"'
    title = f"<title>{escape(version.reference)}: lineage</title><style>{_STYLE}</style>"
    arrow = '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    marker = f'<defs>{arrow}<path d="M0 0L8 4L0 8z" style="fill:#7b8794;stroke:none"/></marker></defs>'
    ground = f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>'
    return f'{head} viewBox="0 0 {width} {height}">{title}{marker}{ground}\n' + "\n".join(parts) + "\n</svg>\n"


# ---- what is drawn ---------------------------------------------------------------------------------------------------


def _boxes(version: Version) -> dict[str, _Box]:
    """Name → box, sources before what is made of them."""
    found: dict[str, _Box] = {}
    data = dataset_manifest(version)
    where = version.metadata.get("data", {}).get("source", "")
    if data and where:
        found["source"] = _Box("source", _wrapped(["source of the rows", where, source(version)]))

    def walk(node: Node) -> str:
        name = f"{node['kind']} {node['digest']} {node['name']}"
        above = [walk(inner) for inner in node["inputs"].values()]
        if name not in found:
            if data and node["digest"] == data["digest"] and "source" in found:
                above.append("source")
            lines = _wrapped([node["name"], *told(node, version)])
            found[name] = _Box(node["kind"], lines, list(dict.fromkeys(above)))
        return name

    walk(lineage(version))
    return found


def _wrapped(texts: Sequence[str]) -> list[str]:
    """Lines of at most `_COLUMNS` letters; what does not fit is cut."""
    lines = [line for text in texts for line in textwrap.wrap(printable(text), _COLUMNS)]
    lines = [_cut(line) for line in lines]
    return lines if len(lines) <= _MOST_LINES else [*lines[: _MOST_LINES - 1], "…"]


def _cut(line: str) -> str:
    while sum(2 if east_asian_width(letter) in "WF" else 1 for letter in line) > _COLUMNS:
        line = line[:-2] + "…"
    return line


# ---- where it stands -------------------------------------------------------------------------------------------------


def _give_rows(boxes: dict[str, _Box]) -> None:
    for box in boxes.values():
        box.row = 1 + max((boxes[name].row for name in box.above), default=-1)


def _with_passing(boxes: dict[str, _Box]) -> dict[str, _Box]:
    """The boxes, with a place in every row that an arrow passes; the arrows from one box share it."""
    found = dict(boxes)
    for box in boxes.values():
        for place, name in enumerate(box.above):
            last = name
            for row in range(boxes[name].row + 1, box.row):
                passing = f"{name} passing {row}"
                found.setdefault(passing, _Box("", [], [last], row))
                last = passing
            box.above[place] = last
    return found


def _rows(boxes: dict[str, _Box]) -> list[dict[str, _Box]]:
    """The rows from the top, each in an order that keeps arrows short."""
    rows: dict[int, dict[str, _Box]] = defaultdict(dict)
    for name, box in boxes.items():
        rows[box.row][name] = box
    places: dict[str, float] = {}
    for row in sorted(rows):
        middle = {n: sum(places[a] for a in b.above) / len(b.above) if b.above else 0.0 for n, b in rows[row].items()}
        rows[row] = dict(sorted(rows[row].items(), key=lambda item: (middle[item[0]], not item[1].lines)))
        places |= {name: place - (len(rows[row]) - 1) / 2 for place, name in enumerate(rows[row])}
    return [rows[row] for row in sorted(rows)]


def _tops(rows: Sequence[dict[str, _Box]]) -> tuple[list[int], int]:
    tops, y = [], _GAP
    for row in rows:
        tops.append(y)
        y += max(box.height for box in row.values()) + _ROW_GAP
    return tops, y - _ROW_GAP + _GAP


def _place(rows: Sequence[dict[str, _Box]], width: int) -> None:
    for row in rows:
        x = (width - sum(box.width + _GAP for box in row.values()) + _GAP) / 2
        for box in row.values():
            box.x = x + box.width / 2
            x += box.width + _GAP


# ---- how it is drawn -------------------------------------------------------------------------------------------------


def _arrow(upper: _Box, lower: _Box, tops: Sequence[int], rows: Sequence[dict[str, _Box]]) -> str:
    begin, end = tops[upper.row] + upper.height, tops[lower.row]
    bottom = tops[upper.row] + max(box.height for box in rows[upper.row].values())
    bend = (bottom + end) / 2
    path = f"M{upper.x:.0f} {begin}V{bottom}C{upper.x:.0f} {bend:.0f} {lower.x:.0f} {bend:.0f} {lower.x:.0f} {end}"
    tip = ' marker-end="url(#a)"' if lower.lines else ""
    return f'<path d="{path}"{tip}/>'


def _drawn(box: _Box, top: int) -> str:
    left, colour = box.x - _WIDTH / 2, _COLOURS.get(box.kind, _OTHER)
    parts = [f'<rect x="{left:.0f}" y="{top}" width="{_WIDTH}" height="{box.height}" rx="6" style="fill:{colour}"/>']
    for k, line in enumerate(box.lines):
        head, y = "" if k else ' class="head"', top + _MARGIN + _LINE * k + 12
        parts.append(f'<text x="{left + _MARGIN:.0f}" y="{y}"{head}>{escape(line)}</text>')
    return "".join(parts)
