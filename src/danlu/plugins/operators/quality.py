"""Drop texts that are no prose: repetition, symbols, lists, fragments; the rules of Gopher and C4."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.grams import words
from danlu.blocks.rewriting import drop, text_columns
from danlu.blocks.wordings import Wordings
from danlu.contracts import Context, Counts, Operator

_BULLET = re.compile(r"\s*(?:[-*•‣▪◦●·–]|\d{1,3}[.)、])\s*")
_SYMBOL = re.compile(r"#|…|\.\.\.")
_SPACED = re.compile(r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_PAGE = re.compile(r"lorem ipsum|javascript|[{}]", re.IGNORECASE)
_ENGLISH = ("the", "be", "to", "of", "and", "that", "have", "with")
_CHINESE = "的了是在和有我不这就也都"
_STOP = frozenset((*_ENGLISH, *_CHINESE))
_PLAIN_STOPS = (*(f" {word} " for word in _ENGLISH), *_CHINESE)
_NEARLY = 1 - 1e-9
_SHORT = 10
"""Words below which repetition and symbols say nothing of a text."""


class Quality(Operator):
    """Each rule has its option (`null`: off) and its count. The bounds are Gopher's (Rae et al., 2021, table A1), which
    are meant for web pages: try them on your texts, and look at the samples, before you trust them.

    A Chinese or Japanese character counts as a word, so the rules hold there too, save `word_length`, which looks at
    words in other scripts alone. Repetition, symbols and the share of words are judged from 10 words on.
    """

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""
    word_length: tuple[float, float] | None = (3.0, 10.0)
    """The least and greatest mean length of a word, in characters."""
    symbols: float | None = Field(default=0.1, ge=0)
    """The most `#` and ellipses a word."""
    bullets: float | None = Field(default=0.9, ge=0, le=1)
    """The greatest share of lines, of two at least, that begin as an item of a list."""
    ellipses: float | None = Field(default=0.3, ge=0, le=1)
    """The greatest share of lines, of two at least, that end with an ellipsis."""
    alphabetic: float | None = Field(default=0.8, ge=0, le=1)
    """The least share of words that hold a letter."""
    stop_words: int | None = Field(default=2, ge=0)
    """How many different stop words (English or Chinese) a text of at least `stop_words_from` words has."""
    stop_words_from: int = Field(default=50, ge=1)
    """Shorter texts need no stop words."""
    repeated_lines: float | None = Field(default=0.3, ge=0, le=1)
    """The greatest share of lines that stood in the text before."""
    top_pair: float | None = Field(default=0.2, ge=0, le=1)
    """The greatest share of the words' characters that are in the commonest pair of words, when it comes again."""
    repeated_grams: float | None = Field(default=0.15, ge=0, le=1)
    """The greatest share of runs of five words that stood in the text before."""
    page: bool = False
    """C4 (Raffel et al., 2020): drop texts with a brace, `lorem ipsum` or `javascript`."""

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        names = self.columns or context.columns.ask
        counts = Counts(table.num_rows, table.num_rows)
        texts = text_columns(table, names, counts, option="quality.columns")
        rules = {rule: np.zeros(table.num_rows, bool) for rule in _RULES}
        for name in texts:
            cells = [text or "" for text in table.column(name).to_pylist()]
            seen: dict[int, _Text] = {}
            for rule, rows in self._doubtful(cells).items():
                for row in rows.tolist():
                    seen[row] = one = seen.get(row) or _Text(cells[row])
                    rules[rule][row] |= _RULES[rule](self, one)
        return drop(table, names, rules, counts)

    def _doubtful(self, texts: list[str]) -> dict[str, Any]:
        """The rules that are on, and the rows that may break each of them: a text is read closely only there."""
        of = Wordings.of(texts)
        long, lines = of.words >= _SHORT, np.fromiter(("\n" in text for text in texts), bool, len(texts))
        least, most = self.word_length or (0, 0)
        mean = of.spaced_characters / np.maximum(of.spaced, 1)
        may = {
            "word_length": (of.spaced >= _SHORT) & ~((least <= mean) & (mean <= most)),
            "symbols": long & (_symbols_at_most(texts) > (self.symbols or 0) * of.words),
            "bullets": lines,
            "ellipses": lines,
            "alphabetic": long & (of.lettered < (self.alphabetic or 0) * (of.words + of.symbols)),
            "stop_words": (of.words >= self.stop_words_from) & ~_has_stop_words(texts, self.stop_words or 0),
            "repeated_lines": lines,
            "top_pair": long & (of.pair > (self.top_pair or 0) * of.characters),
            "repeated_grams": long & (of.runs >= (self.repeated_grams or 0) * (of.words - 4) * _NEARLY),
            "page": np.full(len(texts), self.page),
        }
        return {rule: np.flatnonzero(rows | ~of.known) for rule, rows in may.items() if getattr(self, rule) is not None}

    def broken(self, text: str) -> list[str]:
        """The rules that a text breaks; an empty one breaks none."""
        seen = _Text(text)
        return [rule for rule, breaks in _RULES.items() if getattr(self, rule) is not None and breaks(self, seen)]


