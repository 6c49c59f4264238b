"""Mixup: train on mixtures of two examples (Zhang et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from danlu.blocks.mixing import both, mixed
from danlu.contracts import Batch, Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class Mixup(Technique):
    """Adds each example of a batch, weighed with lambda, to another one weighed with 1 - lambda; so are their losses.

    Lambda is drawn anew for every batch from Beta(alpha, alpha). Pictures are mixed as numbers, pixel by pixel. Of
    texts the vectors of the tokens are mixed, one below the other (wordMixup, Guo et al., 2019), for as long as the
    longer of the two. Confidences come out lower than without it.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels", "number"),
        "learning": ("descent",),
    }

    alpha: float = Field(default=0.2, gt=0, le=10)
    """How strongly: at 0.2 most mixtures are nearly one of the two, at 1 every lambda is as likely."""
    probability: float = Field(default=1.0, gt=0, le=1)
    """The share of the batches that are mixed."""
    on: Literal["auto", "inputs", "embeddings"] = "auto"
    """What is mixed: inputs that are numbers, or the vectors of ids; `auto` chooses by the arrays there are."""

    def start(self, run: Any) -> None:
        numbers = [np.issubdtype(np.asarray(a).dtype, np.floating) for a in run.job.train[0].inputs.values()]
        embeddings = self.on == "embeddings" or (self.on == "auto" and not all(numbers))
        if not embeddings and not all(numbers):
            what = "the inputs hold ids, which can't be mixed"
            raise RecipeError(what, where="techniques.mixup.on", do="techniques.mixup.on=embeddings")
        if embeddings:
            run.open_embeddings(self)
        run.kept(self)["embeddings"] = embeddings

    def vary(self, batch: Batch, run: Any, rng: np.random.Generator) -> Batch:
        share, partner = float(rng.beta(self.alpha, self.alpha)), torch.from_numpy(rng.permutation(len(batch)))
        if rng.random() >= self.probability:
            return batch
        partner = partner.to(batch.count.device)

        def mix(numbers: Tensor) -> Tensor:
            return share * numbers + (1 - share) * numbers[partner]

        if not run.kept(self)["embeddings"]:
            return mixed(batch, {name: mix(array) for name, array in batch.inputs.items()}, partner, share)
        inputs = dict(batch.inputs)
        if "attention_mask" in inputs:
            inputs["attention_mask"] = torch.maximum(inputs["attention_mask"], inputs["attention_mask"][partner])
        return replace(mixed(batch, inputs, partner, share), embed=both(batch.embed, mix))
