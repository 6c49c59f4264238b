"""Replace words by near ones in a model's table of word vectors."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, some
from danlu.blocks.neighbours import Neighbours
from danlu.blocks.words import replace, words
from danlu.contracts import Context, Counts, Location
from danlu.core import assets


class NearWords(AugmentText):
    """New training rows in which some words are replaced by near ones; the label stays. For languages with spaces.

    Near words are of the same field, not always of the same meaning: look at the samples. A list of your own
    (`synonym`) is surer.
    """

    main: ClassVar[str] = "vectors"

    vectors: Location = "asset:minilm"
    """A model whose word vectors are looked at, such as `asset:minilm` or `asset:wordllama`."""
    rate: float = Field(default=0.15, gt=0, le=1)
    """The share of the replaceable words that are replaced; at least one."""
    least: float = Field(default=0.6, gt=0, lt=1)
    """The least cosine of two word vectors that are taken as near; lower ones bring opposites (good and bad: 0.53)."""
    most: int = Field(default=5, ge=1)
    """At most so many near words are drawn from."""

    @cached_property
    def _neighbours(self) -> Neighbours:
        return Neighbours(assets.resolve(self.vectors))

    @cached_property
    def _near(self) -> dict[str, list[str]]:
        return {}

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        """All words are looked up first, many at once."""
        mine = [n for n in self.columns or context.columns.ask if n in table.column_names and self._is_mine(table, n)]
        texts = (text for name in mine for text in table.column(name).to_pylist() if text)
        found = dict.fromkeys(word.casefold() for text in texts for _, word in words(text))
        unknown = [word for word in found if word not in self._near]
        told = self._neighbours.of(unknown, least=self.least, most=self.most) if unknown else {}
        self._near.update((word, told.get(word, [])) for word in unknown)
        return super().apply(table, context)

    def _is_mine(self, table: pa.Table, name: str) -> bool:
        return self.takes(table.schema.field(name).type)

    def vary(self, value: str, rng: np.random.Generator) -> Varied | None:
        spans = [(begin, begin + len(word), self._near.get(word.casefold(), [])) for begin, word in words(value)]
        places = [span for span in spans if span[2]]
        chosen = [places[k] for k in some(rng, range(len(places)), self.rate)]
        return Varied(replace(value, chosen, rng), "near word") if chosen else None
