"""Guess which column of a table is the text, the picture and the label, and say why."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.language import Language, detect_language
from danlu.blocks.pictures import PICTURE
from danlu.blocks.tables import is_text

_MOST_ROWS = 5000
_MOST_LABELS = 1000
_TEXT_NAMES = re.compile(
    r"(?<![a-z])(texts?|reviews?|comments?|sentences?|contents?|body|messages?|tweets?|descriptions?|questions?"
    r"|utterances?|documents?)(?![a-z])|文本|评论|内容|正文|句子|描述|留言"
)
_LABEL_NAMES = re.compile(
    r"(?<![a-z])(labels?|class(es)?|category|categories|sentiments?|targets?|intents?|topics?|polarity|tags?|y|gold"
    r"|ratings?|stars?)(?![a-z])|标签|类别|分类|情感|意图|评分"
)
_OTHER_NAMES = re.compile(
    r"^(id|idx|index|uuid|guid|no|nr|row|key|split|fold|subset|unnamed: ?\d+)$|[_ ]id$|^$|编号|序号"
)
_PICTURE_NAMES = re.compile(r"\.(png|jpe?g|webp|bmp|gif|tiff?)$", re.IGNORECASE)
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
DATE = re.compile(r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}.*|\d{1,2}[./]\d{1,2}[./]\d{2,4}.*")
_TOKEN = re.compile(r"\S+")
_HAN = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")
_HAN_PER_WORD = 1.6


@dataclass(slots=True)
class Sniffed:
    """The columns found (None where there is none), the language of the text, and a reason for every column."""

    text: str | None = None
    label: str | None = None
    image: str | None = None
    language: Language | None = None
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Profile:
    """What a column looks like. `words` is the mean number of words (of 1.6 characters in Chinese) of a cell."""

    name: str
    kind: str
    rows: int
    filled: int
    distinct: int
    words: float
    values: Sequence[Any]
    """The most common values, at most ten."""

    @property
    def different(self) -> float:
        return self.distinct / max(1, self.filled)


def sniff(table: pa.Table) -> Sniffed:
    """Guess the columns of a table of text or pictures with labels; looks at 5,000 rows spread over it.

    A label has at least two values and at most 1,000, each in two rows or more on average; a text has several words and
    is different in most rows.
    """
    table = _spread(table)
    profiles = [_profile(name, table.column(name)) for name in table.column_names]
    found = Sniffed()
    picture = next((p for p in profiles if p.kind == "picture"), None)
    text = max((p for p in profiles if _text_score(p) > 0), key=_text_score, default=None)
    last = profiles[-1].name if profiles else ""
    label = max(
        (p for p in profiles if p is not text and _why_no_label(p) is None),
        key=lambda p: _label_score(p, last=p.name == last),
        default=None,
    )
    if picture:
        found.image = picture.name
        found.reasons.append(f"image: column {picture.name!r} holds pictures")
    if text:
        found.text = text.name
        found.language = detect_language(cell for cell in table.column(text.name).to_pylist() if cell)
        hint = ", and its name says so" if _TEXT_NAMES.search(text.name.lower()) else ""
        told = f"{text.words:.0f} words on average, {text.different:.0%} of the texts different"
        found.reasons.append(f"text: column {text.name!r}, with {told}{hint}")
        found.reasons.append(f"language: {found.language.code}, since {found.language.reason}")
    if label:
        found.label = label.name
        hint = ", and its name says so" if _LABEL_NAMES.search(label.name.lower()) else ""
        found.reasons.append(f"label: column {label.name!r}, with {label.distinct} values ({_listed(label)}){hint}")
    found.reasons += [f"not used: {_rejection(p)}" for p in profiles if p not in (picture, text, label)]
    return found


def _spread(table: pa.Table) -> pa.Table:
    if table.num_rows <= _MOST_ROWS:
        return table
    return table.take(pa.array(np.linspace(0, table.num_rows - 1, _MOST_ROWS).astype(np.int64)))


# ---- one column ------------------------------------------------------------------------------------------------------


def _profile(name: str, column: pa.ChunkedArray) -> _Profile:
    if column.type == PICTURE or pa.types.is_binary(column.type):
        return _Profile(name, "picture", len(column), len(column) - column.null_count, 0, 0.0, ())
    if pa.types.is_nested(column.type):
        return _Profile(name, "nested", len(column), len(column) - column.null_count, 0, 0.0, ())
    cells = [cell for cell in column.to_pylist() if cell is not None and cell != "" and cell == cell]
    counted = pc.value_counts(pa.array([str(cell) for cell in cells], pa.string())).to_pylist()
    counted.sort(key=lambda entry: -entry["counts"])
    words = float(np.mean([count_words(cell) for cell in cells])) if cells and is_text(column.type) else 0.0
    common = [entry["values"] for entry in counted[:10]]
    return _Profile(name, _kind(column.type, cells), len(column), len(cells), len(counted), words, common)


def count_words(cell: str) -> float:
    """How many words a text has; in Chinese and Japanese 1.6 characters count as one."""
    han = len(_HAN.findall(cell))
    return han / _HAN_PER_WORD + len(_TOKEN.findall(_HAN.sub(" ", cell)))


def _kind(kind: pa.DataType, cells: Sequence[Any]) -> str:
    if not cells:
        return "empty"
    if pa.types.is_floating(kind):
        return "scale" if any(cell % 1 for cell in cells) else "number"
    if pa.types.is_integer(kind):
        return "number"
    if pa.types.is_temporal(kind):
        return "date"
    if not is_text(kind):
        return "word"
    if mostly(NUMBER, cells):
        return "scale" if any(float(cell) % 1 for cell in cells if NUMBER.fullmatch(cell)) else "number"
    if mostly(DATE, cells):
        return "date"
    if sum(bool(_PICTURE_NAMES.search(cell)) for cell in cells) > 0.9 * len(cells):
        return "picture"
    return "word"


def mostly(pattern: re.Pattern[str], cells: Sequence[str]) -> bool:
    """Whether more than 95 % of the cells are as the pattern says."""
    return sum(bool(pattern.fullmatch(cell.strip())) for cell in cells) > 0.95 * len(cells)


# ---- which is which --------------------------------------------------------------------------------------------------


def _text_score(column: _Profile) -> float:
    if column.kind != "word" or column.words < 1.2 or column.different < 0.2:
        return 0.0
    named = 2.0 if _TEXT_NAMES.search(column.name.lower()) else 1.0
    return named * column.different * float(np.log1p(column.words)) * column.filled / column.rows


def _label_score(column: _Profile, *, last: bool) -> float:
    """Few values, a telling name, and the usual place of a label: the last column."""
    few = 1 - float(np.log(column.distinct) / np.log(max(3, column.rows)))
    named = 2.0 if _LABEL_NAMES.search(column.name.lower()) else 0.0
    return few + named + (0.3 if last else 0.0) + column.filled / column.rows


def _why_no_label(column: _Profile) -> str | None:
    if column.kind in ("picture", "nested", "empty", "date", "scale"):
        words = {"picture": "pictures", "nested": "lists or records", "date": "dates", "scale": "numbers on a scale"}
        return f"holds {words.get(column.kind, 'nothing')}"
    if _OTHER_NAMES.search(column.name.lower()):
        return "has the name of an identifier or a split"
    if column.distinct < 2:
        return f"has one value only ({_listed(column)})"
    if column.distinct > _MOST_LABELS or column.distinct > column.filled / 2:
        return f"has {column.distinct} values in {column.filled} rows, too many for a label"
    return None


def _rejection(column: _Profile) -> str:
    why = _why_no_label(column)
    return f"column {column.name!r} {why}" if why else f"column {column.name!r}, another one fits better"


def _listed(column: _Profile) -> str:
    shown = ", ".join(value[:30] for value in column.values[:5])
    return f"{shown}, …" if column.distinct > 5 else shown
