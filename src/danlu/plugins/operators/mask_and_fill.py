"""Replace words by what a masked language model finds likely in their place (Kumar et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks.augment import AugmentText, Varied, some
from danlu.blocks.filling import Filler, Gapped
from danlu.blocks.words import like, spans
from danlu.core.settings import Model


class MaskAndFill(AugmentText):
    """New training rows in which a model fills the place of some words, or Chinese characters; the label stays.

    A model of the same field serves best, such as one that `pretrain` made of the texts without labels. It knows what
    is usual, not what is meant: nothing can tell which words carry the label, and *a good film* becomes *a bad film*
    as easily as *a fine film*. Look at the samples, keep `rate` low, and compare with a model trained without.
    """

    main: ClassVar[str] = "model"

    model: Model
    """The folder of a masked language model, such as the artifact of a `pretrain` step: the one with `forms.json` in
    it. What it holds is part of the reuse key."""
    rate: float = Field(default=0.15, gt=0, le=1)
    """The share of the words that are replaced; at least one."""
    most: int = Field(default=10, ge=1)
    """At most so many words are drawn from for a gap, in proportion to their probabilities."""

    @cached_property
    def _filler(self) -> Filler:
        return Filler(Path(self.model).expanduser(), self.most)

    def vary_all(self, cells: Sequence[tuple[Any, np.random.Generator]]) -> list[Varied | None]:
        gapped = [Gapped(text, self._places(text, rng)) for text, rng in cells]
        likely = self._filler.likely(gapped)
        made = list[Varied | None]()
        for one, (_, rng) in zip(gapped, cells, strict=True):
            parts, done = list[str](), 0
            for (begin, end), (choice, shares) in zip(one.places, likely[one], strict=False):
                if choice:
                    word = choice[int(rng.choice(len(choice), p=shares))]
                    parts += [one.text[done:begin], like(word, one.text[begin:end])]
                    done = end
            made.append(Varied("".join([*parts, one.text[done:]]), "filled") if parts else None)
        return made

    def _places(self, text: str, rng: np.random.Generator) -> tuple[tuple[int, int], ...]:
        """The words to replace; none in a text that has a gap already."""
        found = [(begin, end) for begin, end in spans(text) if self._filler.knows(text[begin])]
        chosen = some(rng, range(len(found)), self.rate)
        return () if self._filler.sign in text else tuple(found[k] for k in chosen)
