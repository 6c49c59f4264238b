"""The options of a training; the stages that train take them over as their own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from danlu.core.settings import Settings
from danlu.training.schedule import Schedule

FROM_SCRATCH = 1e-3
"""The highest learning rate of a training that names none, on weights that were never trained before."""

OF_DESCENT = ("lr", "schedule", "warmup", "weight_decay", "clip", "precision")
"""Options that mean nothing to a model that counts instead of descending."""
OF_PASSES = ("epochs", "steps", "batch_size", "accumulate", "evaluate_every", "patience")
"""Options that mean nothing to a model that is taught once, by all examples together."""


class TrainSettings(Settings):
    """How long, how fast and how exactly to train."""

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training set. With `steps` too, whichever ends first; with neither, 2 (1 for a model that
    counts instead of descending)."""
    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights. Small data sets are better measured in steps: 600 of them fit most small encoders."""
    batch_size: int = Field(default=32, ge=1)
    """Examples that go through the model at once."""
    accumulate: int = Field(default=1, ge=1)
    """Batches added up to one update: `batch_size: 8, accumulate: 4` gives the updates of 32 in a quarter of the
    memory."""
    lr: float | None = Field(default=None, gt=0)
    """Highest learning rate. Unless given, the method's own on pretrained weights, and 0.001 where none is."""
    schedule: Schedule = "linear"
    """How the learning rate falls after the warm-up: on a line or half a cosine to zero, or not at all."""
    warmup: float = Field(default=0.06, ge=0, le=1)
    """Share of the steps in which the learning rate rises from zero."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decoupled decay of the weights, scaled by the learning rate; biases and norms are left out."""
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of the gradient; null: not clipped."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of the model's pass: `bf16` is half as wide, `fp32` can be repeated bit for bit. `auto` measures once
    on this machine which is faster and notes it in the manifest."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between looks at the validation set; an epoch unless given, and at most ten looks in all."""
    patience: int | None = Field(default=None, ge=1)
    """Stop after this many looks at the validation set without a better one; null: never."""
    keep: Literal["best", "last"] = "best"
    """The weights to end with: the ones that did best on the validation set, or the last."""
    checkpoint_every: float = Field(default=60.0, gt=0)
    """Seconds between checkpoints; a killed training goes on from the last one, with the same result."""
    checkpoint_steps: int | None = Field(default=None, ge=1)
    """Steps between checkpoints, beside those that `checkpoint_every` asks for; null: none beside."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; `auto` is a GPU by CUDA where there is one, else the CPU."""
