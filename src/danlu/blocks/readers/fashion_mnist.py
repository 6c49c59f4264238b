"""Fashion-MNIST: Xiao, Rasul & Vollgraf, 2017; files in the idx format of LeCun's MNIST."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.pictures import picture_column

_NAMES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_FILES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTE = 8


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns image (28×28, grey) and label (the garment); 60,000 rows in `train`, 10,000 in `test`."""
    return pa.concat_tables(_read(folder, _FILES[name]) for name in ([split] if split else _FILES))


def _read(folder: Path, prefix: str) -> pa.Table:
    pixels = _idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = [_NAMES[number] for number in _idx(folder / f"{prefix}-labels-idx1-ubyte.gz")]
    return pa.table({"image": picture_column(pixels), "label": labels})


def _idx(path: Path) -> np.ndarray[Any, Any]:
    """An idx file: two zero bytes, the type, the number of axes, their lengths as big-endian int32, the values."""
    content = gzip.decompress(path.read_bytes())
    if content[2] != _UNSIGNED_BYTE:
        raise ValueError(f"{path.name} holds values of type {content[2]}, not unsigned bytes")
    axes = content[3]
    shape = np.frombuffer(content, ">i4", count=axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
