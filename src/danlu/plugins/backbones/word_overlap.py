"""A sliding window for questions about a text: what stands near the question's rare words (Richardson et al., 2013)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.special_tokens import BERT
from danlu.blocks.taught import SelfTaught
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Backbone, Batch, Head, Tokenizer, slot

_NEAR = (0.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Weights of being near the question's words, tried on the training rows."""
_NONE = (-8.0, -4.0, -2.0, 0.0, 2.0, 4.0)
"""Scores of no answer, tried with them."""
_OWN = 4.0
"""What it costs that a token stands in the question itself: it is seldom asked for."""
_AT_ONCE = 64


class WordOverlap(Backbone):
    """The classic baseline: it counts words and reads none, and a model that reads must say by how much it beats that.

    A token of the text scores by how near it stands to those that it shares with the question, weighed by how rare they
    are, and by how often answers of the training rows begin or end with it. Three numbers are fitted by trying.
    """

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",), "head": ("position",), "answer": ("span",),
    }  # fmt: skip
    processor_class: ClassVar[type[Any]] = TextProcessor

    tokenizer: Tokenizer = slot("wordpiece")
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    positions: int = Field(default=512, ge=8)
    """How many tokens it can take; longer texts are read in windows."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        found: TextProcessor = self.tokenizer.learn(inputs, BERT, self.positions)  # type: ignore[assignment]
        return found

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        return _Overlap(processor.size)


class _Overlap(SelfTaught):
    whole_set = True
    idf: Tensor
    ends: Tensor
    near: Tensor
    none: Tensor

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.register_buffer("idf", torch.zeros(tokens))
        self.register_buffer("ends", torch.zeros(2, tokens))
        self.register_buffer("near", torch.zeros(()))
        self.register_buffer("none", torch.zeros(()))

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Arrays:
        """`logits` [n, tokens, 2], of a beginning and of an end; the first token stands for no answer."""
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return {"logits": self._scores(input_ids, *self._shared(input_ids, real, types), self.near, self.none)}

    def _shared(self, ids: Tensor, real: Tensor, types: Tensor) -> tuple[Tensor, Tensor]:
        """Of each token how near it stands to what text and question share, from 0, and whether it is shared."""
        asked = (types == 0) & (real > 0)
        shared = ((ids[:, :, None] == ids[:, None, :]) & asked[:, None, :]).any(-1) & (types == 1)
        place = torch.arange(ids.shape[1], device=ids.device)
        close = 1 / (1 + (place[:, None] - place[None, :]).abs())
        most = (self.idf[ids] * asked).sum(1, keepdim=True).clamp(min=1e-6)
        return (self.idf[ids] * shared) @ close / most, shared.float()

    def _scores(self, ids: Tensor, close: Tensor, shared: Tensor, near: Tensor, none: Tensor) -> Tensor:
        scores = (near * close - _OWN * shared)[..., None] + self.ends.T[ids]
        first = (torch.arange(ids.shape[1], device=ids.device) == 0)[None, :, None]
        return torch.where(first, none, scores)

    def update(self, batch: Batch) -> Tensor:
        """Count all rows, then take the weights under which their answers are likeliest."""
        ids, real = batch.inputs["input_ids"], batch.inputs["attention_mask"]
        types = batch.inputs.get("token_type_ids", torch.zeros_like(ids))
        places = torch.stack([batch.targets["first"], batch.targets["last"]], 1)
        rows, tokens = len(ids), len(self.idf)
        found = torch.zeros(rows, tokens, dtype=torch.bool).scatter_(1, ids, real > 0)
        self.idf = ((1 + rows) / (1 + found.sum(0))).log()
        there = torch.bincount(ids[(types == 1) & (real > 0)], minlength=tokens)
        has = places[:, 0] > 0
        ends = [torch.bincount(ids[has].gather(1, places[has, k, None])[:, 0], minlength=tokens) for k in range(2)]
        self.ends = ((torch.stack(ends) + 0.01) / (there + 1)).log()
        parts = [self._shared(*(one[k : k + _AT_ONCE] for one in (ids, real, types))) for k in range(0, rows, _AT_ONCE)]
        close, shared = (torch.cat(some) for some in zip(*parts, strict=True))

        def loss(near: Tensor, none: Tensor) -> Tensor:
            scores = self._scores(ids, close, shared, near, none)
            closed = batch.targets["open"][..., None] == 0
            return functional.cross_entropy(scores.masked_fill(closed, -1e9), places, reduction="none").sum(1)

        tried = [(torch.tensor(near), torch.tensor(none)) for near, none in product(_NEAR, _NONE)]
        self.near, self.none = min(tried, key=lambda pair: float(loss(*pair).sum()))
        return loss(self.near, self.none)
