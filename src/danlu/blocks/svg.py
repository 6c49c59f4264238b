"""Drawings (SVG) to pixels: the shapes, fills and strokes of plain drawings such as OpenMoji's.

Drawn are path, circle, ellipse, rect, line, polyline and polygon in groups with transforms, in one colour each, with
round or butt ends; not drawn are text, gradients, clips, dashes and style sheets. A see-through line is drawn as
on white. Only Pillow and numpy.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageColor, ImageDraw

from danlu.core.errors import DataError

_FINER = 3
"""Dots drawn along the side of a pixel."""
_PIECES = 8
"""Straight pieces of a curve."""
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_COMMAND = re.compile(r"([MmLlHhVvCcSsQqTtAaZz])([^MmLlHhVvCcSsQqTtAaZz]*)")
_FLAGS = re.compile(r"([+-]?[\d.]+(?:[eE][+-]?\d+)?[\s,]+[+-]?[\d.]+[\s,]+[+-]?[\d.]+)[\s,]+([01])[\s,]*([01])[\s,]*")
"""The flags of an arc may be written without anything between them and what follows."""
_TRANSFORM = re.compile(r"(matrix|translate|scale|rotate)\s*\(([^)]*)\)")
_SMOOTH = {"S": ("C", "S"), "T": ("Q", "T")}
"""Commands that take the bend of the command before them, where it was one of these."""
_TAKES = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}

Point = complex
Line = list[Point]


@dataclass(frozen=True)
class _Style:
    """What shapes inherit from the groups they lie in; `matrix` is [2, 3]."""

    matrix: np.ndarray[Any, Any]
    fill: str = "#000000"
    stroke: str = "none"
    width: float = 1.0
    cap: str = "butt"
    rule: str = "nonzero"
    opacity: float = 1.0

    def inside(self, given: Mapping[str, str]) -> Self:
        moved = np.vstack([self.matrix, [0, 0, 1]]) @ np.vstack([_matrix(given.get("transform", "")), [0, 0, 1]])
        return replace(
            self,
            matrix=moved[:2],
            fill=given.get("fill", self.fill),
            stroke=given.get("stroke", self.stroke),
            width=float(given.get("stroke-width", self.width)),
            cap=given.get("stroke-linecap", self.cap),
            rule=given.get("fill-rule", self.rule),
            opacity=self.opacity * float(given.get("opacity", 1)),
        )


def draw(content: bytes, side: int) -> np.ndarray[Any, Any]:
    """The drawing on white, scaled to fit `side` × `side`: uint8 [side, side, 3]. Raises DataError when it is none."""
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - expat refuses entities that grow beyond measure
        left, top, width, height = (float(number) for number in _NUMBER.findall(root.attrib["viewBox"]))
        scale = side * _FINER / max(width, height)
        canvas = Image.new("RGB", (side * _FINER, side * _FINER), "white")
        start = _Style(np.array([[scale, 0, -left * scale], [0, scale, -top * scale]]))
        for shape, style in _shapes(root, start):
            _paint(canvas, shape, style)
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(f"is no drawing that can be read: {error}") from error
    return np.asarray(canvas.reduce(_FINER))


def _shapes(element: Any, style: _Style) -> Iterator[tuple[list[tuple[Line, bool]], _Style]]:
    """The lines of every shape, each with whether it is closed, and how it is drawn; from back to front."""
    if element.get("display") == "none":
        return
    style, kind = style.inside(element.attrib), element.tag.rpartition("}")[2]
    if kind in ("svg", "g"):
        for child in element:
            yield from _shapes(child, style)
    elif lines := _outline(kind, element.attrib):
        (a, c, e), (b, d, f) = style.matrix
        placed = [
            ([complex(a * p.real + c * p.imag + e, b * p.real + d * p.imag + f) for p in line], closed)
            for line, closed in lines
        ]
        yield placed, style


def _paint(canvas: Image.Image, shape: list[tuple[Line, bool]], style: _Style) -> None:
    areas = [line for line, _ in shape if len(line) > 2]
    if style.fill != "none" and areas:
        colour = ImageColor.getrgb(style.fill)
        if len(areas) == 1 and style.opacity == 1:
            ImageDraw.Draw(canvas).polygon(_pairs(areas[0]), fill=colour)
        else:
            turns = np.sum([_area(canvas.size, line) for line in areas], axis=0)
            covered = turns % 2 != 0 if style.rule == "evenodd" else turns != 0
            mask = covered * np.uint8(round(255 * style.opacity))
            canvas.paste(colour, mask=Image.fromarray(mask))
    width = max(round(style.width * math.sqrt(abs(np.linalg.det(style.matrix[:, :2])))), 1)
    if style.stroke != "none" and style.width:
        drawn = tuple(round(255 + (part - 255) * style.opacity) for part in ImageColor.getrgb(style.stroke)[:3])
        for line, closed in shape:
            _trace(ImageDraw.Draw(canvas), line, width, drawn, closed=closed, cap=style.cap)


def _pairs(line: Line) -> list[tuple[float, float]]:
    return [(p.real, p.imag) for p in line]


def _area(size: tuple[int, int], line: Line) -> np.ndarray[Any, Any]:
    """What a line encloses: 1 where it goes round clockwise, −1 where it goes the other way."""
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).polygon(_pairs(line), fill=1)
    around = sum((p.conjugate() * q).imag for p, q in zip(line, line[1:] + line[:1], strict=True))
    return np.asarray(mask, np.int16) * (1 if around >= 0 else -1)


def _trace(pen: ImageDraw.ImageDraw, line: Line, width: int, colour: Any, *, closed: bool, cap: str) -> None:
    pen.line(_pairs(line + line[:2] if closed else line), fill=colour, width=width, joint="curve")
    if cap == "round" and not closed:
        for p in (line[0], line[-1]):
            ends = p - complex(width, width) / 2, p + complex(width, width) / 2
            pen.ellipse(_pairs(list(ends)), fill=colour)


def _matrix(text: str) -> np.ndarray[Any, Any]:
    whole = np.eye(3)
    for name, inside in _TRANSFORM.findall(text):
        whole = whole @ np.vstack([_moved(name, [float(x) for x in _NUMBER.findall(inside)]), [0, 0, 1]])
    return whole[:2]


def _moved(name: str, given: list[float]) -> np.ndarray[Any, Any]:
    if name == "matrix":
        return np.array(given).reshape(3, 2).T
    if name == "translate":
        return np.array([[1, 0, given[0]], [0, 1, given[1] if len(given) > 1 else 0]])
    if name == "scale":
        return np.array([[given[0], 0, 0], [0, given[-1], 0]])
    c, s = math.cos(math.radians(given[0])), math.sin(math.radians(given[0]))
    x, y = given[1:] or (0.0, 0.0)
    return np.array([[c, -s, x - c * x + s * y], [s, c, y - s * x - c * y]])


# ---- outlines --------------------------------------------------------------------------------------------------------


def _outline(kind: str, given: Mapping[str, str]) -> list[tuple[Line, bool]]:
    if kind == "path":
        return _path(given.get("d", ""))
    if kind in ("polygon", "polyline"):
        numbers = [float(x) for x in _NUMBER.findall(given.get("points", ""))]
        line = [complex(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=False)]
        return [(line, kind == "polygon")] if line else []

    def number(name: str, instead: float = 0.0) -> float:
        return float(given.get(name, instead))

    if kind == "line":
        return [([complex(number("x1"), number("y1")), complex(number("x2"), number("y2"))], False)]
    if kind in ("circle", "ellipse"):
        radii = complex(number("rx", number("r")), number("ry", number("r")))
        return [(_ellipse(complex(number("cx"), number("cy")), radii, 0, 4), True)]
    if kind == "rect":
        return [(_rectangle(number), True)]
    return []


def _rectangle(number: Any) -> Line:
    x, y, width, height = (number(name) for name in ("x", "y", "width", "height"))
    rx, ry = number("rx", number("ry")), number("ry", number("rx"))
    rx, ry = min(rx, width / 2), min(ry, height / 2)
    if not (rx and ry):
        return [complex(x, y), complex(x + width, y), complex(x + width, y + height), complex(x, y + height)]
    middles = [(x + width - rx, y + height - ry), (x + rx, y + height - ry), (x + rx, y + ry), (x + width - rx, y + ry)]
    return [p for k, middle in enumerate(middles) for p in _ellipse(complex(*middle), complex(rx, ry), k, k + 1)]


def _ellipse(middle: Point, radii: complex, first: float, last: float) -> Line:
    """From one quarter of the way round to another."""
    pieces = max(round(abs(last - first) * _PIECES), 1)
    turns = [math.pi / 2 * (first + (last - first) * k / pieces) for k in range(pieces + 1)]
    return [middle + complex(radii.real * math.cos(t), radii.imag * math.sin(t)) for t in turns]


def _path(text: str) -> list[tuple[Line, bool]]:
    lines: list[tuple[Line, bool]] = []
    line: Line = []
    at = start = bend = 0j
    before = ""
    for command, numbers in _commands(text):
        kind, origin = command.upper(), at if command.islower() else 0j
        if kind == "M":
            at = start = origin + complex(*numbers)
            lines.append((line := [at], False))
        elif kind == "Z":
            at = start
            if lines:
                lines[-1] = (lines[-1][0], True)
            line = [at]  # what follows without a move begins here
        else:
            if lines and lines[-1][0] is not line:
                lines.append((line, False))
            mirrored = 2 * at - bend if before in _SMOOTH.get(kind, ()) else at
            at, bend, new = _segment(kind, numbers, at, origin, mirrored)
            line += new
        before = kind
    return lines


def _commands(text: str) -> Iterator[tuple[str, list[float]]]:
    """Each command with its numbers; a command that is given several times is written out."""
    for command, told in _COMMAND.findall(text):
        if command in "Aa":
            told = _FLAGS.sub(r"\1 \2 \3 ", told)
        numbers, takes = [float(x) for x in _NUMBER.findall(told)], _TAKES[command.upper()]
        if not takes:
            yield command, []
            continue
        for k in range(0, len(numbers) - takes + 1, takes):
            yield command, numbers[k : k + takes]
            command = {"M": "L", "m": "l"}.get(command, command)


def _segment(kind: str, numbers: list[float], at: Point, origin: Point, mirrored: Point) -> tuple[Point, Point, Line]:
    """Where it ends, the point that bends it last, and its points after the first."""
    if kind == "H":
        end = complex(origin.real + numbers[0], at.imag)
    elif kind == "V":
        end = complex(at.real, origin.imag + numbers[0])
    else:
        end = origin + complex(*numbers[-2:])
    if kind == "A":
        return end, end, _arc(at, end, numbers)
    given = [origin + complex(*pair) for pair in zip(numbers[:-2:2], numbers[1:-2:2], strict=True)]
    if kind in "ST":
        given = [mirrored, *given]
    if not given:
        return end, end, [end]
    return end, given[-1], _bezier([at, *given, end])


def _bezier(points: Line) -> Line:
    line = []
    for k in range(1, _PIECES + 1):
        t, now = k / _PIECES, points
        while len(now) > 1:
            now = [p + (q - p) * t for p, q in itertools.pairwise(now)]
        line.append(now[0])
    return line


def _arc(at: Point, end: Point, numbers: list[float]) -> Line:
    """An elliptic arc (SVG 1.1, appendix F.6.5)."""
    rx, ry, turned, large, sweep = abs(numbers[0]), abs(numbers[1]), math.radians(numbers[2]), *numbers[3:5]
    if at == end or not (rx and ry):
        return [end]
    turn = complex(math.cos(turned), math.sin(turned))
    half = (at - end) / 2 / turn
    one = complex(half.real / rx, half.imag / ry)
    if abs(one) > 1:
        rx, ry, one = rx * abs(one), ry * abs(one), one / abs(one)
    away = math.sqrt(max(1 / abs(one) ** 2 - 1, 0)) * (1 if large != sweep else -1)
    middle = one * complex(0, -1) * away
    first, last = (math.atan2((p - middle).imag, (p - middle).real) for p in (one, -one))
    if sweep and last < first:
        last += 2 * math.pi
    elif not sweep and last > first:
        last -= 2 * math.pi
    centre = (at + end) / 2 + turn * complex(middle.real * rx, middle.imag * ry)
    unit = _ellipse(0j, complex(rx, ry), first * 2 / math.pi, last * 2 / math.pi)
    return [centre + turn * p for p in unit[1:]]
