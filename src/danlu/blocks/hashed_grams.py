"""Words, pairs of words and runs of letters, each put into one of a fixed number of buckets; without torch.

Nothing is learnt, so nothing is unknown: a word that was never seen shares runs of letters with its relatives.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from danlu.blocks.grams import grams
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

NOTHING = 0
"""The bucket that stands for nothing, and fills up shorter texts."""
_FILE = "hashed_grams.json"


@dataclass(frozen=True)
class HashedGrams:
    """`buckets` for the grams, and how many letters a run has: from `shortest` to `longest` (0: no runs)."""

    buckets: int
    shortest: int
    longest: int

    pad: ClassVar[Mapping[str, float]] = {"buckets": NOTHING}

    def inputs(self, x: str | tuple[str, str], limit: int | None = None) -> dict[str, Any]:
        """`buckets` int64 [grams], from 1: CRC-32 of each gram; `limit` is of words. Nothing alone without a word.

        Two texts are read as one.
        """
        found = grams(x if isinstance(x, str) else "\n".join(x), limit)
        runs = [run for word in found if " " not in word for run in self._runs(f"<{word}>")]
        ids = [1 + zlib.crc32(gram.encode("utf-8", "replace")) % self.buckets for gram in (*found, *runs)]
        return {"buckets": np.array(ids or [NOTHING], dtype=np.int64)}

    def _runs(self, word: str) -> list[str]:
        sizes = range(self.shortest, self.longest + 1)
        return [word[k : k + size] for size in sizes for k in range(len(word) - size + 1)]

    def save(self, folder: Path) -> None:
        write_atomic(folder / _FILE, json.dumps(asdict(self)) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when the folder has no such settings."""
        path = folder / _FILE
        try:
            return cls(**{name: int(number) for name, number in json.loads(path.read_text("utf-8")).items()})
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise DataError(f"the settings of the buckets can't be read: {error}", where=str(path)) from error
