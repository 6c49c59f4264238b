"""The classic baseline for a number that is told from a text: TF-IDF of words and pairs of words, and ridge."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.grams import GramProcessor
from danlu.blocks.numbers import TARGET, squared_error
from danlu.blocks.sklearn import ridge
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Backbone, Batch, Head
from danlu.core.errors import RecipeError


class TfidfRidge(Backbone):
    """Trains in seconds: a larger model should say by how much it beats this one. Two texts are read as one."""

    gives: ClassVar[Mapping[str, str]] = {"learning": "counting"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input",),
        "answer": ("number",),
    }
    processor_class: ClassVar[type[Any]] = GramProcessor

    grams: int = Field(default=50_000, ge=1)
    """How many words and pairs of words it knows at most, the commonest first."""
    alpha: float = Field(default=1.0, gt=0)
    """The penalty's strength."""

    def learn(self, inputs: Iterable[str]) -> GramProcessor:
        return GramProcessor.learn(inputs, self.grams)

    def build(self, head: Head, processor: GramProcessor, folder: Path | None) -> nn.Module:
        return _Line(len(processor.names), self.alpha)


class _Line(SelfTaught):
    """Sparse rows, `ids` and `weights` [n, grams], to `logits` [n, 1]; the last id stands for nothing."""

    whole_set = True
    coefficients: Tensor
    intercept: Tensor

    def __init__(self, features: int, alpha: float) -> None:
        super().__init__()
        self._alpha = alpha
        self.register_buffer("coefficients", torch.zeros(features + 1))
        self.register_buffer("intercept", torch.zeros(1))

    def forward(self, ids: Tensor, weights: Tensor) -> dict[str, Tensor]:
        return {"logits": ((self.coefficients[ids] * weights).sum(1) + self.intercept)[:, None]}

    def update(self, batch: Batch) -> Tensor:
        if TARGET not in batch.targets:
            what = f"the task has no target called {TARGET!r}, which is what this counts"
            raise RecipeError(what, where="backbone.tfidf_ridge", do="a backbone that descends, such as bert")
        ids, weights, truth = batch.inputs["ids"], batch.inputs["weights"], batch.targets[TARGET]
        found = ridge(ids.numpy(), weights.numpy(), truth.numpy(), len(self.coefficients), self._alpha)
        self.coefficients.copy_(torch.from_numpy(found[0]))
        self.intercept.fill_(found[1])
        return squared_error(self(ids, weights), batch)