def _symbols_at_most(texts: list[str]) -> Any:
    counts = (text.count("#") + text.count("…") + text.count("...") for text in texts)
    return np.fromiter(counts, np.int64, len(texts))


def _has_stop_words(texts: list[str], enough: int) -> Any:
    """Whether it is plain that a text has that many of them: between spaces, or Chinese."""

    def plain(text: str) -> bool:
        found = 0
        for sign in _PLAIN_STOPS:
            found += sign in text
            if found >= enough:
                return True
        return found >= enough

    return np.fromiter(map(plain, texts), bool, len(texts))


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        return words(self.text.lower())

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @property
    def long(self) -> bool:
        return len(self.words) >= _SHORT

    def share(self, holds: Callable[[str], Any]) -> float:
        """The share of lines for which something holds; 0 where there is but one."""
        return sum(bool(holds(line)) for line in self.lines) / len(self.lines) if len(self.lines) > 1 else 0.0


def _word_length(rules: Quality, seen: _Text) -> bool:
    lengths = [len(word) for word in _SPACED.findall(seen.text)]
    least, most = rules.word_length or (0, 0)
    return len(lengths) >= _SHORT and not least <= sum(lengths) / len(lengths) <= most


def _symbols(rules: Quality, seen: _Text) -> bool:
    return seen.long and len(_SYMBOL.findall(seen.text)) > (rules.symbols or 0) * len(seen.words)


def _bullets(rules: Quality, seen: _Text) -> bool:
    return seen.share(_BULLET.match) > (rules.bullets or 0)


def _ellipses(rules: Quality, seen: _Text) -> bool:
    return seen.share(lambda line: line.endswith(("…", "..."))) > (rules.ellipses or 0)


def _alphabetic(rules: Quality, seen: _Text) -> bool:
    tokens = [*seen.words, *re.findall(r"(?<!\S)[^\w\s]+(?!\S)", seen.text)]
    lettered = sum(any(map(str.isalpha, word)) for word in tokens)
    return seen.long and lettered < (rules.alphabetic or 0) * len(tokens)


def _stop_words(rules: Quality, seen: _Text) -> bool:
    return len(seen.words) >= rules.stop_words_from and len(_STOP & set(seen.words)) < (rules.stop_words or 0)


def _repeated_lines(rules: Quality, seen: _Text) -> bool:
    return len(seen.lines) > 1 and 1 - len(set(seen.lines)) / len(seen.lines) > (rules.repeated_lines or 0)


def _top_pair(rules: Quality, seen: _Text) -> bool:
    if not seen.long:
        return False
    pair, count = Counter(zip(seen.words, seen.words[1:], strict=False)).most_common(1)[0]
    return count > 1 and count * sum(map(len, pair)) > (rules.top_pair or 0) * sum(map(len, seen.words))


def _repeated_grams(rules: Quality, seen: _Text) -> bool:
    runs = [tuple(seen.words[k : k + 5]) for k in range(len(seen.words) - 4)]
    return seen.long and 1 - len(set(runs)) / len(runs) > (rules.repeated_grams or 0)


def _page(rules: Quality, seen: _Text) -> bool:
    return rules.page and bool(_PAGE.search(seen.text))


_RULES: dict[str, Callable[[Quality, _Text], bool]] = {
    "word_length": _word_length,
    "symbols": _symbols,
    "bullets": _bullets,
    "ellipses": _ellipses,
    "alphabetic": _alphabetic,
    "stop_words": _stop_words,
    "repeated_lines": _repeated_lines,
    "top_pair": _top_pair,
    "repeated_grams": _repeated_grams,
    "page": _page,
}
