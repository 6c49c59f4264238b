"""CutMix: paste a rectangle of one picture into another (Yun et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field

from danlu.blocks.mixing import mixed
from danlu.contracts import Batch, Technique
from danlu.core.errors import RecipeError


class Cutmix(Technique):
    """Every picture of a batch gets a rectangle of another one; the losses of the two weigh as their areas do.

    The rectangle takes 1 - lambda of the area, lambda drawn from Beta(alpha, alpha), around a point drawn anywhere;
    what lies outside the picture is cut off, and the weight is that of what is left. For arrays of pictures
    [n, channels, height, width].
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("image",),
        "answer": ("label", "labels", "number"),
        "learning": ("descent",),
    }

    alpha: float = Field(default=1.0, gt=0, le=10)
    """1: every size is as likely; less: mostly very small or very large ones."""
    probability: float = Field(default=0.5, gt=0, le=1)
    """The share of the batches in which it is done."""

    def start(self, run: Any) -> None:
        shapes = [np.shape(array) for array in run.job.train[0].inputs.values()]
        if any(len(shape) != 3 for shape in shapes):
            what = f"an example must be pictures [channels, height, width], not arrays of the shapes {shapes}"
            raise RecipeError(what, where="techniques.cutmix", do="leave cutmix out")

    def vary(self, batch: Batch, run: Any, rng: np.random.Generator) -> Batch:
        share, partner = rng.beta(self.alpha, self.alpha), torch.from_numpy(rng.permutation(len(batch)))
        at, chosen = rng.random(2), rng.random() < self.probability
        if not chosen:
            return batch
        partner = partner.to(batch.count.device)
        inputs, kept = {}, 1.0
        for name, pictures in batch.inputs.items():
            (top, bottom), (left, right) = rectangle(pictures.shape[2:], share, at)
            inputs[name] = pictures.clone()
            inputs[name][:, :, top:bottom, left:right] = pictures[partner, :, top:bottom, left:right]
            kept = 1 - (bottom - top) * (right - left) / (pictures.shape[2] * pictures.shape[3])
        return mixed(batch, inputs, partner, kept)


def rectangle(sides: tuple[int, ...], share: float, at: np.ndarray[Any, Any]) -> list[tuple[int, int]]:
    """From where to where, along each side, a rectangle of 1 - share of the area reaches, `at` the middle (0 to 1)."""
    spans = []
    for side, middle in zip(sides, at, strict=True):
        half, centre = int(side * np.sqrt(1 - share)) // 2, int(middle * side)
        spans.append((max(centre - half, 0), min(centre + half, side)))
    return spans
