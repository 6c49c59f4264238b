"""Token ids of a whole column of texts, by looking up its different words once; those of `KnownWords.ids`.

The texts are tiled at spaces and signs. A run of Chinese characters is one tile, whose ids come from a table. Arrow
numbers the other tiles, and only those that were not met before are looked up, so a text costs what its bytes cost,
whatever its words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from danlu.blocks.known_words import ALONE, LONGEST, MOST, KnownWords

Array: TypeAlias = np.ndarray[Any, Any]
Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int32]]

_SPACE, _SIGN, _LEAD = 1, 2, 3
_SIGNS = b"!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_LEADS = (*range(0xE3, 0xEA), 0xEF)
"""How characters of three bytes begin that may be a word each."""
_UNMET, _SEVERAL, _OTHER = -1, -2, -3
"""Characters that are a word each: not looked up yet, of none or several ids; and such as are not."""


class WordColumns:
    """Knows the tiles of the columns that it was asked about, as far as they are not too many."""

    def __init__(self, known: KnownWords) -> None:
        self._known = known
        self._tiles, self._lengths, self._ids = pa.array([""]), np.zeros(1, np.int64), np.zeros(0, np.int32)
        self._alone = np.full(1 << 16, _OTHER, np.int32)
        for span in ALONE:
            self._alone[ord(span[0]) : ord(span[-1]) + 1] = _UNMET

    @property
    def least(self) -> int:
        """How many special ids each text has."""
        return len(self._known.ends[0]) + len(self._known.ends[1])

    @property
    def added(self) -> str:
        """A regular expression for the special tokens that may be written in a text; empty where there are none."""
        return self._known.added

    def ids_of(self, texts: pa.StringArray, most: int, told: Mapping[int, Sequence[int]]) -> pa.ListArray:
        """The ids of each text, cut to `most`.

        `told` are the ids of texts, by their places, that have to be taken as they are.
        """
        ends = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
        raw = texts.buffers()[2]
        data = np.frombuffer(raw, np.uint8)[ends[0] : ends[-1]] if raw is not None else np.zeros(0, np.uint8)
        kinds = np.frombuffer(data.tobytes().translate(_kinds()), np.uint8)
        cuts = _cuts(kinds)
        at, alone = self._single(data, np.flatnonzero(kinds == _LEAD), cuts)
        runs = _runs(at, cuts, ends - ends[0])
        starts = np.flatnonzero(cuts)
        is_run = np.zeros(len(cuts), bool)
        is_run[at[runs]] = True
        is_run = is_run[starts[:-1]]
        places, lengths, ids = self._looked_up(raw, starts.astype(np.int32) + ends[0], is_run)
        counts, first = lengths[places], (np.cumsum(lengths) - lengths)[places]
        counts[is_run], first[is_run] = np.diff(np.append(runs, len(at))), len(ids) + runs
        through = np.concatenate([[0], np.cumsum(counts)])  # ids before each tile
        each = np.repeat(first - through[:-1], counts)
        each += np.arange(len(each))
        begins = through[np.searchsorted(starts, ends - ends[0])]
        found, bounds = _with_ends(self._known, np.concatenate([ids, alone])[each], begins, most, told)
        return pa.ListArray.from_arrays(bounds.astype(np.int32), found)

    def _single(self, data: Array, leads: Array, cuts: Array) -> tuple[Array, Ids]:
        """Where the characters begin that have one id each, and these; `cuts` are made around such as have several."""
        first, second, third = (data[leads + place].astype(np.uint16) for place in range(3))
        codes = first << 12 | (second & 63) << 6 | third & 63
        ids = self._alone[codes]
        if (unmet := ids == _UNMET).any():
            fresh = np.unique(codes[unmet])
            for code, own in zip(fresh, self._known.many(list(map(chr, fresh.tolist()))), strict=True):
                self._alone[code] = np.frombuffer(own, np.int32)[0] if len(own) == 4 else _SEVERAL
            ids = self._alone[codes]
        several, single = leads[ids == _SEVERAL], ids >= 0
        cuts[several] = cuts[several + 3] = True
        return leads[single], ids[single]

    def _looked_up(self, raw: Any, starts: Array, is_run: Array) -> tuple[Array, Array, Ids]:
        """The place of each tile among the different ones, and of these how many ids they have, and all their ids."""
        valid = pa.py_buffer(np.packbits(~is_run, bitorder="little"))
        tiles = pa.StringArray.from_buffers(len(is_run), pa.py_buffer(starts), raw, valid)
        numbered = pa.concat_arrays([self._tiles, tiles]).dictionary_encode()
        places = numbered.indices[len(self._tiles) :].fill_null(0).to_numpy()
        words = numbered.dictionary[len(self._tiles) :].to_pylist()
        made = self._known.many(words)
        lengths, ids = self._and(made)
        room = MOST - len(self._tiles)
        kept = [place for place, word in enumerate(words) if len(word) <= LONGEST][:room]
        if kept:
            self._lengths, self._ids = self._and([made[place] for place in kept])
            self._tiles = pa.concat_arrays([self._tiles, pa.array([words[place] for place in kept], pa.string())])
        return places, lengths, ids

    def _and(self, made: list[bytes]) -> tuple[Array, Ids]:
        """How many ids the tiles that are known and some more have, and all of these."""
        lengths = np.fromiter(map(len, made), np.int64, len(made)) // 4
        return np.append(self._lengths, lengths), np.append(self._ids, np.frombuffer(b"".join(made), np.int32))


def _with_ends(
    known: KnownWords, found: Ids, begins: Array, most: int, told: Mapping[int, Sequence[int]]
) -> tuple[Ids, Array]:
    """The ids between special ones, the texts cut."""
    before, after = known.ends
    counts = np.diff(begins)
    kept = np.minimum(counts, most - len(before) - len(after))
    kept[list(told)] = 0
    if len(cut := np.flatnonzero(kept < counts)):
        left = np.ones(len(found), bool)
        for first, last in zip((begins[:-1] + kept)[cut].tolist(), begins[1:][cut].tolist(), strict=True):
            left[first:last] = False
        found = found[left]
    sizes = kept + len(before) + len(after)
    sizes[list(told)] = list(map(len, told.values()))
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    ids, own = np.empty(bounds[-1], np.int32), np.ones(bounds[-1], bool)
    here = np.ones(len(counts), bool)
    here[list(told)] = False
    for place, special in enumerate(before.tolist()):
        at = bounds[:-1][here] + place
        ids[at], own[at] = special, False
    for place, special in enumerate(after.tolist()):
        at = bounds[1:][here] - len(after) + place
        ids[at], own[at] = special, False
    for row, given in told.items():
        ids[bounds[row] : bounds[row + 1]], own[bounds[row] : bounds[row + 1]] = given, False
    ids[own] = found
    return ids, bounds


def _cuts(kinds: Array) -> Array:
    """For each byte, and the end, whether a tile begins there: around signs, and after the space after a word."""
    cuts = np.zeros(len(kinds) + 1, bool)
    signs, spaces = kinds == _SIGN, kinds == _SPACE
    cuts[1:] = signs | spaces
    cuts[:-1] |= signs
    cuts[:-1] &= ~spaces
    return cuts


def _runs(at: Array, cuts: Array, bounds: Array) -> Array:
    """Which of the characters at these places begin a run of their kind; `cuts` are made around runs and texts."""
    begins = np.ones(len(at), bool)
    begins[1:] = np.diff(at) != 3
    first = np.searchsorted(at, bounds)
    begins[first[first < len(at)]] = True
    runs = np.flatnonzero(begins)
    cuts[bounds] = cuts[at[runs]] = cuts[at[runs - 1] + 3] = True
    return runs


@cache
def _kinds() -> bytes:
    """What each byte is."""
    kinds = np.zeros(256, np.uint8)
    kinds[list(b" \n")], kinds[list(_SIGNS)], kinds[list(_LEADS)] = _SPACE, _SIGN, _LEAD
    return kinds.tobytes()
