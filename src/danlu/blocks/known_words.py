"""Token ids of a text from those of its words, where a tokenizer cuts each word by itself.

A tokenizer in the manner of BERT first cuts a text at spaces and around each Chinese character, and nothing that stands
on the other side of such a cut changes the pieces of a word. So a word is cut once, and looked up from then on.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

_MOST, _LONGEST = 1 << 17, 64
"""Words that are kept, and characters of one."""
_CHINESE = re.compile("([\u3400-\u4dbf\u4e00-\u9fff]+)")
"""Splits a text into other characters, Chinese ones, others, and so on."""
_FITTING = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}


class KnownWords(dict[str, bytes]):
    """Word → its ids as int32, filled as words come."""

    def __init__(self, tokenizer: Tokenizer, ends: tuple[Ids, Ids], added: tuple[str, ...]) -> None:
        super().__init__({"": b""})
        self._tokenizer, self._ends = tokenizer, ends
        self._added = re.compile("|".join(map(re.escape, added))) if added else None

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Self | None:
        """For a tokenizer; None for one that may cut a word by what stands beside it."""
        told = json.loads(tokenizer.to_str())
        fits = all((told.get(part) or {}).get("type") == kind for part, kind in _FITTING.items())
        added = told["added_tokens"]
        if not fits or not told["normalizer"]["handle_chinese_chars"] or any(token["normalized"] for token in added):
            return None
        bare, whole = (tokenizer.encode("a b", add_special_tokens=special).ids for special in (False, True))
        first = next((k for k in range(len(whole)) if whole[k : k + len(bare)] == bare), None)
        if first is None or not bare:
            return None
        ends = np.array(whole[:first], np.int64), np.array(whole[first + len(bare) :], np.int64)
        if not len(ends[0]) + len(ends[1]):  # a text of nothing would have no ids, which no model takes
            return None
        return cls(tokenizer, ends, tuple(token["content"] for token in added))

    def ids(self, text: str, most: int) -> Ids | None:
        """The ids of a text cut to `most`, special ones included; None where the tokenizer itself must be asked."""
        before, after = self._ends
        room = most - len(before) - len(after)
        if room < 0 or (self._added is not None and self._added.search(text)):
            return None
        known, words = self.__getitem__, list[bytes]()
        for place, part in enumerate([text] if text.isascii() else _CHINESE.split(text), 1):
            words += map(known, part.split(" ") if place & 1 else part)
        ids = np.frombuffer(b"".join(words), np.int32)
        return np.concatenate([before, ids[:room], after])

    def __missing__(self, word: str) -> bytes:
        ids = np.array(self._tokenizer.encode(word, add_special_tokens=False).ids, np.int32).tobytes()
        if len(word) <= _LONGEST and len(self) < _MOST:
            self[word] = ids
        return ids
