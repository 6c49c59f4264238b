"""Inputs in pieces that can be taken away: the words of texts, the squares of a picture."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from danlu.blocks import pixels
from danlu.blocks.words import units
from danlu.explaining import Piece


def dissect(x: Any, modality: str, *, most: int, across: int) -> tuple[tuple[Piece, ...], str]:
    """The pieces of an input, and what a reader should know of them.

    A text, or each text in a dict, is cut into words (characters in a script without spaces), of which neighbours are
    put together where there are more than `most`; a picture, where the modality is `image`, into `across` × `across`
    squares. None of a text without words. Raises DataError for what is no picture.
    """
    if modality == "image":
        return squares(x, across), ""
    texts = _texts(x)
    cut = {field: units(text) for field, text in texts.items()}
    total = sum(map(len, cut.values()))
    together = max(1, -(-total // most))
    pieces = tuple(piece for field, found in cut.items() for piece in _joined(field, found, together))
    if not pieces:
        return (), "there is no word in it to explain"
    return pieces, f"of its {total:,} words, {together} at a time are one piece" if together > 1 else ""


def at_once(modality: str) -> int:
    """How many inputs without some of their pieces are held at a time: a photograph is tens of megabytes."""
    return 8 if modality == "image" else 512


def squares(x: Any, across: int) -> tuple[Piece, ...]:
    """The squares of a picture, row by row."""
    height, width = np.asarray(pixels.open_picture(x)).shape[:2]
    rows, columns = (np.linspace(0, size, min(across, size) + 1).astype(int).tolist() for size in (height, width))
    edges = itertools.product(itertools.pairwise(rows), itertools.pairwise(columns))
    return tuple(Piece("", (top, left, bottom, right)) for (top, bottom), (left, right) in edges)


def without(x: Any, pieces: Sequence[Piece]) -> Any:
    """An input without some of its pieces: words are left out, squares get the mean colour of the picture."""
    if pieces and len(pieces[0].place) == len(("top", "left", "bottom", "right")):
        return _greyed(x, pieces)
    texts = _texts(x)
    for piece in sorted(pieces, key=lambda piece: piece.place, reverse=True):
        begin, end = piece.place
        texts[piece.field] = texts[piece.field][:begin] + texts[piece.field][end:]
    texts = {field: text.strip() for field, text in texts.items()}
    return texts[""] if isinstance(x, str) else {**x, **texts}


def _texts(x: str | Mapping[str, Any]) -> dict[str, str]:
    """The texts of an input, by their fields; of a text alone the field has no name."""
    return {"": x} if isinstance(x, str) else {field: value for field, value in x.items() if isinstance(value, str)}


def _joined(field: str, found: list[str], together: int) -> list[Piece]:
    """Each piece has the space before it, so that what is left reads on."""
    made, at = [], 0
    for start in range(0, len(found), together):
        text = "".join(found[start : start + together])
        if text.strip():
            made.append(Piece(text, (at, at + len(text)), field))
        at += len(text)
    return made


def _greyed(x: Any, pieces: Sequence[Piece]) -> Image.Image:
    picture = np.array(pixels.open_picture(x))
    grey = picture.mean((0, 1)).astype(picture.dtype)
    for piece in pieces:
        top, left, bottom, right = piece.place
        picture[top:bottom, left:right] = grey
    return Image.fromarray(picture)
