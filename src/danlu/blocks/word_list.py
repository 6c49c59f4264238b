"""The words a model of whole words knows, and the text cut into them; without torch.

A Chinese or Japanese character counts as a word, unless `jieba` is asked to cut runs of them into words. Words are in
lower case; marks and spaces are left out.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, TypeAlias

import numpy as np

from danlu.blocks.grams import words
from danlu.core.errors import DataError
from danlu.core.files import write_atomic
from danlu.core.plugin import did_you_mean, lazy

_jieba: Any = lazy("jieba", extra="chinese")

Cutter: TypeAlias = Literal["characters", "jieba"]
NOTHING = -1
"""The id that fills up a shorter text, and that stands for a text without a known word."""
_FILE = "words.json"
_RUN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_LIKE = 2


class WordList:
    """Known words, the commonest first, and how often each occurred in the training texts; a `Processor`."""

    pad: ClassVar[Mapping[str, float]] = {"text": NOTHING, "ids": NOTHING, "weights": 0.0}

    def __init__(self, names: Sequence[str], counts: Sequence[int], chinese: Cutter = "characters") -> None:
        self.names, self.chinese = tuple(names), chinese
        self.counts = np.asarray(counts, dtype=np.int64)
        self._places = {name: place for place, name in enumerate(self.names)}

    @classmethod
    def learn(cls, texts: Iterable[str], *, least: int, most: int, chinese: Cutter = "characters") -> Self:
        """The words that occur `least` times or more, at most `most` of them.

        Raises DataError when these are fewer than two, MachineError when `jieba` is asked for and not installed.
        """
        counts, rows = Counter[str](), 0
        for text in texts:
            rows += 1
            counts.update(cut(text, chinese))
        frequent = ((name, count) for name, count in counts.items() if count >= least)
        common = sorted(frequent, key=lambda entry: (-entry[1], entry[0]))[:most]
        if len(common) < 2:
            what = f"{len(common)} words occur {least} times or more in {rows:,} texts ({counts.total():,} words)"
            raise DataError(what, where="train", do="give more text, a line or a paragraph a row; or lower min_count")
        return cls([name for name, _ in common], [count for _, count in common], chinese)

    def __len__(self) -> int:
        return len(self.names)

    def cut(self, text: str) -> list[str]:
        """The words of a text, known or not."""
        return cut(text, self.chinese)

    def knows(self, word: str) -> bool:
        return word in self._places

    def place(self, word: str) -> int:
        """The id of a word. Raises DataError, with the nearest spellings, for one that is not known."""
        name = word.strip().lower()
        if name in self._places:
            return self._places[name]
        like = [known for known in self.names if abs(len(known) - len(name)) <= _LIKE]
        near = did_you_mean(name, like)
        near = near if near.startswith("; did") else ""
        do = "ask for a word of the training texts; those that were rarer than min_count are not known"
        raise DataError(f"the word {name[:60]!r} is not known{near}", do=do)

    def inputs(self, x: str, limit: int | None = None) -> dict[str, Any]:
        """`text` int32 [known words]: the ids of a text's known words in their order; `NOTHING` alone without any."""
        ids = [place for word in self.cut(x) if (place := self._places.get(word)) is not None][:limit]
        return {"text": np.array(ids or [NOTHING], dtype=np.int32)}

    def drawn(self, size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
        """`size` ids spread evenly over the running words of the training texts: a common word is there often."""
        ends = np.cumsum(self.counts) / self.counts.sum()
        found: np.ndarray[Any, np.dtype[np.int64]] = np.searchsorted(ends, (np.arange(size) + 0.5) / size)
        return found

    def save(self, folder: Path) -> None:
        plain = {"chinese": self.chinese, "words": self.names, "counts": self.counts.tolist()}
        write_atomic(folder / _FILE, json.dumps(plain, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when the folder has no such list."""
        path = folder / _FILE
        try:
            plain = json.loads(path.read_text("utf-8"))
            return cls(plain["words"], plain["counts"], plain["chinese"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the list of words can't be read: {error}", where=str(path)) from error


def cut(text: str, chinese: Cutter) -> list[str]:
    """The words of a text in lower case. Raises MachineError when `jieba` is asked for and not installed."""
    text = text.lower().replace("_", " ")
    if chinese == "characters":
        return words(text)
    ends = [0, *(end for run in _RUN.finditer(text) for end in run.span()), len(text)]
    parts = [text[begin:end] for begin, end in pairwise(ends)]  # every second one is a run of characters
    return [word for k, part in enumerate(parts) for word in (_jieba.lcut(part) if k % 2 else words(part))]
