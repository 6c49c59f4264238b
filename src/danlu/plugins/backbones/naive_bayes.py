"""Naive Bayes over words and pairs of words: counts, and nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from danlu.blocks import bayes
from danlu.blocks.linear_grams import Array, LinearGrams


class NaiveBayes(LinearGrams):
    """Counts once, in less than a second; hard to beat with few rows.

    It counts TF-IDF weights of length 1 a text, as Rennie et al. (2003) advise: plain counts make it far too sure of
    itself, these rather too little.
    """

    main: ClassVar[str] = "counts"

    counts: Literal["multinomial", "complement"] = "multinomial"
    """`multinomial`: how often a word comes under a label. `complement`: how seldom under the others, for labels of
    very different size; it knows no shares of labels."""
    smoothing: float = Field(default=0.1, gt=0)
    """What is added to every count (Lidstone; 1 is Laplace)."""

    def taught(self, ids: Array, weights: Array, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        found = bayes.counted(ids, weights, labels, shape)
        learnt = bayes.complement if self.counts == "complement" else bayes.multinomial
        return learnt(*found, self.smoothing)
