"""All poems of the Tang and Song dynasties, from the project chinese-poetry."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

_DYNASTIES = ("tang", "song")


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns title, author, dynasty (`tang`, `song`) and text, in traditional characters; 311,855 rows, one a poem.

    The lines of a poem are joined by newlines. 27 texts are empty in the source and stay (`drop_empty`).
    """
    columns: dict[str, list[str]] = {"title": [], "author": [], "dynasty": [], "text": []}
    for dynasty in _DYNASTIES:
        files = folder.glob(f"poet.{dynasty}.*.json")
        for file in sorted(files, key=lambda path: int(path.name.split(".")[2])):
            for poem in json.loads(file.read_text("utf-8")):
                columns["title"].append(poem["title"])
                columns["author"].append(poem["author"])
                columns["dynasty"].append(dynasty)
                columns["text"].append("\n".join(poem["paragraphs"]))
    return pa.table(columns)
