"""Token ids of a text from those of its words, where a tokenizer cuts each word by itself.

A tokenizer in the manner of BERT first cuts a text at spaces and around each Chinese character, and nothing that stands
on the other side of such a cut changes the pieces of a word. So a word is cut once, and looked up from then on.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Ids: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]

MOST, LONGEST = 1 << 17, 64
"""Words that are kept, and characters of one."""
ALONE = ("\u3400-\u4dbf", "\u4e00-\u9fff", *"\u3001\u3002\uff01\uff0c\uff1a\uff1b\uff1f!,?")
"""Characters that are each a word, as Chinese ones and punctuation are: ranges and single ones."""
_SPLIT = re.compile(f"([{''.join(ALONE)}]+)")
"""Splits a text into other characters, such as are words, others, and so on."""
_PLAIN = re.compile("[0-9A-Za-z]+|[\u4e00-\u9fff]")
"""A word of which a normalizer changes the case alone."""
_UNKNOWN = -1
_FITTING = {"normalizer": "BertNormalizer", "pre_tokenizer": "BertPreTokenizer", "model": "WordPiece"}


class KnownWords(dict[str, bytes]):
    """Word → its ids as int32, filled as words come."""

    def __init__(self, tokenizer: Tokenizer, told: dict[str, Any], ends: tuple[Ids, Ids], added: Sequence[str]) -> None:
        super().__init__({"": b""})
        self._model, self._lowers = tokenizer.model, told["normalizer"]["lowercase"]
        self._tokenizer, self.ends = tokenizer, ends
        self._added = re.compile("|".join(map(re.escape, added))) if added else None
        self._marks = {token[0] for token in added}
        self._alone = np.zeros(1 << 16, np.int32)  # the id of each character that is a word; 0 for all others
        for first, last in ((span[0], span[-1]) for span in ALONE):
            self._alone[ord(first) : ord(last) + 1] = _UNKNOWN

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
        return cls(tokenizer, told, ends, [token["content"] for token in added])

    def ids(self, text: str, most: int) -> Ids | None:
        """The ids of a text cut to `most`, special ones included; None where the tokenizer itself must be asked."""
        before, after = self.ends
        room = most - len(before) - len(after)
        if room < 0 or self.holds_added(text):
            return None
        words = map(self.__getitem__, text.split(" ")) if text.isascii() else self._mixed(text)
        ids = np.frombuffer(b"".join(words), np.int32)
        return np.concatenate([before, ids[:room], after])

    def holds_added(self, text: str) -> bool:
        return self._added is not None and any(mark in text for mark in self._marks) and bool(self._added.search(text))

    @property
    def added(self) -> str:
        """A regular expression for the special tokens that may be written in a text; empty where there are none."""
        return self._added.pattern if self._added is not None else ""

    def many(self, words: Sequence[str]) -> list[bytes]:
        """The ids of words that are all different, each with white space at its ends or none."""
        found = list(map(self.get, words))
        missing = [place for place, ids in enumerate(found) if ids is None]
        bare = {place: words[place].strip(" \n") for place in missing}
        fresh = [word for word in dict.fromkeys(bare.values()) if word not in self]
        ids = {word: self._of_plain(word) for word in fresh if _PLAIN.fullmatch(word)}
        asked = [word for word in fresh if word not in ids]
        made = self._tokenizer.encode_batch_fast(asked, add_special_tokens=False)
        ids |= {word: encoding.ids for word, encoding in zip(asked, made, strict=True)}
        for place, word in bare.items():
            found[place] = self._kept(words[place], ids[word]) if word in ids else self[word]
        return found  # type: ignore[return-value]  # none of them is None now

    def _of_plain(self, word: str) -> list[int]:
        return [token.id for token in self._model.tokenize(word.lower() if self._lowers else word)]

    def _mixed(self, text: str) -> list[bytes]:
        """The ids of each word, and of each run of characters that are words."""
        known, words, place = self.__getitem__, list[bytes](), 0
        alone = self._alone_ids(text)
        for number, part in enumerate(_SPLIT.split(text)):
            if not number & 1:
                words += map(known, part.split(" "))
            elif alone:
                words.append(alone[4 * place : 4 * (place + len(part))])
            else:
                words += map(known, part)
            place += len(part)
        return words

    def _alone_ids(self, text: str) -> bytes:
        """An id for each character, right where it is a word by itself; nothing where one of them has not one id."""
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        ids = self._alone.take(codes, mode="clip")
        if ids.min(initial=0) == _UNKNOWN:
            for code in np.unique(codes[ids == _UNKNOWN]).tolist():
                if len(own := self[chr(code)]) == 4:
                    self._alone[code] = np.frombuffer(own, np.int32)[0]
            ids = self._alone.take(codes, mode="clip")
        return b"" if ids.min(initial=0) == _UNKNOWN else ids.tobytes()

    def __missing__(self, word: str) -> bytes:
        return self._kept(word, self._tokenizer.encode(word, add_special_tokens=False).ids)

    def _kept(self, word: str, ids: Sequence[int]) -> bytes:
        made = array("i", ids).tobytes()
        if len(word) <= LONGEST and len(self) < MOST:
            self[word] = made
        return made
