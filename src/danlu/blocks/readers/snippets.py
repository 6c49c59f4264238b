"""Snippets scored by people: Hutto & Gilbert, "VADER", ICWSM 2014."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

_UNDECIDED = 0.3


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns id, text, label (`negative`, `positive`) and score, the mean of about 20 people on a scale of -4 to 4.

    Label rule: the sign of the score. Snippets within 0.3 of zero, on which people did not agree, are left out, as is
    the second of two equal texts.
    """
    (file,) = folder.glob("*_GroundTruth.txt")
    kept: dict[str, tuple[str, float]] = {}
    for line in file.read_text("utf-8").splitlines():
        number, score, text = line.split("\t")
        if abs(float(score)) >= _UNDECIDED:
            kept.setdefault(text.strip(), (number, float(score)))
    numbers, scores = zip(*kept.values(), strict=True)
    labels = ["positive" if score > 0 else "negative" for score in scores]
    return pa.table({"id": numbers, "text": list(kept), "label": labels, "score": scores})
