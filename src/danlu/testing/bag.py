"""The smallest backbone that has something to adapt: words of a text, averaged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.grams import GramProcessor
from danlu.contracts import Backbone, Head

_WIDTH = 32


class Bag(Backbone):
    """For tests of tasks, methods and techniques: trains in a second, and plays a pretrained model with a new head."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input", "vector")}
    processor_class: ClassVar[type[Any]] = GramProcessor

    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of the features left out in training, for what needs a model with dropout."""

    def learn(self, inputs: Iterable[str]) -> GramProcessor:
        return GramProcessor.learn(inputs, 1000)

    def build(self, head: Head, processor: GramProcessor, folder: Path | None) -> nn.Module:
        return _Bag(len(processor.names), 0 if head.per == "vector" else head.size, self.dropout)

    def start(self, head: Head, processor: GramProcessor) -> tuple[nn.Module, list[str]]:
        module = self.build(head, processor, None)
        return module, [name for name, _ in module.named_parameters() if name.startswith("head.")]


class _Bag(nn.Module):
    """`ids` and `weights` [n, grams] to `logits` [n, labels]; the last id stands for nothing.

    Without labels to `vector` [n, width].
    """

    def __init__(self, grams: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(grams + 1, _WIDTH)
        self.middle = nn.Linear(_WIDTH, _WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(_WIDTH, labels) if labels else None

    def forward(self, ids: Tensor, weights: Tensor) -> dict[str, Tensor]:
        mixed = (self.table(ids) * weights[..., None]).sum(1)
        features = self.dropout(torch.tanh(self.middle(mixed)))
        return {"vector": features} if self.head is None else {"logits": self.head(features)}
