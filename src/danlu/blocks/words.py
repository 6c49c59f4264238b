"""Words of a text, with or without spaces between them, and lists of words that mean the same."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from danlu.core.errors import DataError

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Scripts that put no spaces between words: Thai, kana, Chinese characters."""
_UNIT = re.compile(rf"\s*(?:[{_UNSPACED}]|[^\s{_UNSPACED}]+)|\s+$")
_WORD = re.compile(rf"[^\W\d_{_UNSPACED}]+(?:'[^\W\d_{_UNSPACED}]+)*")
_IDEOGRAPH = re.compile(rf"[{_UNSPACED}]")
_LONGEST = 60


def units(text: str) -> list[str]:
    """The text cut into words, or characters of a script without spaces, each with the space before it."""
    return _UNIT.findall(text)


def is_unspaced(character: str) -> bool:
    """Whether a character is of a script that puts no spaces between words."""
    return _IDEOGRAPH.match(character) is not None


def words(text: str) -> Iterator[tuple[int, str]]:
    """Words of scripts with spaces, with the place they begin at; numbers and marks are left out."""
    return ((found.start(), found.group()) for found in _WORD.finditer(text))


def is_word(text: str) -> bool:
    """Whether a text is one word of a script with spaces, and nothing else."""
    return _WORD.fullmatch(text) is not None


def spans(text: str) -> list[tuple[int, int]]:
    """Where the text has words, and characters of scripts without spaces: begin and end, ascending."""
    alone = [(at, at + 1) for at, character in enumerate(text) if is_unspaced(character)]
    return sorted([*alone, *((begin, begin + len(word)) for begin, word in words(text))])


class Thesaurus:
    """Groups of words that mean the same; finds in a text the longest words it knows.

    A word of a script with spaces is found between word ends only; one of Chinese characters anywhere, which is a
    segmentation by longest match from the left: it errs where words overlap.
    """

    def __init__(self, groups: Iterable[Iterable[str]]) -> None:
        self._others: dict[str, list[str]] = defaultdict(list)
        for group in groups:
            known = list(dict.fromkeys(word.strip() for word in group if word.strip()))
            for word in known:
                mine = self._others[word.casefold()]
                mine += [w for w in known if w.casefold() != word.casefold() and w not in mine]
        lengths: dict[str, set[int]] = defaultdict(set)
        for word in self._others:
            lengths[word[0]].add(len(word))
        self._lengths = {first: sorted(found, reverse=True) for first, found in lengths.items()}

    @classmethod
    def read(cls, path: Path) -> Thesaurus:
        """From a file in UTF-8, one group a line, its words set apart by commas or tabs; `#` begins a remark.

        Raises DataError when it can't be read, or names no two words that mean the same.
        """
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            do = "give a text file in UTF-8, a group of words a line, set apart by commas"
            raise DataError(f"the list of words can't be read: {error}", where=str(path), do=do) from error
        lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
        delimiter = "\t" if any("\t" in line for line in lines) else ","
        made = cls(csv.reader(io.StringIO("\n".join(line.replace("，", ",") for line in lines)), delimiter=delimiter))
        if not any(made._others.values()):
            what = "no line names two words that mean the same"
            raise DataError(what, where=str(path), do="write a group a line: good, fine, nice")
        if longest := max((w for w in made._others if len(w) > _LONGEST), key=len, default=""):
            what = f"a word of {len(longest)} characters begins {longest[:20]!r}; at most {_LONGEST} are taken"
            raise DataError(what, where=str(path), do="set words apart by commas")
        return made

    def others(self, word: str) -> list[str]:
        """What means the same as a word, in the order of the list."""
        return self._others.get(word.casefold(), [])

    def found(self, text: str) -> list[tuple[int, int]]:
        """Where the text has a word of the list: begin and end, from the left, the longest first."""
        low, places, at = text.casefold(), [], 0
        if len(low) != len(text):  # ß and a few others become two letters
            low = text.lower() if len(text.lower()) == len(text) else text
        while at < len(text):
            ends = (at + n for n in self._lengths.get(low[at], ()) if low[at : at + n] in self._others)
            end = next((e for e in ends if _apart(text, at) and _apart(text, e)), at)
            if end > at:
                places.append((at, end))
            at = max(end, at + 1)
        return places


def _apart(text: str, at: int) -> bool:
    """Whether a word may begin or end at a place."""
    if at in (0, len(text)):
        return True
    before, after = text[at - 1], text[at]
    return not (before.isalnum() and after.isalnum()) or is_unspaced(before) or is_unspaced(after)


def replace(text: str, places: Iterable[tuple[int, int, Sequence[str]]], rng: np.random.Generator) -> str:
    """The text with one of the given words at each place (begin, end, words), ascending, in its capitals."""
    parts, done = list[str](), 0
    for begin, end, others in places:
        parts += [text[done:begin], like(others[int(rng.integers(len(others)))], text[begin:end])]
        done = end
    return "".join([*parts, text[done:]])


def like(word: str, pattern: str) -> str:
    """A word with the capitals of another: FILM, Film or film."""
    if len(pattern) > 1 and pattern.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if pattern[:1].isupper() else word
