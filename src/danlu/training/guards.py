"""What must not go wrong silently: each guard raises, saying what was found and what to do."""

from __future__ import annotations

import math
import statistics
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from danlu.contracts import Method, Optimizer, Technique
from danlu.core import moments
from danlu.core.errors import MachineError, RecipeError
from danlu.training.sharded import own


class DivergedError(RecipeError):
    """The training went where no later step can lead it back."""


def defines(technique: Technique, moment: str) -> bool:
    """Whether a technique does something at a moment."""
    return moment in technique.moments


def _named(techniques: Sequence[Technique]) -> moments.Named:
    return [(technique.name, technique.moments) for technique in techniques]


def _refuse(refusals: Iterable[moments.Refusal]) -> None:
    """Raise RecipeError for the first of them; `danlu check` tells all."""
    for refusal in refusals:
        raise RecipeError(refusal.what, where=f"techniques.{refusal.name}", do=refusal.do)


def check_techniques(techniques: Sequence[Technique], method: Method | None = None, *, descends: bool) -> None:
    """Raise RecipeError for techniques that can't do what they promise: two replacing one pass, or no gradient."""
    _check_method(techniques, method)
    _refuse(moments.against_each_other(_named(techniques)))
    if not descends:
        _refuse(moments.without_gradients(_named(techniques)))


def _check_method(techniques: Sequence[Technique], method: Method | None) -> None:
    """Raise RecipeError for a technique that wants another kind of method, which `danlu check` tells of a recipe."""
    for technique in techniques:
        for fact, wanted in technique.wants.items():
            if method and method.gives.get(fact, wanted[0]) not in wanted:
                what = f"{technique.name} wants {fact} = {' or '.join(wanted)}, and {method.name} gives "
                do = f"method=full, or leave {technique.name} out"
                raise RecipeError(what + method.gives[fact], where=f"techniques.{technique.name}", do=do)


def check_parallel(techniques: Sequence[Technique], world: int, *, descends: bool) -> None:
    """Raise RecipeError for what several ranks can't do together: only gradients are added up over them."""
    if world == 1:
        return
    if not descends:
        raise RecipeError(moments.counts(world), where="backbone", do=moments.ALONE)
    _refuse(moments.in_ranks(_named(techniques), world))


def check_scaled(techniques: Sequence[Technique]) -> None:
    """Raise RecipeError for a technique that takes gradients of its own, of losses that fp16 has to scale."""
    _refuse(moments.in_fp16(_named(techniques)))


def check_shared(techniques: Sequence[Technique], turns: int, optimizer: Optimizer, model: nn.Module) -> None:
    """Raise RecipeError for what can't be done where no rank holds a whole weight."""
    if not all(weight.is_floating_point() for weight in model.parameters()):
        raise RecipeError(moments.EIGHT_BITS, where="method", do=f"{moments.WHOLE} quantized=null of the method")
    _refuse(moments.in_shares(_named(techniques)))
    if turns > 1:
        what = "this task trains in several turns, and a shared model is put together in one pass"
        raise RecipeError(what, where="task", do=f"{moments.WHOLE} choose another task")
    if optimizer.unshared:
        what = moments.unshared(optimizer.name, optimizer.unshared)
        raise RecipeError(what, where="optimizer", do=f"{moments.WHOLE} optimizer=adamw")


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
    over: int, last: Sequence[float], curve: Sequence[tuple[int, float]], *, step: int, steps: int, lr: float
) -> None:
    """Raise DivergedError when losses were above those of the start for so many steps that they won't come back.

    `over` counts these steps, `curve` has steps and mean losses, the lowest of which is told.
    """
    if over < patience(steps):
        return
    best = min(curve, key=lambda point: point[1], default=None)
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
    mine = own(tensor.detach())  # of a weight with fewer rows than there are ranks, one may hold nothing
    return not mine.numel() or bool(torch.linalg.vector_norm(mine, math.inf).isfinite())


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


class OwnWeights:
    """What a method itself is there to train, apart from what was random and always moves, such as the head."""

    def __init__(
        self, method: Method | None, fresh: Collection[str], turns: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        self.every = {name: tensor for weights in turns.values() for name, tensor in weights.items()}
        self.named = method.name if method else ""
        self.names: frozenset[str] = frozenset(method.own([*self.every], fresh)) if method else frozenset()
        self._joined = False

    def see(self) -> None:
        """Gradients were computed; a technique may let weights join late, in a short training never."""
        self._joined = self._joined or any(self.every[name].requires_grad for name in self.names)

    def check(self, before: Mapping[str, int]) -> None:
        """Raise RecipeError when others moved and none of these did; `before` is the `digest` of the start."""
        mine = [name for name in self.every if name in self.names and own(self.every[name].detach()).numel()]
        if not (mine and self._joined) or any(_checksum(self.every[name]) != before[name] for name in mine):
            return
        if any(_checksum(tensor) != before[name] for name, tensor in self.every.items() if name not in self.names):
            few = f"{', '.join(mine[:3])}{', …' if len(mine) > 3 else ''}"
            what = f"{self.named} trained nothing: {len(mine)} tensors of its own did not move ({few}), as others did"
            do = f"check that the loss depends on what {self.named} trains; raise lr; or choose another method"
            raise RecipeError(what, where=f"method.{self.named}", do=do)


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
