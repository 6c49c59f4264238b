"""Whether the first line of a table holds names of columns, or is a row like those below it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean

from danlu.blocks.sniff import DATE, NUMBER, count_words, mostly

_SENTENCE = 6  # words
_LEAST_SHARE = 0.02


def why_a_row(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Why the first line looks like a row; empty where it may well hold names.

    One cell is enough that stands in two percent of the rows below it too, as a label does, or that is a fraction over
    numbers. Else every cell must look like those below it: a number, a date, a sentence of six words or more. Numbers
    that rise, such as `0, 1, 2` or years, are taken for names.
    """
    names = [name.strip() for name in names]
    below = [stripped for row in rows if (stripped := [cell.strip() for cell in row]) != names]
    columns = [[cell for cell in column if cell] for column in zip(*below, strict=True)]
    if len(below) < 2:
        return ""
    rising = _rise([float(name) for name in names if NUMBER.fullmatch(name)])
    signs = [_sign(name, column, rising) for name, column in zip(names, columns, strict=True)]
    sure = [why for why, alone in signs if alone]
    told = sure or ([why for why, _ in signs] if all(why for why, _ in signs) else [])
    return "; ".join(told[:2])


def _sign(name: str, below: Sequence[str], rising: bool) -> tuple[str, bool]:
    """Why a cell is no name, and whether that is enough by itself."""
    number = bool(NUMBER.fullmatch(name))
    if not name or not below or (number and rising):
        return "", False
    same = sum(cell == name for cell in below)
    if same >= max(2, _LEAST_SHARE * len(below)):
        return f"{name!r:.40} stands {same} times in the first {len(below):,} rows below it", True
    if number and mostly(NUMBER, below):
        return f"{name} is a number, as what is below it", bool(float(name) % 1)
    if DATE.fullmatch(name) and mostly(DATE, below):
        return f"{name} is a date, as what is below it", False
    if count_words(name) >= _SENTENCE and mean(count_words(cell) for cell in below) >= _SENTENCE:
        return f"{name[:40]!r} … is a sentence, as what is below it", False
    return "", False


def _rise(numbers: Sequence[float]) -> bool:
    return len(numbers) > 1 and all(one < other for one, other in pairwise(numbers))
