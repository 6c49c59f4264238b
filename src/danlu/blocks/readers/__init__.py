"""Tables from the files of the data assets: one module a layout, each with its label rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from danlu.blocks.readers import chinese_reviews, fashion_mnist, german_credit, mnist_5k, snippets


@dataclass(frozen=True, slots=True)
class Reader:
    """`read(folder, split)` gives the table of a split; `splits` are those the data brings, none means one table."""

    read: Callable[[Path, str], pa.Table]
    splits: tuple[str, ...] = ()
    version: int = 1
    """Raised when the same files would give another table."""


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "chinese_reviews": Reader(chinese_reviews.read),
        "fashion_mnist": Reader(fashion_mnist.read, splits=("train", "test")),
        "german_credit": Reader(german_credit.read),
        "mnist_5k": Reader(mnist_5k.read),
        "snippets": Reader(snippets.read),
    }
)
