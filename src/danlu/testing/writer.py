"""The smallest model that writes a text from a text: the words it read, averaged, the last word and its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from danlu.blocks.special_tokens import T5
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Backbone, Head
from danlu.core import plugin

_WIDTH, _PLACES = 64, 256


class Writer(Backbone):
    """For tests of tasks that ask for another text: trains in seconds."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("sequence",)}
    processor_class: ClassVar[type[Any]] = TextProcessor

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        cutter = plugin.load("tokenizers", "wordpiece")()
        learnt: TextProcessor = cutter.learn(inputs, T5, _PLACES)
        return learnt

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        return _Writer(processor.size)


class _Writer(nn.Module):
    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.words, self.place = nn.Embedding(vocabulary, _WIDTH), nn.Embedding(_PLACES, _WIDTH)
        self.middle, self.head = nn.Linear(3 * _WIDTH, _WIDTH), nn.Linear(_WIDTH, vocabulary)

    def forward(
        self,
        input_ids: Tensor,
        decoder_input_ids: Tensor,
        attention_mask: Tensor | None = None,
        segments: Tensor | None = None,
        decoder_segments: Tensor | None = None,
        at: Tensor | None = None,
        tokens: Tensor | None = None,
    ) -> Arrays:
        """As `blocks.encoder_decoder.AskedPair`, but that it always gives `logits`."""
        if segments is None or decoder_segments is None:
            segments = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            decoder_segments = torch.ones_like(decoder_input_ids)
        sees = ((decoder_segments[:, :, None] == segments[:, None]) & (segments > 0)[:, None]).float()
        mean = (sees @ self.words(input_ids)) / sees.sum(-1, keepdim=True).clamp(min=1)
        place = torch.arange(decoder_input_ids.shape[1], device=input_ids.device)
        places = self.place(place).expand_as(mean)
        mixed = torch.cat([mean, self.words(decoder_input_ids), places], -1)
        if at is not None:
            mixed = mixed.gather(1, at.unsqueeze(-1).expand(-1, -1, mixed.shape[-1]))
        logits = self.head(torch.tanh(self.middle(mixed)))
        if tokens is None or self.training:
            return {"logits": logits}
        return {"log_likelihood": logits.log_softmax(-1).gather(2, tokens.unsqueeze(-1)).squeeze(-1)}
