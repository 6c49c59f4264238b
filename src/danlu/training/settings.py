"""The options of a training; the stages that train take them over as their own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from danlu.contracts import Optimizer, Schedule
from danlu.core.errors import RecipeError
from danlu.core.settings import Settings, slot

FROM_SCRATCH = 1e-3
"""The highest learning rate of a training that names none, on weights that were never trained before."""

OF_DESCENT = (
    "optimizer", "lr", "schedule", "warmup", "weight_decay", "layer_decay", "l1", "l2", "clip", "precision",
    "checkpointing",
)  # fmt: skip
"""Options that mean nothing to a model that counts instead of descending."""
OF_PASSES = ("epochs", "steps", "batch_size", "accumulate", "per_update", "evaluate_every", "patience")
"""Options that mean nothing to a model that is taught once, by all examples together."""


Size = Annotated[int, Field(ge=1)]
Rate = Annotated[float, Field(gt=0)]


class TrainSettings(Settings):
    """How long, how fast and how exactly to train."""

    epochs: float | None = Field(default=None, gt=0)
    """Passes over the training set. With `steps` too, whichever ends first; with neither, 2 (1 for a model that
    counts instead of descending)."""
    steps: int | None = Field(default=None, ge=1)
    """Updates of the weights. Small data sets are better measured in steps: 600 of them fit most small encoders."""
    batch_size: Size | Literal["auto"] = 32
    """Examples that go through the model at once; `auto` finds the largest power of two that fits into memory."""
    accumulate: int = Field(default=1, ge=1)
    """Batches added up to one update: `batch_size: 8, accumulate: 4` gives the updates of 32 in a quarter of the
    memory."""
    per_update: int | None = Field(default=None, ge=1)
    """Examples of an update with `batch_size: auto`, which then finds into how many batches to cut them: what is learnt
    does not depend on the machine's memory."""
    optimizer: Optimizer = slot("adamw")
    """How gradients become steps of the weights."""
    lr: Rate | Literal["find"] | None = None
    """Highest learning rate; `find` takes it from a range test of 50 steps on a copy of the model. Unless given, the
    method's own on pretrained weights, and 0.001 where none is; both are for `adamw` and are multiplied by the
    optimizer's own factor."""
    schedule: Schedule = slot("linear")
    """How the learning rate falls after the warm-up."""
    warmup: float | None = Field(default=None, ge=0, le=1)
    """Share of the steps in which the learning rate rises; the schedule's own unless given: 0.06, for `one_cycle`
    0.3."""
    weight_decay: float | None = Field(default=None, ge=0)
    """Decay of the weights; biases and norms are left out. Decoupled and scaled by the learning rate in `adamw`,
    `adafactor`, `lion` and `muon`; in the others a part of the gradient. Unless given, the optimizer's own: 0.01 for
    `adamw`."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """The learning rate of a layer as a share of that of the next one, towards the head: 0.9 keeps lower layers
    nearer to what they were before."""
    l1: float = Field(default=0.0, ge=0)
    """Penalty on the sum of the weights' sizes, as a part of the gradient; biases and norms are left out."""
    l2: float = Field(default=0.0, ge=0)
    """Penalty on half the sum of their squares, as a part of the gradient."""
    clip: float | None = Field(default=1.0, gt=0)
    """Greatest norm of the gradient; null: not clipped."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic of the model's pass: `bf16` is half as wide, `fp32` can be repeated bit for bit. `auto` measures once
    on this machine which of these is faster and notes it in the manifest. `fp16`, for GPUs without bf16, scales the
    loss; steps whose gradients are not finite are skipped, counted and told."""
    checkpointing: bool = False
    """Keep the inputs of each layer alone and compute the rest again for the gradients: less memory, about a third
    more time, the same result."""
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
    keep_checkpoints: int = Field(default=2, ge=2)
    """How many of the last checkpoints are kept; each holds the weights that did best so far too."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; `auto` is a GPU by CUDA where there is one, else the CPU."""

    def check(self) -> None:
        """Raise RecipeError for options that contradict one another.

        No validator of the class: a recipe is checked without importing the stages that train, and torch with them.
        """
        if self.per_update and (self.batch_size != "auto" or self.accumulate != 1):
            what = "per_update needs batch_size=auto, and takes the place of accumulate"
            raise RecipeError(what, where="per_update", do="batch_size=auto, without accumulate")

    @property
    def size(self) -> int:
        """`batch_size` as a number, which it is in a training under way."""
        if self.batch_size == "auto":
            raise TypeError("batch_size is not decided yet")
        return self.batch_size


def or_own(given: float | None, own: float) -> float:
    """What a recipe gives, 0 too; else what a plug-in has as its own."""
    return own if given is None else given
