"""What must not go wrong silently: each guard raises, saying what was found and what to do."""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from danlu.contracts import Technique
from danlu.core.errors import MachineError, RecipeError
from danlu.training.sharded import own


class DivergedError(RecipeError):
    """The training went where no later step can lead it back."""


_OF_GRADIENTS = ("vary", "loss", "backward", "after_backward", "before_step")


def defines(technique: Technique, moment: str) -> bool:
    """Whether a technique does something at a moment."""
    return getattr(type(technique), moment) is not getattr(Technique, moment)


def check_techniques(techniques: Sequence[Technique], *, descends: bool) -> None:
    """Raise RecipeError for techniques that can't do what they promise: two replacing one pass, or no gradient."""
    replacing = [t.name for t in techniques if defines(t, "backward")]
    if len(replacing) > 1:
        what = f"{' and '.join(replacing)} both replace the backward pass, so one of them would do nothing"
        raise RecipeError(what, where="techniques", do="leave one of them out")
    varying = [t.name for t in techniques if defines(t, "vary")]
    if replacing and varying:
        what = f"{varying[0]} changes or mixes examples, and {replacing[0]} takes the gradient of each as it is"
        raise RecipeError(what, where="techniques", do="leave one of them out")
    idle = [t.name for t in techniques if any(defines(t, moment) for moment in _OF_GRADIENTS)]
    if idle and not descends:
        what = f"{idle[0]} changes losses or gradients, and this model has none: it counts"
        raise RecipeError(what, where="techniques", do=f"leave {idle[0]} out, or choose a backbone that descends")


def check_parallel(techniques: Sequence[Technique], world: int, *, descends: bool) -> None:
    """Raise RecipeError for what several ranks can't do together: only gradients are added up over them."""
    if world == 1:
        return
    alone = "run it in one process first (without --nproc or torchrun); the next run reuses its result"
    if not descends:
        what = f"this model counts instead of descending a gradient, so {world} ranks can't share its training"
        raise RecipeError(what, where="backbone", do=alone)
    for technique in techniques:
        for moment in ("draw", "backward"):
            if defines(technique, moment):
                what = f"{technique.name} replaces the {moment} of a step, which {world} ranks share"
                raise RecipeError(what, where=f"techniques.{technique.name}", do=f"leave it out, or {alone}")


def check_scaled(techniques: Sequence[Technique]) -> None:
    """Raise RecipeError for a technique that takes gradients of its own, of losses that fp16 has to scale."""
    for technique in techniques:
        if defines(technique, "backward"):
            what = f"{technique.name} replaces the backward pass, whose loss fp16 has to scale"
            raise RecipeError(what, where=f"techniques.{technique.name}", do="precision=fp32")


_OF_WEIGHTS = ("start", "after_backward", "before_step", "after_step", "answering", "finish")
_NOT_SHARED = ("adafactor",)
"""Optimizers whose state has other shapes than the weights."""


def check_shared(techniques: Sequence[Technique], turns: int, optimizer: str, model: nn.Module) -> None:
    """Raise RecipeError for what can't be done where no rank holds a whole weight."""
    alone = "leave --shard out, or"
    if not all(weight.is_floating_point() for weight in model.parameters()):
        what = "frozen weights are held in eight bits, and shares are made of floating-point weights alone"
        raise RecipeError(what, where="method", do=f"{alone} quantized=null of the method")
    for technique in techniques:
        for moment in _OF_WEIGHTS:
            if defines(technique, moment):
                what = f"{technique.name} looks at weights or gradients, of which each rank holds a share"
                raise RecipeError(what, where=f"techniques.{technique.name}", do=f"{alone} leave it out")
    if turns > 1:
        what = "this task trains in several turns, and a shared model is put together in one pass"
        raise RecipeError(what, where="task", do=f"{alone} choose another task")
    if optimizer in _NOT_SHARED:
        what = f"{optimizer} keeps sums over rows and columns of weights, of which each rank holds a share"
        raise RecipeError(what, where="optimizer", do=f"{alone} optimizer=adamw")


def check_trained(turn: str, trained: Mapping[str, Tensor]) -> None:
    """Raise RecipeError for a turn that would train nothing."""
    if not trained:
        what = f"the turn {turn!r} trains no weight: the method freezes all of them"
        raise RecipeError(what, where="method", do="choose a method that trains something: danlu list methods")


def check_finite(value: float, *, what: str, step: int, steps: int, turn: str, lr: float) -> None:
    """Raise DivergedError for a loss or norm that is not a finite number; steps are counted from 1."""
    if math.isfinite(value):
        return
    raise DivergedError(
        f"the {what} is {value} at step {step} of {steps} (turn {turn!r}, learning rate {lr:.3g})",
        where="training",
        do=f"lr={lr / 3:.1g} (lower), clip=1.0, a longer warmup, or precision=fp32; then look at the data for NaN",
    )


