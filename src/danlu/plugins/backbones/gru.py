"""A bidirectional GRU trained from scratch (Cho et al., 2014)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import nn

from danlu.blocks.recurrent import Recurrent


class Gru(Recurrent):
    """For short texts and little memory; like `lstm` with a gate less, so a quarter smaller."""

    cell: ClassVar[type[Any]] = nn.GRU
