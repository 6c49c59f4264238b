"""Replace words by near ones in a model's table of word vectors."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, some
from danlu.blocks.neighbours import Neighbours
from danlu.blocks.words import replace, words
from danlu.contracts import Location
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

    def vary(self, value: str, rng: np.random.Generator) -> Varied | None:
        found = [(begin, begin + len(word), word.casefold()) for begin, word in words(value)]
        if unknown := [word for *_, word in found if word not in self._near]:
            told = self._neighbours.of(unknown, least=self.least, most=self.most)
            self._near.update((word, told.get(word, [])) for word in unknown)
        places = [(begin, end, self._near[word]) for begin, end, word in found if self._near[word]]
        chosen = [places[k] for k in some(rng, range(len(places)), self.rate)]
        return Varied(replace(value, chosen, rng), "near word") if chosen else None
