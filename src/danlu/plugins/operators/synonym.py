"""Replace words by others of a list that mean the same."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, some
from danlu.blocks.words import Thesaurus, replace
from danlu.contracts import Files


class Synonym(AugmentText):
    """New training rows in which some words are replaced; the label stays. No inflection is mended.

    The list is yours, so it works for any language and any trade: Chinese words are found by longest match. Without a
    list, `near_words` takes them from a model's word vectors.
    """

    main: ClassVar[str] = "words"

    words: Files
    """A list in UTF-8: a group of words that mean the same a line, set apart by commas or tabs."""
    rate: float = Field(default=0.15, gt=0, le=1)
    """The share of the replaceable words that are replaced; at least one."""

    @cached_property
    def _thesaurus(self) -> Thesaurus:
        return Thesaurus.read(Path(self.words).expanduser())

    def vary(self, value: str, rng: np.random.Generator) -> Varied | None:
        spans = self._thesaurus.found(value)
        places = [(b, e, others) for b, e in spans if (others := self._thesaurus.others(value[b:e]))]
        chosen = [places[k] for k in some(rng, range(len(places)), self.rate)]
        return Varied(replace(value, chosen, rng), "synonym") if chosen else None
