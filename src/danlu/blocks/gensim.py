"""gensim's Word2Vec (Mikolov et al., 2013), taught with ids in place of words."""

from __future__ import annotations

from typing import Any

import numpy as np

from danlu.core.plugin import lazy

models: Any = lazy("gensim.models", extra="vectors")


def word2vec(
    texts: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], *, seed: int, **options: Any
) -> np.ndarray[Any, Any]:
    """Vectors float32 [words, size], in the order of the ids, by `gensim.models.Word2Vec(**options)`.

    `texts` [n, length] are ids, with negative ones behind shorter texts; `counts` [words] how often each occurred.
    Raises MachineError where gensim is not installed.
    """
    lengths = (texts >= 0).sum(1)
    sentences = [row[:length].tolist() for row, length in zip(texts, lengths, strict=True)]
    model = models.Word2Vec(seed=seed, min_count=1, **options)
    model.build_vocab_from_freq(dict(enumerate(counts.tolist())), corpus_count=len(sentences))
    model.train(sentences, total_examples=len(sentences), total_words=int(lengths.sum()), epochs=model.epochs)
    found = np.empty((len(counts), model.vector_size), np.float32)
    found[np.array(model.wv.index_to_key)] = model.wv.vectors
    return found
