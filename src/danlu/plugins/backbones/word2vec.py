"""Word2Vec: word vectors that tell a word's neighbours from words drawn at random (Mikolov et al., 2013)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import nn

from danlu.blocks import gensim
from danlu.blocks.word_list import Cutter, WordList
from danlu.blocks.word_vectors import WordVectors
from danlu.contracts import Backbone, Head


class Word2Vec(Backbone):
    """Skip-gram or CBOW with negative sampling, taught by gensim (pip install 'danlu[vectors]').

    gensim is needed to learn, not to answer.
    """

    main: ClassVar[str] = "architecture"
    extra: ClassVar[str] = "vectors"
    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("features",),
        "answer": ("word_vectors",),
    }
    processor_class: ClassVar[type[Any]] = WordList

    architecture: Literal["skip_gram", "cbow"] = "skip_gram"
    """`skip_gram` tells each neighbour from the word, `cbow` the word from the mean of its neighbours: some three times
    as fast, and better only for common words in much text."""
    size: int = Field(default=100, ge=1)
    """Numbers in a vector."""
    window: int = Field(default=5, ge=1, le=100)
    """How many words on each side are neighbours at most; how many is drawn anew for each word."""
    negative: int = Field(default=5, ge=1, le=100)
    """Words drawn at random for each true neighbour."""
    subsample: float = Field(default=1e-3, ge=0)
    """Words with a greater share of the text are passed over now and then; 0: none is."""
    min_count: int = Field(default=5, ge=1)
    """Words that are rarer in the training texts are left out."""
    words: int = Field(default=50_000, ge=2)
    """How many words it knows at most, the commonest first."""
    chinese: Cutter = "characters"
    """Chinese text is cut into `characters`, or into words by `jieba` (pip install 'danlu[chinese]')."""
    passes: int = Field(default=10, ge=1)
    """How often it goes over the texts."""
    rate: float = Field(default=0.025, gt=0)
    """The learning rate at the start; it falls on a line."""
    threads: int = Field(default=1, ge=1)
    """More are faster, but then no two trainings give the same vectors."""

    def learn(self, inputs: Iterable[str]) -> WordList:
        """Raises MachineError, which names what to install, before anything is read."""
        _ = gensim.models.Word2Vec
        return WordList.learn(inputs, least=self.min_count, most=self.words, chinese=self.chinese)

    def build(self, head: Head, processor: WordList, folder: Path | None) -> nn.Module:
        def teach(texts: np.ndarray[Any, Any], seed: int) -> np.ndarray[Any, Any]:
            return gensim.word2vec(
                texts,
                processor.counts,
                seed=seed,
                sg=int(self.architecture == "skip_gram"),
                vector_size=self.size,
                window=self.window,
                negative=self.negative,
                sample=self.subsample,
                epochs=self.passes,
                alpha=self.rate,
                workers=self.threads,
            )

        return WordVectors(processor, self.size, teach)
