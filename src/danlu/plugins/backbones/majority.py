"""The baseline that looks at nothing: it counts the labels and always answers the most common one, or ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from danlu.blocks.blind import Blind
from danlu.blocks.labels import TARGET, binary_cross_entropy
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Backbone, Batch, Head


class Majority(Backbone):
    """What a model must beat to be worth anything; its confidence is the label's share of the training rows."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"head": ("input",), "answer": ("label", "labels")}
    processor_class: ClassVar[type[Any]] = Blind

    def learn(self, inputs: Iterable[Any]) -> Blind:
        return Blind()

    def build(self, head: Head, processor: Blind, folder: Path | None) -> nn.Module:
        return _Shares(head.size) if head.several else _Counts(head.size)


class _Counts(SelfTaught):
    """`one` [n, 1] to `logits` [n, labels]: the log of every label's share, with one more of each (Laplace)."""

    counts: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(labels))

    def forward(self, one: Tensor) -> dict[str, Tensor]:
        shares = (self.counts + 1) / (self.counts + 1).sum()
        return {"logits": one * shares.log()}

    def update(self, batch: Batch) -> Tensor:
        labels = batch.targets[TARGET]
        self.counts += labels.bincount(minlength=len(self.counts))
        scores: Tensor = self(**batch.inputs)["logits"]
        return -scores.gather(-1, labels[:, None])[:, 0]


class _Shares(SelfTaught):
    """`one` [n, 1] to `logits` [n, labels] of labels that hold each by itself: the log odds of every label's share."""

    counts: Tensor
    rows: Tensor

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.register_buffer("counts", torch.zeros(labels))
        self.register_buffer("rows", torch.zeros(1))

    def forward(self, one: Tensor) -> dict[str, Tensor]:
        return {"logits": one * ((self.counts + 1) / (self.rows - self.counts + 1)).log()}

    def update(self, batch: Batch) -> Tensor:
        self.counts += batch.targets[TARGET].sum(0)
        self.rows += len(batch)
        return binary_cross_entropy(self(**batch.inputs), batch)
