"""Drop texts that are too short or too long, or cut the long ones."""

from __future__ import annotations

from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from danlu.blocks import untrusted
from danlu.blocks.grams import words
from danlu.blocks.rewriting import drop, each, rewrite, text_columns
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Context, Counts, Location, Operator
from danlu.core import assets


class Length(Operator):
    """Looks at the text columns that the task asks about; a missing text has length 0.

    Each backbone cuts at its own limit, in tokens; `of: tokens` drops what would be cut, or is too short to be of use.
    """

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""
    of: Literal["characters", "words", "tokens"] = "characters"
    """What is counted; a Chinese or Japanese character counts as a word; tokens are those of `tokenizer`."""
    tokenizer: Location | None = None
    """The model whose tokens are counted, special ones included: `asset:name`, a folder with a `tokenizer.json`, or
    `hub:org/name@commit`."""
    least: int = Field(default=1, ge=0)
    """A row with a shorter text is dropped."""
    most: int | None = Field(default=None, ge=1)
    """A row with a longer text is dropped, or the text is cut."""
    long: Literal["drop", "cut"] = "drop"
    """What happens to a text that is too long; `cut` keeps its beginning and counts characters."""

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.most is not None and self.most < self.least:
            raise ValueError(f"most ({self.most}) is less than least ({self.least})")
        if (self.of == "tokens") != (self.tokenizer is not None):
            raise ValueError("of: tokens and `tokenizer` go together, such as tokenizer: asset:minilm")
        if self.long == "cut" and (self.most is None or self.of != "characters"):
            raise ValueError("long: cut needs `most`, in characters")
        return self

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        counts = Counts(table.num_rows, table.num_rows)
        texts = text_columns(table, names, counts, option="length.columns")
        lengths = [self._lengths(table.column(name)) for name in texts]
        rules = {"too short": _any(table, [one < self.least for one in lengths])}
        if self.most is not None and self.long == "drop":
            rules["too long"] = _any(table, [one > self.most for one in lengths])
        kept, counts = drop(table, names, rules, counts)
        if self.long == "cut" and texts:
            kept, cut = rewrite(kept, texts, each(lambda text: text[: self.most]), option="length.columns")
            counts.changed, counts.samples = cut.changed, (cut.samples + counts.samples)[:10]
            counts.by |= {"cut": cut.changed} if cut.changed else {}
        return kept, counts

    @cached_property
    def _processor(self) -> TextProcessor:
        folder = assets.resolve(str(self.tokenizer))
        untrusted.check_model(folder)
        return TextProcessor.load(folder)

    def _lengths(self, column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
        if self.of == "words":
            return np.array([len(words(text or "")) for text in column.to_pylist()], dtype=np.int64)
        if self.of == "tokens":
            texts = column.to_pylist()
            cut = iter(self._processor.cut([text for text in texts if text]))
            return np.array([len(next(cut)) if text else 0 for text in texts], dtype=np.int64)
        lengths: np.ndarray[Any, Any] = pc.fill_null(pc.utf8_length(column), 0).to_numpy()
        return lengths


def _any(table: pa.Table, masks: list[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    found: np.ndarray[Any, Any] = np.logical_or.reduce([np.zeros(table.num_rows, bool), *masks])
    return found
