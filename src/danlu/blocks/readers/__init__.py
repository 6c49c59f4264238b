"""Tables from the files of the data assets: one module a layout, each with its label rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from danlu.blocks.readers import (
    chinese_poetry,
    chinese_reviews,
    conll2003,
    dialogues,
    fashion_mnist,
    german_credit,
    libreoffice_en_zh,
    libreoffice_help,
    mnist_5k,
    openmoji,
    peoples_daily,
    shakespeare,
    snippets,
)


@dataclass(frozen=True, slots=True)
class Reader:
    """`read(folder, split)` gives the table of a split; `splits` are those the data brings, none means one table."""

    read: Callable[[Path, str], pa.Table]
    splits: tuple[str, ...] = ()
    version: int = 1
    """Raised when the same files would give another table."""


READERS: Mapping[str, Reader] = MappingProxyType(
    {
        "chinese_poetry": Reader(chinese_poetry.read),
        "chinese_reviews": Reader(chinese_reviews.read),
        "conll2003": Reader(conll2003.read, splits=("train", "validation", "test")),
        "dialogues": Reader(dialogues.read),
        "fashion_mnist": Reader(fashion_mnist.read, splits=("train", "test")),
        "german_credit": Reader(german_credit.read),
        "libreoffice_en_zh": Reader(libreoffice_en_zh.read),
        "libreoffice_help": Reader(libreoffice_help.read),
        "mnist_5k": Reader(mnist_5k.read),
        "openmoji": Reader(openmoji.read),
        "peoples_daily": Reader(peoples_daily.read),
        "shakespeare": Reader(shakespeare.read),
        "snippets": Reader(snippets.read),
    }
)
