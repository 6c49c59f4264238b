"""Learning from 8 to 64 rows a label: contrast of sentence vectors (as SetFit, Tunstall et al., 2022), and a head."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from pydantic import Field
from torch.nn import functional

from danlu.blocks import described, sentence
from danlu.blocks.described import Described
from danlu.blocks.label_contrast import Contrast
from danlu.contracts import Beginning, Technique
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import nn


class FewShot(Described):
    """Reads a text by the mean of its token vectors, and begins with what the labels' descriptions say.

    Descriptions are a large part of what so few rows can teach: write a sentence that a text of the label might say.
    All weights are trained, for 20 steps unless a recipe says otherwise. With few rows to validate on, `keep: last` is
    the better choice.
    """

    lr: ClassVar[float] = 2e-5
    steps: ClassVar[int | None] = 20
    moments: ClassVar[tuple[str, ...]] = ("draw", "loss")

    contrast: float = Field(default=1.0, ge=0)
    """How much the contrast of all pairs of a batch counts, beside 1 of the task's own loss."""
    temperature: float = Field(default=0.1, gt=0)
    """By what the cosines of the contrast are divided."""
    scale: float = Field(default=10.0, gt=0, le=1e4)
    """The length of the head's rows at the start: by what cosines to descriptions are multiplied."""

    def begin(self, model: nn.Module, given: Beginning) -> None:
        """The head's rows are the descriptions' vectors; its biases make up for how near all texts are to each.

        Raises DataError for a label without rows, and for one of a single row where there is contrast.
        """
        assert isinstance(model, sentence.Sentences)
        truth = described.true_labels(given.train)
        self._check(torch.bincount(truth, minlength=len(given.head.labels)).tolist(), given.head.labels)
        rows = self.scale * self.compare(model, given)
        said = sentence.vectors_of(model, given.train, given.processor) @ rows.T
        shares = functional.one_hot(truth, len(rows)).float()
        described.fill(model.head, rows, -((shares / shares.sum(0)).T @ said).mean(0))

    def _check(self, counts: list[int], labels: tuple[str, ...]) -> None:
        for label, count in zip(labels, counts, strict=True):
            if not count:
                what = f"the label {label!r} has no training row"
                raise DataError(what, where="train", do="label a few rows of it, or method=zero_shot")
            if count == 1 and self.contrast:
                what = f"the label {label!r} has a single training row, which can be drawn near to no other"
                raise DataError(what, where="train", do="label more rows of it, or method.few_shot.contrast=0")

    def techniques(self) -> tuple[Technique, ...]:
        return (Contrast(weight=self.contrast, temperature=self.temperature),)
