"""Say a text again by translating it into another language and back (Sennrich et al., 2016; Xie et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from danlu.blocks import untrusted
from danlu.blocks.augment import AugmentText, Varied
from danlu.contracts import Location
from danlu.core import assets, plugin

if TYPE_CHECKING:
    from danlu.blocks.hf_seq2seq import Translator

_seq2seq: Any = plugin.lazy("danlu.blocks.hf_seq2seq")


class BackTranslation(AugmentText):
    """New training rows that say the same in other words, as far as two translation models can; the label stays.

    There by beam search, once for each text, back by drawing, so that copies differ. A text that is too long for a
    model, or whose translation does not end, is left as it is and counted. Models translate names, numbers and slang
    wrongly, and more so outside of what they were trained on: look at the samples.
    """

    why_not: ClassVar[str] = "too long for the models, or the same came back"

    there: Location
    """A translation model of the transformers library from the texts' language into another: a folder with safetensors,
    or `hub:org/name@commit`."""
    back: Location
    """The one from that language back."""
    beams: int = Field(default=4, ge=1, le=32)
    """Beams of the search on the way there."""
    temperature: float = Field(default=0.8, gt=0)
    """How freely the way back is drawn; a low one nearly always gives the likeliest text."""
    most: int = Field(default=256, ge=1)
    """Tokens of a translation at most."""

    @cached_property
    def _models(self) -> tuple[Translator, Translator]:
        folders = [assets.resolve(place) for place in (self.there, self.back)]
        for folder in folders:
            untrusted.check_model(folder)
        there, back = map(_seq2seq.Translator, folders)
        return there, back

    def vary_all(self, cells: Sequence[tuple[Any, np.random.Generator]]) -> list[Varied | None]:
        there, back = self._models
        abroad = there.best([text for text, _ in cells], beams=self.beams, most=self.most)
        seeds = [int(rng.integers(1 << 62)) for _, rng in cells]
        texts = [abroad[text] or "" for text, _ in cells]
        made = back.drawn(texts, seeds, temperature=self.temperature, most=self.most)
        return [Varied(text, "translated back") if text else None for text in made]
