"""A bidirectional LSTM trained from scratch (Hochreiter and Schmidhuber, 1997)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from danlu.blocks.recurrent import Recurrent


class Lstm(Recurrent):
    """For short texts and little memory; a memory with gates is carried from word to word, in both directions."""

    known_as: ClassVar[Mapping[str, str]] = {"bilstm": "an LSTM that reads in both directions"}
    cell: ClassVar[type[Any]] = nn.LSTM
