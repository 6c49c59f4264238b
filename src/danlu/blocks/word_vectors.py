"""A vector a word: what such a model says of words and of texts, whoever taught it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from danlu.blocks.taught import SelfTaught
from danlu.blocks.word_queries import misfit
from danlu.contracts import Batch

if TYPE_CHECKING:
    from danlu.blocks.word_list import WordList

Teach: TypeAlias = Callable[[np.ndarray[Any, Any], int], np.ndarray[Any, Any]]
"""Texts (ids [n, length], negative behind shorter ones) and a seed to vectors [words, size]."""

_NEAR = 5
"""How many words on each side a word is compared with."""
_DRAWN = 256
_JUDGED = 256
_TINY = 1e-12


class WordVectors(SelfTaught):
    """The vectors [words, size] of a list of words, filled by `teach`.

    Asked with `text` [n, length] (ids, negative behind shorter texts) it gives `vector` [n, size], the sum of the
    words' vectors of length 1, and `fit` [n, length]: the share of 256 words, drawn evenly from the running words of
    the training texts, that are further from the words around a place (5 on each side) than the word that stands
    there; ties count half. With nothing around it a word has 0.5.

    Asked with `ids` and `weights` [n, some] it gives `vector` [n, size], their weighted sum, and `similarity`
    [n, words], its cosine with every word.
    """

    whole_set = True
    vectors: Tensor
    drawn: Tensor

    def __init__(self, words: WordList, size: int, teach: Teach) -> None:
        super().__init__()
        self._teach = teach
        self.register_buffer("vectors", torch.zeros(len(words), size))
        self.register_buffer("drawn", torch.from_numpy(words.drawn(_DRAWN)), persistent=False)

    def forward(
        self, text: Tensor | None = None, ids: Tensor | None = None, weights: Tensor | None = None
    ) -> dict[str, Tensor]:
        table = nn.functional.normalize(self.vectors, dim=-1, eps=_TINY)
        if text is not None:
            return self._of_text(table, text)
        assert ids is not None
        assert weights is not None
        vector = (table[ids.clamp(min=0)] * weights[..., None]).sum(1)
        return {"vector": vector, "similarity": nn.functional.normalize(vector, dim=-1, eps=_TINY) @ table.T}

    def _of_text(self, table: Tensor, text: Tensor) -> dict[str, Tensor]:
        known = text >= 0
        words = (table[text.clamp(min=0)] * known[..., None]).double()  # so that no comparison hangs on the batch
        places = torch.arange(text.shape[1], device=text.device)
        near = (places[:, None] - places).abs() <= _NEAR
        other = text[:, :, None] != text[:, None, :]  # the word itself, here or again, would tell nothing
        around = (near & other & known[:, None, :]).double() @ words
        own = (around * words).sum(-1, keepdim=True)
        others = around @ table[self.drawn].double().T
        itself = text[..., None] == self.drawn
        fit = torch.where((own == others) | itself, 0.5, (own > others).double()).mean(-1)
        return {"vector": words.sum(1).float(), "fit": (fit * known).float()}

    def update(self, batch: Batch) -> Tensor:
        """Be taught by all texts; the loss of 256 of them is measured, the others are given its mean."""
        text = batch.inputs["text"]
        seed = int(torch.randint(2**31, ()))
        self.vectors.copy_(torch.from_numpy(self._teach(text.cpu().numpy(), seed)))
        judged = torch.arange(0, len(text), -(-len(text) // _JUDGED), device=text.device)
        loss = torch.cat([self._misfit(some) for some in text[judged].split(32)])
        counts: Tensor = batch.count
        given = counts * (loss.sum() / counts[judged].sum())
        return given.index_copy(0, judged, loss)

    def _misfit(self, text: Tensor) -> Tensor:
        text = text[:, : int((text >= 0).sum(1).max())]  # the longest text of all sets the width
        return misfit(self(text=text), text)
