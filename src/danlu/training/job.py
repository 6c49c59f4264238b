"""What `fit` is given, and what it gives back."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from danlu.contracts import Arrays, Backbone, Example, Method, Processor, Task, Technique
from danlu.core.events import Events
from danlu.training.ranks import ALONE, Ranks
from danlu.training.settings import TrainSettings
from danlu.training.watch import Better


@dataclass(frozen=True)
class Judge:
    """What the validation set is looked at for, in place of the loss: a number of the module (on a device) as it is."""

    name: str
    better: Better
    measure: Callable[[nn.Module, torch.device], float]


@dataclass
class Job:
    """One training: what, on which examples, how. The module is trained in place.

    `work` is a folder for checkpoints that outlives a kill; without one there are none. `beside` holds the models that
    task or techniques want beside the trained one (except `reference`, which is made): named tensors in, named tensors
    out. `before` are examples of what the model learnt earlier, for techniques that keep it from forgetting.
    `fresh` are the names of weights that were random when the module was wrapped, such as the head's.
    `range_test` is what `lr: find` found; `fit` fills it in.
    """

    module: nn.Module
    task: Task
    processor: Processor
    train: Sequence[Example]
    validation: Sequence[Example] = ()
    settings: TrainSettings = field(default_factory=TrainSettings)
    method: Method | None = None
    fresh: Collection[str] = ()
    techniques: Sequence[Technique] = ()
    backbone: Backbone | None = None
    judge: Judge | None = None
    beside: Mapping[str, Callable[..., Arrays]] = field(default_factory=dict)
    before: Sequence[Example] = ()
    seed: int = 0
    work: Path | None = None
    events: Events = field(default_factory=Events.silent)
    looked: Callable[[nn.Module, int], None] = field(default=lambda module, step: None)
    """Called after each look at the validation set, with the module as it answers and the steps done."""
    range_test: Mapping[str, Any] = field(default_factory=dict)
    ranks: Ranks = ALONE
    """The processes that share this training; each of them has the same job."""

    def identity(self) -> str:
        """What makes a checkpoint this training's own: settings, weights' names and shapes, sizes of the examples."""
        weights = {name: [list(w.shape), w.requires_grad] for name, w in self.module.named_parameters()}
        sizes = [zlib.crc32(lengths(split, self.processor).tobytes()) for split in self._splits()]
        parts = {
            "settings": self.settings.model_dump(mode="json"),
            "plugins": [p.plain() for p in (self.task, *self.techniques)],
            "weights": weights,
            "examples": [*map(len, self._splits()), *sizes],
            "judge": self.judge.name if self.judge else None,
            "seed": self.seed,
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _splits(self) -> tuple[Sequence[Example], ...]:
        return (self.train, self.validation, self.before) if self.before else (self.train, self.validation)


@dataclass(frozen=True)
class Fitted:
    """A finished training: the steps done, the step it was resumed at (None: it was not), and its numbers as JSON."""

    steps: int
    resumed_at: int | None
    numbers: dict[str, Any]


def lengths(examples: Sequence[Example], processor: Processor) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Length of each example along the axis that is padded; 0 where nothing is. Lazy examples tell it themselves."""
    known = getattr(examples, "lengths", None)
    if known is not None:
        return np.asarray(known, dtype=np.int64)
    padded = [name for name in examples[0].inputs if name in processor.pad] if examples else []
    longest = (max((len(e.inputs[name]) for name in padded if name in e.inputs), default=0) for e in examples)
    return np.fromiter(longest, dtype=np.int64, count=len(examples))


def planned_steps(settings: TrainSettings, per_epoch: int, *, descends: bool) -> int:
    """How many steps the settings ask for: the fewer of `steps` and `epochs`; see `TrainSettings.epochs`."""
    epochs = settings.epochs
    if epochs is None and settings.steps is None:
        epochs = 2.0 if descends else 1.0
    wanted = [settings.steps] if settings.steps else []
    if epochs:
        wanted.append(max(1, math.ceil(epochs * per_epoch - 1e-9)))
    return min(wanted)


def chosen_device(wanted: str) -> torch.device:
    """The device of a setting; `auto` is CUDA where there is one, else the CPU."""
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)
