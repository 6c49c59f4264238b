"""Models that count, or are taught by a library, instead of descending a gradient."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from danlu.contracts import Batch


class SelfTaught(nn.Module):
    """A module whose buffers are filled by `update`; after that it is a model like any other."""

    whole_set: bool = False
    """It wants all training examples in one batch, once; else batch by batch, in any order."""

    @abstractmethod
    def update(self, batch: Batch) -> Tensor:
        """Learn from a batch of tensors; gives what the loss was, one number per example, [n]."""
