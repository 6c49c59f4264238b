"""The classic baseline for text: TF-IDF of words and pairs of words, and logistic regression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.grams import GramProcessor
from danlu.blocks.labels import TARGET, binary_cross_entropy, cross_entropy
from danlu.blocks.sklearn import logistic_regression
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Backbone, Batch, Head

_ROWS = 1024
"""Rows asked at a time: a row takes grams × labels × 4 bytes while it is answered."""


class TfidfLr(Backbone):
    """Trains in seconds, and often is enough: a larger model should say by how much it beats this one."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input",),
        "answer": ("label", "labels"),
    }
    processor_class: ClassVar[type[Any]] = GramProcessor

    grams: int = Field(default=50_000, ge=1)
    """How many words and pairs of words it knows at most, the commonest first."""
    c: float = Field(default=10.0, gt=0)
    """The inverse of the penalty's strength."""

    def learn(self, inputs: Iterable[str]) -> GramProcessor:
        return GramProcessor.learn(inputs, self.grams)

    def build(self, head: Head, processor: GramProcessor, folder: Path | None) -> nn.Module:
        return _Linear(len(processor.names), head.size, self.c)


class _Linear(SelfTaught):
    """Sparse rows, `ids` and `weights` [n, grams], to `logits` [n, labels]; the last id stands for nothing."""

    whole_set = True
    coefficients: Tensor
    intercepts: Tensor

    def __init__(self, features: int, labels: int, c: float) -> None:
        super().__init__()
        self._c = c
        self.register_buffer("coefficients", torch.zeros(features + 1, labels))
        self.register_buffer("intercepts", torch.zeros(labels))

    def forward(self, ids: Tensor, weights: Tensor) -> dict[str, Tensor]:
        scores = (self.coefficients[ids] * weights[..., None]).sum(1)
        return {"logits": scores + self.intercepts}

    def update(self, batch: Batch) -> Tensor:
        ids, weights, labels = batch.inputs["ids"], batch.inputs["weights"], batch.targets[TARGET]
        shape = (self.coefficients.shape[0], self.coefficients.shape[1])
        found = logistic_regression(ids.numpy(), weights.numpy(), labels.numpy(), shape, self._c)
        self.coefficients.copy_(torch.from_numpy(found[0]))
        self.intercepts.copy_(torch.from_numpy(found[1]))
        few = zip(ids.split(_ROWS), weights.split(_ROWS), strict=True)
        outputs = {"logits": torch.cat([self(*rows)["logits"] for rows in few])}
        return binary_cross_entropy(outputs, batch) if labels.ndim == 2 else cross_entropy(outputs, batch)
