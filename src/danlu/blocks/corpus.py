"""Texts as one long memory-mapped line of token ids, cut into blocks of equal length without padding.

A corpus is cut into tokens once. It lies in files named by what it was made from, so a second training on the same
texts and the same tokenizer finds it, and a corpus larger than memory is read from the disk as it is needed.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self, overload

import numpy as np

from danlu.contracts import Example
from danlu.core.errors import DataError
from danlu.core.files import disk_faults, publish_dir, temp_beside

Ids = np.ndarray[Any, np.dtype[np.int64]]

_AT_ONCE = 1000
_FORGOTTEN_S = 86_400
_IDS, _ENDS = "ids.npy", "ends.npy"


@dataclass(frozen=True)
class Corpus:
    """The ids of all documents, one after another, and where each one ends; both memory-mapped."""

    ids: np.ndarray[Any, Any]
    ends: np.ndarray[Any, np.dtype[np.int64]]

    @classmethod
    def of(
        cls,
        folder: Path,
        texts: Iterable[str],
        cut: Callable[[Sequence[str]], list[Sequence[int]]],
        *,
        key: Sequence[str],
        told: Callable[[int], None] = lambda _: None,
    ) -> Self:
        """The corpus of `texts`, from the folder when it is there already, else cut by `cut` and written.

        `key` says what the texts and the tokenizer are; `told` hears how many texts are done. Raises DataError when
        there is nothing in the texts.
        """
        name = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
        final = folder / name
        if not (final / _ENDS).is_file():
            _make(final, lambda made: _write(made, texts, cut, told))
        return cls(np.load(final / _IDS, mmap_mode="r"), np.load(final / _ENDS, mmap_mode="r"))

    @property
    def tokens(self) -> int:
        return len(self.ids)

    def block(self, place: int, length: int) -> tuple[Ids, Ids]:
        """The ids of a block, and which of the documents in it each belongs to, from 1; the last may be shorter."""
        start = place * length
        ids = np.array(self.ids[start : start + length], dtype=np.int64)
        where = np.arange(start, start + len(ids))
        document = np.searchsorted(self.ends, where, side="right")
        return ids, document - document[0] + 1


def _make(final: Path, write: Callable[[Path], None]) -> None:
    """A folder written whole or not at all; who is second finds it made."""
    made = temp_beside(final)
    for left in final.parent.glob(".tmp-*"):  # of a process that was killed
        if time.time() - left.stat().st_mtime > _FORGOTTEN_S:
            shutil.rmtree(left, ignore_errors=True)
    try:
        with disk_faults(final):
            made.mkdir(parents=True)
            write(made)
        with contextlib.suppress(FileExistsError):
            publish_dir(made, final)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _write(
    folder: Path, texts: Iterable[str], cut: Callable[[Sequence[str]], list[Sequence[int]]], told: Callable[[int], None]
) -> None:
    """The ids in as few bytes each as they need; written as they come, so that they need not fit into memory."""
    ends, done, documents, raw = [], 0, 0, folder / "ids.raw"
    widest: np.dtype[Any] = np.dtype(np.uint16)
    with raw.open("wb") as file:
        for some in _batches(texts):
            pieces = [np.asarray(piece, dtype=np.uint32) for piece in cut(some)]
            ends.append(np.cumsum([len(piece) for piece in pieces]) + done)
            done = int(ends[-1][-1])
            whole = np.concatenate(pieces)
            if len(whole) and whole.max() > np.iinfo(np.uint16).max:
                widest = np.dtype(np.uint32)
            file.write(whole.tobytes())
            documents += len(some)
            told(documents)
    if not done:
        raise DataError("there is no text to learn from", where="the training rows", do="give rows with text")
    _narrowed(raw, done, widest, folder / _IDS)
    raw.unlink()
    kept = np.unique(np.concatenate(ends).astype(np.int64))  # an empty text ends where the one before it did
    np.save(folder / _ENDS, kept)


def _narrowed(raw: Path, tokens: int, kind: np.dtype[Any], path: Path) -> None:
    wide = np.memmap(raw, dtype=np.uint32, mode="r", shape=(tokens,))
    made = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=(tokens,))
    for start in range(0, tokens, 1 << 22):
        made[start : start + (1 << 22)] = wide[start : start + (1 << 22)]
    made.flush()


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    waiting = iter(texts)
    while some := list(islice(waiting, _AT_ONCE)):
        yield some


class Lazy(Sequence[Example]):
    """Examples that are made when they are asked for. Derive from it, set `lengths` and write `made`."""

    lengths: Ids
    """Of each example, in tokens."""

    @abstractmethod
    def made(self, place: int) -> Example:
        """The example of a place, from 0."""

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, place: int) -> Example: ...
    @overload
    def __getitem__(self, place: slice) -> list[Example]: ...
    def __getitem__(self, place: int | slice) -> Example | list[Example]:
        places = range(len(self))[place]
        return [self.made(k) for k in places] if isinstance(places, range) else self.made(places)


class Blocks(Lazy):
    """The blocks of a corpus as training examples, made when they are asked for."""

    def __init__(self, corpus: Corpus, length: int, make: Callable[[Ids, Ids], Example]) -> None:
        """`make(ids, segments)` gives the example of a block."""
        self.corpus, self._length, self._make = corpus, length, make
        self.lengths = np.full(-(-corpus.tokens // length), length, dtype=np.int64)
        self.lengths[-1] = corpus.tokens - length * (len(self.lengths) - 1)
        if self.lengths[-1] < 2 and len(self.lengths) > 1:  # nothing can be learnt from a single token
            self.lengths = self.lengths[:-1]

    def made(self, place: int) -> Example:
        return self._make(*self.corpus.block(place, self._length))
