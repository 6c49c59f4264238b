"""Gradients of large embedding tables, of which a batch touches few rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

SMALLEST = 2**20
"""Numbers in a table below which torch's own gradient is as quick."""


@contextmanager
def kept_gradients(model: nn.Module, optimizers: Iterable[torch.optim.Optimizer]) -> Iterator[None]:
    """Within the block, large embedding tables of a model on the CPU keep one gradient each for all steps.

    torch makes a new one at every backward pass and fills it with zeros: 10 of 189 ms of a training step of an encoder
    with 22 million parameters, half of them in its table. Here only the rows of the step before are zeroed, or all of
    them when anybody but the optimizers wrote into the gradient. The numbers are the same to the bit.

    A table whose weight another layer uses too, or whose options ask for more than a look-up, is left alone. A gradient
    must not be kept without a copy beyond the next backward pass, and `torch.autograd.grad` does not see the tables.
    """
    uses = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    tables: list[Any] = [part for part in model.modules() if _fits(part) and uses[id(part.weight)] == 1]
    for table in tables:
        table.__class__ = _Table
        table.gradient = table.weight.kept = _Gradient()
    handles = [handle for optimizer in optimizers for handle in _watched(optimizer, [t.gradient for t in tables])]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for table in tables:
            table.__class__ = nn.Embedding
            del table.gradient, table.weight.kept


def used_rows(weight: Tensor) -> Tensor | None:
    """The rows of a table beside which its kept gradient is zero, each once; None where that is not known."""
    kept: _Gradient | None = getattr(weight, "kept", None)
    return kept.known() if kept is not None and weight.grad is kept.tensor else None


def is_kept(part: nn.Module) -> bool:
    """Whether a part is a table whose gradient is kept now."""
    return type(part) is _Table


def add_aside(table: Any, looked: Sequence[tuple[Tensor, Tensor]]) -> None:
    """Add to the gradient of a kept table what the vectors of some ids say: pairs of [...] and [..., width]."""
    ids = torch.cat([one.flatten() for one, _ in looked])
    gradients = torch.cat([vectors.flatten(0, -2) for _, vectors in looked])
    table.gradient.add(table, ids, gradients)


def _watched(optimizer: torch.optim.Optimizer, gradients: Sequence[_Gradient]) -> Iterator[RemovableHandle]:
    def before(*_: Any) -> None:
        for gradient in gradients:
            gradient.seen()

    def after(*_: Any) -> None:
        for gradient in gradients:
            gradient.stepped()

    yield optimizer.register_step_pre_hook(before)
    yield optimizer.register_step_post_hook(after)


def _fits(part: nn.Module) -> bool:
    return (
        type(part) is nn.Embedding
        and part.weight.numel() >= SMALLEST
        and part.weight.device.type == "cpu"
        and part.weight.requires_grad
        and part.weight.is_leaf
        and not (part.sparse or part.scale_grad_by_freq or part.max_norm is not None)
    )


class _Gradient:
    """The tensor that is a table's gradient in every step, and which of its rows are not zero."""

    def __init__(self) -> None:
        self.tensor: Tensor | None = None
        self.rows: list[Tensor] = []
        self.version = 0
        self.ours = True

    def seen(self) -> None:
        """Before an optimizer's step: whether anybody else wrote since the backward pass."""
        self.ours &= self.tensor is not None and self.tensor._version == self.version

    def stepped(self) -> None:
        """An optimizer scales a gradient at most, which leaves the zeros."""
        if self.tensor is not None:
            self.version = self.tensor._version

    def known(self) -> Tensor | None:
        """The rows that may not be zero, each once; None where anybody else wrote, or there is no gradient yet."""
        if self.tensor is None or not self.ours or self.tensor._version != self.version:
            return None
        return self.rows[0] if len(self.rows) == 1 else torch.unique(torch.cat(self.rows))

    def emptied(self, weight: Tensor) -> Tensor:
        """The tensor, all zeros."""
        if self.tensor is None:
            self.tensor = torch.zeros_like(weight)
        elif self.ours and self.tensor._version == self.version:
            for rows in self.rows:
                self.tensor[rows] = 0
        else:
            self.tensor.zero_()
        self.rows, self.ours = [], True
        return self.tensor

    def add(self, table: nn.Embedding, ids: Tensor, gradient: Tensor) -> None:
        weight = table.weight
        used, places = torch.unique(ids, return_inverse=True)
        rows = torch.ops.aten.embedding_dense_backward(gradient.to(weight.dtype), places, len(used), -1, False)
        if table.padding_idx is not None:
            rows[used == table.padding_idx] = 0
        if weight.grad is None:
            weight.grad = self.emptied(weight)
            weight.grad[used] = rows
        else:
            self.ours &= weight.grad is self.tensor and weight.grad._version == self.version
            weight.grad[used] += rows
        self.rows.append(used)
        self.version = weight.grad._version


class _Table(nn.Embedding):
    """A look-up that adds to its own gradient."""

    gradient: Any

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        if not torch.is_grad_enabled():
            return super().forward(input)
        found: Tensor = _LookUp.apply(self.weight, input, self)  # type: ignore[no-untyped-call]
        return found


class Aside(nn.Embedding):
    """A look-up whose vectors are asked for their gradient in place of the table: `taken` hands out both."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        vectors = functional.embedding(input, self.weight.detach()).requires_grad_()
        self.__dict__.setdefault("looked", []).append((input, vectors))
        return vectors

    def taken(self) -> list[tuple[Tensor, Tensor]]:
        """The ids and vectors of the passes since it was last asked."""
        found: list[tuple[Tensor, Tensor]] = self.__dict__.pop("looked", [])
        return found


class _LookUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, ids: Tensor, table: _Table) -> Tensor:
        ctx.save_for_backward(ids)
        ctx.table = table
        return functional.embedding(ids, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.table.gradient.add(ctx.table, ctx.saved_tensors[0], gradient)
        return None, None, None
