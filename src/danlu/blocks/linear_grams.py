"""Linear scores over words and pairs of words, however their weights are found."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.grams import GramProcessor
from danlu.blocks.labels import TARGET, binary_cross_entropy, cross_entropy
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Backbone, Batch, Head

Array: TypeAlias = np.ndarray[Any, Any]
Taught: TypeAlias = Callable[[Array, Array, Array, tuple[int, int]], tuple[Array, Array]]
"""Sparse rows `ids` and `weights` [n, k], `labels` [n] and the shape (features, labels) to coefficients of that shape
and intercepts [labels]."""

_ROWS = 1024
"""Rows asked at a time: a row takes grams × labels × 4 bytes while it is answered."""


class LinearGrams(Backbone):
    """Derive from it and write `taught`. Labels that can hold together are each learnt by themselves."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input",),
        "answer": ("label", "labels"),
    }
    processor_class: ClassVar[type[Any]] = GramProcessor

    grams: int = Field(default=50_000, ge=1)
    """How many words and pairs of words it knows at most, the commonest first."""

    @abstractmethod
    def taught(self, ids: Array, weights: Array, labels: Array, shape: tuple[int, int]) -> tuple[Array, Array]:
        """What the training rows teach; see `Taught`."""

    def learn(self, inputs: Iterable[str]) -> GramProcessor:
        return GramProcessor.learn(inputs, self.grams)

    def build(self, head: Head, processor: GramProcessor, folder: Path | None) -> nn.Module:
        return _Linear(len(processor.names), head.size, self.taught)


class _Linear(SelfTaught):
    """Sparse rows, `ids` and `weights` [n, grams], to `logits` [n, labels]; the last id stands for nothing."""

    whole_set = True
    coefficients: Tensor
    intercepts: Tensor

    def __init__(self, features: int, labels: int, taught: Taught) -> None:
        super().__init__()
        self._taught = taught
        self.register_buffer("coefficients", torch.zeros(features + 1, labels))
        self.register_buffer("intercepts", torch.zeros(labels))

    def forward(self, ids: Tensor, weights: Tensor) -> dict[str, Tensor]:
        scores = (self.coefficients[ids] * weights[..., None]).sum(1)
        return {"logits": scores + self.intercepts}

    def update(self, batch: Batch) -> Tensor:
        ids, weights, labels = batch.inputs["ids"], batch.inputs["weights"], batch.targets[TARGET]
        rows, shape = (ids.numpy(), weights.numpy()), (self.coefficients.shape[0], self.coefficients.shape[1])
        several = labels.ndim == 2
        found = (
            each_alone(self._taught, *rows, labels.numpy(), shape)
            if several
            else self._taught(*rows, labels.numpy(), shape)
        )
        self.coefficients.copy_(torch.from_numpy(found[0]))
        self.intercepts.copy_(torch.from_numpy(found[1]))
        few = zip(ids.split(_ROWS), weights.split(_ROWS), strict=True)
        outputs = {"logits": torch.cat([self(*rows)["logits"] for rows in few])}
        return binary_cross_entropy(outputs, batch) if several else cross_entropy(outputs, batch)


def each_alone(
    taught: Taught, ids: Array, weights: Array, labels: Array, shape: tuple[int, int]
) -> tuple[Array, Array]:
    """Coefficients and intercepts of labels that hold each by itself, `labels` [n, labels] of 0 and 1: log odds."""
    each = [taught(ids, weights, one.astype(np.int64), (shape[0], 2)) for one in labels.T]
    return np.stack([w[:, 1] - w[:, 0] for w, _ in each], 1), np.array([b[1] - b[0] for _, b in each])
