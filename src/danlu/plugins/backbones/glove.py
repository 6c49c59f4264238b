"""GloVe: word vectors from counts of which words stand near each other (Pennington, Socher and Manning, 2014)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field
from torch import nn

from danlu.blocks import glove
from danlu.blocks.word_list import Cutter, WordList
from danlu.blocks.word_vectors import WordVectors
from danlu.contracts import Backbone, Head


class Glove(Backbone):
    """Counts once, then learns from the counts alone; needs no library beside Danlu's own.

    On a million words it ranks held-out neighbours about as well as `word2vec`, and finds more of the nearest words
    again in another half of the texts (`benchmarks/word_vectors.py`).
    """

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("features",),
        "answer": ("word_vectors",),
    }
    processor_class: ClassVar[type[Any]] = WordList

    size: int = Field(default=100, ge=1)
    """Numbers in a vector."""
    window: int = Field(default=10, ge=1, le=100)
    """How many words on each side are near a word; one `d` words away counts 1/d."""
    min_count: int = Field(default=5, ge=1)
    """Words that are rarer in the training texts are left out."""
    words: int = Field(default=50_000, ge=2)
    """How many words it knows at most, the commonest first."""
    chinese: Cutter = "characters"
    """Chinese text is cut into `characters`, or into words by `jieba` (pip install 'danlu[chinese]')."""
    passes: int = Field(default=15, ge=1)
    """How often it goes over the counted pairs."""
    rate: float = Field(default=0.05, gt=0)
    """AdaGrad's learning rate."""
    most: float = Field(default=10.0, gt=0)
    """Pairs counted this often weigh most; the paper has 100, for billions of words, which is worse on a million."""
    power: float = Field(default=0.75, gt=0)
    """How the weight rises up to there."""

    def learn(self, inputs: Iterable[str]) -> WordList:
        return WordList.learn(inputs, least=self.min_count, most=self.words, chinese=self.chinese)

    def build(self, head: Head, processor: WordList, folder: Path | None) -> nn.Module:
        def teach(texts: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
            counts = glove.count(texts, len(processor), self.window)
            how = {name: getattr(self, name) for name in ("size", "passes", "rate", "most", "power")}
            return glove.learn(counts, seed=seed, **how)

        return WordVectors(processor, self.size, teach)
