"""The mean of vectors of words, pairs and runs of letters, and a linear layer (Joulin et al., 2017)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.dropout import Dropout
from danlu.blocks.hashed_grams import NOTHING, HashedGrams
from danlu.contracts import Backbone, Head


class Fasttext(Backbone):
    """What fastText does for texts with labels, in the ordinary training loop; not its program, nor its files.

    All grams are hashed into buckets, so there is no vocabulary, and misspelt words are still read by their letters.
    """

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input",)}
    processor_class: ClassVar[type[Any]] = HashedGrams

    size: int = Field(default=32, ge=1)
    """Numbers in a vector."""
    buckets: int = Field(default=100_000, ge=1)
    """How many vectors there are; two grams in one bucket share theirs."""
    shortest: int = Field(default=3, ge=1)
    """Letters in the shortest run, the marks of a word's begin and end counted."""
    longest: int = Field(default=5, ge=0, le=10)
    """Letters in the longest run; 0: words and pairs alone."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of a text's mean that is left out in training."""

    def learn(self, inputs: Iterable[str]) -> HashedGrams:
        return HashedGrams(self.buckets, self.shortest, self.longest)

    def build(self, head: Head, processor: HashedGrams, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        return _Mean(processor.buckets, self.size, head.size, self.dropout)


class _Mean(nn.Module):
    """`buckets` [n, grams] to `logits` [n, labels]."""

    def __init__(self, buckets: int, size: int, labels: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(1 + buckets, size)
        nn.init.uniform_(self.table.weight, -1 / size, 1 / size)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(size, labels)

    def forward(self, buckets: Tensor) -> dict[str, Tensor]:
        real = (buckets != NOTHING).unsqueeze(-1).to(self.table.weight.dtype)
        mean = (self.table(buckets) * real).sum(1) / real.sum(1).clamp(min=1)
        return {"logits": self.head(self.dropout(mean))}
