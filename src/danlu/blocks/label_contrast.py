"""Contrast of sentence vectors by their labels, over all pairs of a batch (Khosla et al., 2020)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from danlu.blocks.labels import TARGET
from danlu.blocks.sentence import VECTORS
from danlu.contracts import Technique

if TYPE_CHECKING:
    from numpy.random import Generator


class Contrast(Technique):
    """Draws vectors of one label together, and the others apart, beside the task's own loss.

    Every pair of a batch counts, and each text goes through the model once. Steps see as many rows of each label as of
    any other.
    """

    weight: float
    """The share of the contrast, beside 1 of the task's own loss."""
    temperature: float
    """By what the cosines are divided: the smaller, the more the nearest texts count."""

    def draw(self, chosen: list[int], run: Any, rng: Generator) -> list[int]:
        examples = run.job.train
        if len(chosen) == len(examples):
            return chosen
        labels = np.array([int(example.targets[TARGET]) for example in examples])
        places = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels)]
        each = max(2, len(chosen) // len(places))
        return [int(place) for own in places for place in own[:each]]

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        if not self.weight:
            return loss
        own = contrasts(run.outputs[VECTORS].float(), run.batch.targets[TARGET], self.temperature)
        added: Tensor = self.weight * own * run.batch.count
        return loss + added


def contrasts(vectors: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """For each vector [n, width] of length 1 the mean of −log p over the others of its label: [n].

    p is a softmax of the cosines to all others, divided by the temperature; 0 for the only one of its label.
    """
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    near = (vectors @ vectors.T / temperature).masked_fill(itself, float("-inf"))
    told = near.log_softmax(1).masked_fill(itself, 0.0)
    same = (labels[:, None] == labels[None]) & ~itself
    loss: Tensor = -(told * same).sum(1) / same.sum(1).clamp(min=1)
    return loss
