"""Losses of preferences, from how likely each token of two answers is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_SURE = 1e-6
"""How far a probability is held from 1, whose odds are infinite."""


def summed(likely: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """log p of the chosen and of the rejected answers [n], from those of their tokens [n, k]; `side` is 1 or −1, or 0
    where there is no token."""
    return (likely * (side > 0)).sum(1), (likely * (side < 0)).sum(1)


def dpo(ours: Tensor, theirs: Tensor, side: Tensor, beta: float) -> Tensor:
    """−log σ(β · how much more the chosen answer gained over the reference than the rejected one), [n].

    Rafailov et al., 2023, equation 7; `theirs` is what the reference says.
    """
    chosen, rejected = summed(ours - theirs, side)
    return functional.softplus(-beta * (chosen - rejected))


def orpo(ours: Tensor, side: Tensor, beta: float) -> Tensor:
    """The chosen answer's −log p a token, plus β times −log σ of the logarithm of the odds ratio, [n].

    Hong et al., 2024, equations 6 and 7.
    """
    means = [
        total / number for total, number in zip(summed(ours, side), summed(torch.ones_like(ours), side), strict=True)
    ]
    chosen, rejected = (mean - torch.log1p(-mean.exp().clamp(max=1 - _SURE)) for mean in means)
    return -means[0] + beta * functional.softplus(rejected - chosen)


def bradley_terry(chosen: Tensor, rejected: Tensor) -> Tensor:
    """−log of the probability that the chosen answer wins, by its reward and the other's, [n]."""
    return functional.softplus(rejected - chosen)