WINDOW = 10
"""Losses whose mean is compared."""
FARTHEST = 20.0
"""A mean loss may be this many times that of the first steps."""
_LOWER = "lr={lr:.1g} (lower), lr=find, clip=1.0, or a longer warmup"


def check_near(first: Sequence[float], last: Sequence[float], *, step: int, steps: int, lr: float) -> None:
    """Raise DivergedError when the `last` losses are far above the `first`; steps are counted from 1."""
    if len(last) < WINDOW:
        return
    start, now = sum(first) / len(first), sum(last) / len(last)
    if start <= 0 or now <= FARTHEST * start:
        return
    raise DivergedError(
        f"the training diverges: at step {step} of {steps} the mean loss of {WINDOW} steps is {now:.3g}, and was "
        f"{start:.3g} at the start (learning rate {lr:.3g})",
        where="training",
        do=_LOWER.format(lr=lr / 10),
    )


def is_above(first: Sequence[float], last: Sequence[float]) -> bool:
    """Whether the median of the `last` losses is above what the `first` make likely, by a quarter and by 1.

    The upper end of their mean is taken, two standard errors above it, since a small batch may have found easy
    examples first; and 1, a nat, since a loss that begins near zero may well be some times larger for a while.
    """
    if len(last) < WINDOW or len(first) < WINDOW:
        return False
    start = sum(first) / len(first)
    likely = start + 2 * statistics.stdev(first) / math.sqrt(len(first))
    return start > 0 and statistics.median(last) > likely + max(1.0, likely / 4)


def patience(steps: int) -> int:
    """Steps for which losses may stay above those of the start: a twentieth of all, since rates fall and losses with
    them."""
    return max(3 * WINDOW, steps // 20)


def check_back(
    over: int, last: Sequence[float], best: tuple[int, float] | None, *, step: int, steps: int, lr: float
) -> None:
    """Raise DivergedError when losses were above those of the start for so many steps that they won't come back.

    `over` counts these steps, `best` is the step and the mean loss of the lowest point of the curve.
    """
    if over < patience(steps):
        return
    were = f", and were {best[1]:.3g} at step {best[0]}" if best else ""
    raise DivergedError(
        f"the training diverges: at step {step} of {steps} losses are near {statistics.median(last):.3g}{were}; for "
        f"{over} steps they have been above those of the start (learning rate {lr:.3g})",
        where="training",
        do=_LOWER.format(lr=lr / 10),
    )


def digest(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """A checksum of each tensor's bytes."""
    return {name: _checksum(tensor) for name, tensor in tensors.items()}


def _checksum(tensor: Tensor) -> int:
    return zlib.crc32(own(tensor.detach()).cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)


def _finite(tensor: Tensor) -> bool:
    """Whether every number is finite: the largest is, and nothing as large as the tensor is made to see it."""
    return not tensor.numel() or bool(torch.linalg.vector_norm(own(tensor.detach()), math.inf).isfinite())


def check_moved(before: Mapping[str, int], after: Mapping[str, Tensor], turns: Mapping[str, Collection[str]]) -> None:
    """Raise RecipeError when a turn left all its weights as they were, DivergedError when one is no finite number.

    `before` is the `digest` of the start, `turns` the names of each turn's weights; without turns, all are one.
    """
    for turn, names in (turns or {"model": after}).items():
        if all(_checksum(after[name]) == before[name] for name in names):
            what = f"no weight moved: all {len(names)} trained tensors of the turn {turn!r} are as they were"
            do = "raise lr or the number of steps; check that the loss depends on what the method trains"
            raise RecipeError(what, where="training", do=do)
    broken = [name for name, tensor in after.items() if tensor.is_floating_point() and not _finite(tensor)]
    if broken:
        what = f"{len(broken)} trained tensors hold NaN or infinity, the first is {broken[0]}"
        raise DivergedError(what, where="training", do="lower lr, or precision=fp32")


@contextmanager
def memory_faults(batch_size: int) -> Iterator[None]:
    """Turn running out of memory into a MachineError that says what to change."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as fault:
        if isinstance(fault, RuntimeError) and not out_of_memory(fault):
            raise
        half = max(1, batch_size // 2)
        raise MachineError(
            f"out of memory with batches of {batch_size}",
            where="training",
            do=f"batch_size={half} accumulate=2 gives the same updates in about half the memory; or method=lora, "
            "a smaller max_length, a smaller backbone",
        ) from fault


def out_of_memory(fault: BaseException) -> bool:
    """Whether an error says that memory ran out, of a device or of the machine."""
    return isinstance(fault, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(fault)
