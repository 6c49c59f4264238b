"""The smallest model that reads word by word: the words of a text, averaged, and the place that is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Backbone, Head
from danlu.core import plugin

_WIDTH, _PLACES = 64, 256


class Reader(Backbone):
    """For tests of tasks that ask for gaps, for what comes next or for each token: trains in seconds."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("position", "gap", "next")}
    processor_class: ClassVar[type[Any]] = TextProcessor

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        cutter = plugin.load("tokenizers", "wordpiece")()
        learnt: TextProcessor = cutter.learn(inputs, BERT, _PLACES)
        return learnt

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        answers = head.size if head.per == "position" else processor.size
        return _Reader(processor.size, answers, causal=head.per == "next")

    def start(self, head: Head, processor: TextProcessor) -> tuple[nn.Module, list[str]]:
        return self.build(head, processor, None), ["head.weight", "head.bias"]


class _Reader(nn.Module):
    def __init__(self, vocabulary: int, answers: int, *, causal: bool) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(vocabulary, _WIDTH), nn.Embedding(_PLACES, _WIDTH)
        self.middle = nn.Linear(3 * _WIDTH, _WIDTH)
        self.head = nn.Linear(_WIDTH, answers)
        self.causal = causal

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        segments: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Arrays:
        """As `blocks.lm_heads.Asked`, but that it always gives `logits`; a document of a block sees itself alone.

        It does not tell the tokens of two texts apart.
        """
        known = segments if segments is not None else attention_mask
        known = torch.ones_like(input_ids) if known is None else known
        length = input_ids.shape[1]
        sees = ((known[:, :, None] == known[:, None, :]) & (known > 0)[:, None, :]).float()
        place = torch.arange(length, device=input_ids.device)
        if self.causal:
            sees = sees * (place[None, :] <= place[:, None]).float()
        words = self.words(input_ids)
        mean = (sees @ words) / sees.sum(-1, keepdim=True).clamp(min=1)
        mixed = torch.cat([mean, words, self.place(place).expand_as(words)], -1)
        if at is not None:
            mixed = mixed.gather(1, at.unsqueeze(-1).expand(-1, -1, mixed.shape[-1]))
        logits = self.head(torch.tanh(self.middle(mixed)))
        if tokens is None or self.training:
            return {"logits": logits}
        return {"log_likelihood": logits.log_softmax(-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1)}
