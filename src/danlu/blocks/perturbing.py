"""Small changes of the vectors that embeddings give, in the direction in which the loss grows."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def unit(gradient: Tensor) -> Tensor:
    """A gradient [n, …] scaled to norm 1 for each example; one of zero stays zero."""
    return gradient / _norm(gradient).clamp(min=1e-12)


def within(change: Tensor, radius: float) -> Tensor:
    """A change [n, …] shortened to at most `radius` for each example."""
    return change * (radius / _norm(change).clamp(min=1e-12)).clamp(max=1)


def further(added: Sequence[Tensor], gradients: Sequence[Tensor], rate: float, radius: float) -> list[Tensor]:
    """A step of length `rate` up the gradient from what was added, cut back to `radius`."""
    return [within(a.detach() + rate * unit(g), radius) for a, g in zip(added, gradients, strict=True)]


def _norm(change: Tensor) -> Tensor:
    norm: Tensor = change.flatten(1).norm(dim=1).view(-1, *[1] * (change.dim() - 1))
    return norm
