"""A batch learnt as two halves at once, each on a processor of its own.

Two threads that share out every operation of a small encoder meet a thousand times a step, and what is too small to be
shared out is done by one while the other waits. Here each takes every other example of a batch through forward and
backward by itself. Both read one copy of the matrices in bfloat16, which is made once a step; what they say of the
weights is added up at the end.

`python benchmarks/halves.py` takes the same steps both ways. It is done where that was measured, and where it changes
no more than the order of sums and the masks of dropout: see `allow`, and `training/side_by_side.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from danlu.blocks import fused_layer, loops
from danlu.blocks.dropout import drawing_from
from danlu.blocks.fused_layer import fitting
from danlu.blocks.gradient_squares import note_squares
from danlu.blocks.table_gradients import Aside, add_aside, is_kept
from danlu.contracts import Batch

THREADS = 2
LEAST = 8
"""Examples in a batch from which on it is cut in two."""
NARROW = torch.bfloat16

_T = TypeVar("_T")

Losses = Callable[[Batch, nn.Module], Tensor]
"""The losses [n] of a batch by a model."""


class _Said(NamedTuple):
    """A half's loss and its gradients, in the order of the weights; None where it says nothing."""

    loss: Tensor
    gradients: list[Tensor | None]
    looked: list[list[tuple[Tensor, Tensor | None]]]
    """Of each kept table the ids that were looked up, with the gradients of their vectors."""


def allow(model: nn.Module) -> None:
    """Note of a model that two passes at once do not disturb each other.

    All that is random in it comes from `blocks.dropout`, and a pass leaves nothing behind in it.
    """
    model.__dict__["apart"] = _hooks(model)


def allowed(model: nn.Module) -> bool:
    """Whether that was noted, nobody listens to a part of it since, and no two parts share a weight."""
    names = len(list(model.named_parameters(remove_duplicate=False)))
    return model.__dict__.get("apart") == _hooks(model) and names == len(list(model.named_parameters()))


def _hooks(model: nn.Module) -> int:
    parts: Iterable[Any] = model.modules()
    return sum(len(p._forward_hooks) + len(p._forward_pre_hooks) + len(p._backward_hooks) for p in parts)


class Narrow:
    """A weight's copy in bfloat16, and which state of the weight it was made of."""

    def __init__(self, copied: Tensor) -> None:
        self.copied = copied
        self._of = -1

    def stale(self, weight: Tensor) -> bool:
        """Whether it is to be made anew: nobody said it is like the weight, or somebody wrote into the weight since."""
        return weight._version != self._of

    def is_like(self, weight: Tensor) -> None:
        """Said by who moved the weight and wrote the copy too, and moves it alone: torch's fused optimizers do not
        count in a weight's version what they do to it."""
        self._of = weight._version


