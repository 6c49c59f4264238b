"""scikit-learn's handwritten digits: 1,797 grey pictures of 8×8 pixels (Alpaydin & Kaynak, UCI, 1998). No download."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from danlu.blocks.pictures import picture_column
from danlu.contracts import Source
from danlu.core import plugin
from danlu.core.errors import RecipeError

_datasets: Any = plugin.lazy("sklearn.datasets")

_DARKEST = 16


class Digits(Source):
    """Columns `image` and `label` (`0` to `9`), about 180 pictures of each digit."""

    def rows(self, split: str = "") -> Iterator[pa.RecordBatch]:
        if split:
            raise RecipeError(f"the digits have no split {split!r}", do="leave the split out")
        digits = _datasets.load_digits()
        pixels = np.rint(digits.images * (255 / _DARKEST)).astype(np.uint8)
        labels = pa.array([str(label) for label in digits.target])
        yield pa.RecordBatch.from_arrays([picture_column(pixels), labels], names=["image", "label"])
