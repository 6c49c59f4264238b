"""Short talks in 28 languages, from chatterbot-corpus."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pyarrow as pa
from ruamel.yaml import YAML


def read(folder: Path, split: str = "") -> pa.Table:
    """Columns language, topic, turn, prompt and answer: a row for every two lines that follow one another in a talk.

    `turn` counts them from 0. Many talks are one question with several answers, so the rows of `turn` 0 (7,634) are
    the surer pairs. `language` is the name of the folder, such as `english` (2,306 rows) or `chinese` (552). Eight
    talks, which are no lists because a space is missing in the file, are left out.
    """
    rows = [
        {"language": file.parent.name, "topic": file.stem, "turn": turn, "prompt": prompt, "answer": answer}
        for file in sorted(folder.rglob("*.yml"))
        for talk in _talks(file)
        for turn, (prompt, answer) in enumerate(pairwise(talk))
    ]
    columns = {"language": pa.string(), "topic": pa.string(), "turn": pa.int64()}
    return pa.Table.from_pylist(rows, pa.schema({**columns, "prompt": pa.string(), "answer": pa.string()}))


def _talks(file: Path) -> list[list[str]]:
    talks = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))["conversations"]
    return [[str(line) for line in talk] for talk in talks if isinstance(talk, list)]
