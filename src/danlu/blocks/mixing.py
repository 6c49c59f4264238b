"""Batches whose examples are mixed with one another, and how their vectors are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from danlu.contracts import Arrays, Batch


def mixed(batch: Batch, inputs: Arrays, partner: Tensor, share: float) -> Batch:
    """The batch with new inputs, in which an example counts `share` and the one at `partner` of it the rest.

    What was mixed before is mixed again. What models beside say is mixed as targets are, not asked of the mixture.
    """
    whole = torch.full_like(batch.count, 1.0)
    parts: list[tuple[Any, Batch]] = []
    for had, part in batch.mixed or ((whole, replace(batch, embed=None)),):
        parts.append((share * had, replace(part, inputs=inputs)))
        parts.append(((1 - share) * had[partner], replace(part.take(partner), inputs=inputs)))
    count = share * batch.count + (1 - share) * batch.count[partner]
    return replace(batch, inputs=inputs, count=count, mixed=tuple(parts))


def both(first: Callable[[Any], Any] | None, then: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One change of vectors after another."""
    return then if first is None else lambda vectors: then(first(vectors))
