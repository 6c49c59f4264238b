"""How far two models' logits lie apart: Kullback-Leibler divergences, one number per example."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def divergence(said: Tensor, wanted: Tensor, *, several: bool, temperature: float = 1.0) -> Tensor:
    """KL(wanted ‖ said) of logits [n, …, labels], summed over all axes but the first: [n].

    Logits are divided by the temperature first. With `several`, every label is a yes or no by itself.
    """
    said, wanted = said.float() / temperature, wanted.float() / temperature
    if several:
        said, wanted = (torch.stack([logits, torch.zeros_like(logits)], -1) for logits in (said, wanted))
    each = functional.kl_div(said.log_softmax(-1), wanted.log_softmax(-1), reduction="none", log_target=True)
    return each.flatten(1).sum(1)


def symmetric(one: Tensor, two: Tensor, *, several: bool) -> Tensor:
    """The mean of both divergences between two logits [n, …, labels]: [n]."""
    return (divergence(one, two, several=several) + divergence(two, one, several=several)) / 2