class Halves:
    """Two twins of a model on one copy of its matrices in bfloat16, and the thread of the second.

    The rest of the weights, and all buffers, are the model's own memory. The model must not change its structure
    meanwhile; its weights may, and which of them learn.
    """

    def __init__(self, model: nn.Module) -> None:
        self._wide = dict(model.named_parameters())
        matrices = {id(w) for p in model.modules() if type(p) is nn.Linear for w in p.parameters(recurse=False)}
        self._own = {name: self._twin_weight(w, id(w) in matrices) for name, w in self._wide.items()}
        self._cast = [name for name, weight in self._wide.items() if id(weight) in matrices]
        self._tables: list[Any] = [part for part in model.modules() if is_kept(part)]
        self._of_tables = {id(table.weight) for table in self._tables}
        self._joined = (
            {name: fused_layer.join(name, self._own) for name, _ in fitting(model)} if NARROW is torch.bfloat16 else {}
        )
        self.narrow = {self._wide[name]: Narrow(self._own[name].detach()) for name in self._cast}
        """The copies in bfloat16 by their weights: whoever moves a weight may write its copy too."""
        self._twins = [self._twin(model) for _ in range(THREADS)]
        self._aside: list[list[Any]] = [[p for p in twin.modules() if type(p) is Aside] for twin in self._twins]
        self._looped = loops.available()
        self._thread = ThreadPoolExecutor(1, "half", initializer=torch.set_num_threads, initargs=(1,))
        self._thread.submit(int).result()
        torch.set_num_threads(THREADS)  # a part of it is common to all threads, and the new one's came last

    @staticmethod
    def _twin_weight(weight: nn.Parameter, narrow: bool) -> nn.Parameter:
        value = weight.detach()
        return nn.Parameter(value.to(NARROW) if narrow else value, requires_grad=weight.requires_grad)

    def _twin(self, model: nn.Module) -> nn.Module:
        """The model's structure on the twins' weights; large tables hand their gradients out."""
        known: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
        known |= {id(weight): self._own[name] for name, weight in self._wide.items()}
        known |= {id(table.gradient): None for table in self._tables}
        twin = copy.deepcopy(model, known)
        for mine, its in zip(model.modules(), twin.modules(), strict=True):
            if is_kept(mine):
                its.__class__ = Aside
        for name, joined in self._joined.items():
            fused_layer.fuse(twin.get_submodule(name), joined)
        return twin

    def close(self) -> None:
        """Wait for the thread."""
        self._thread.shutdown()

    def learn(self, batch: Batch, losses: Losses, divisor: float) -> Tensor:
        """Forward and backward on both halves; adds to the model's gradients and returns the sum of the losses.

        The gradients are those of the sum divided by `divisor`.
        What is random is a function of torch's default generator, which moves on by two numbers.
        """
        self._copy_weights()
        halves = [batch.take(slice(k, None, THREADS)) for k in range(THREADS)]
        seeds = torch.randint(2**63 - 1, (THREADS,)).tolist()
        said = self.both(lambda k: self._pass(k, halves[k], losses, divisor, seeds[k]))
        self.both(lambda k: self._add(said, k))
        self._add_tables(said)
        return torch.stack([half.loss for half in said]).sum()

    def both(self, work: Callable[[int], _T]) -> list[_T]:
        """What `work(0)` and `work(1)` give, each done in a thread of its own in which torch's operations stay."""
        with _alone():
            other = self._thread.submit(work, 1)
            try:
                mine = work(0)
            finally:
                wait([other])
        return [mine, other.result()]

    def _copy_weights(self) -> None:
        stale = [name for name in self._cast if self.narrow[self._wide[name]].stale(self._wide[name])]
        if stale:
            with torch.no_grad():
                torch._foreach_copy_([self._own[n] for n in stale], [self._wide[n] for n in stale])
        for name, weight in self._wide.items():
            self._own[name].requires_grad_(weight.requires_grad)

    def _learning(self) -> list[str]:
        """The names of the weights that learn, but for the tables, the largest first."""
        names = [n for n, w in self._wide.items() if w.requires_grad and id(w) not in self._of_tables]
        return sorted(names, key=lambda name: -self._wide[name].numel())

    def _pass(self, place: int, half: Batch, losses: Losses, divisor: float, seed: int) -> _Said:
        with torch.enable_grad(), drawing_from(seed):
            said = losses(half, self._twins[place]).sum()
        looked = [table.taken() for table in self._aside[place]]
        weights = [self._own[name] for name in self._learning()]
        vectors = [of_ids for pairs in looked for _, of_ids in pairs]
        found = torch.autograd.grad(said / divisor, weights + vectors, allow_unused=True)
        slopes = iter(found[len(weights) :])
        aside: list[list[tuple[Tensor, Tensor | None]]] = [[(ids, next(slopes)) for ids, _ in p] for p in looked]
        return _Said(said.detach(), list(found[: len(weights)]), aside)

    def _add(self, said: Sequence[_Said], thread: int) -> None:
        """Add up every other weight's gradients, in its own type, and to what the model has of them."""
        for k, name in enumerate(self._learning()):
            parts = [own for half in said if (own := half.gradients[k]) is not None]
            if k % THREADS != thread or not parts:
                continue
            weight = self._wide[name]
            if weight.grad is None and self._looped and len(parts) == THREADS and parts[0].dtype == torch.bfloat16:
                total, squares = loops.add_up(*(part.contiguous() for part in parts))
                note_squares(total, squares)
                weight.grad = total
                continue
            if weight.grad is None:
                weight.grad = parts.pop(0).to(weight.dtype)
            for part in parts:
                weight.grad.add_(part)

    def _add_tables(self, said: Sequence[_Said]) -> None:
        for place, table in enumerate(self._tables):
            looked = [(ids, slope) for half in said for ids, slope in half.looked[place] if slope is not None]
            if looked and table.weight.requires_grad:
                add_aside(table, looked)


@contextmanager
def _alone() -> Iterator[None]:
    """Within the block torch works in this thread alone."""
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(THREADS)
