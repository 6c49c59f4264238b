"""Drop texts that are no prose: repetition, symbols, lists, fragments; the rules of Gopher and C4."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from itertools import accumulate
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks.grams import words
from danlu.blocks.rewriting import drop, text_columns
from danlu.blocks.wordings import Wordings
from danlu.contracts import Context, Counts, Operator

_BULLET = re.compile(r"\s*(?:[-*•‣▪◦●·–]|\d{1,3}[.)、])\s*")
_ELLIPSIS = re.compile(r"…+|\.\.\.")
_SPACED = re.compile(r"[^\W\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]+")
_PAGE = {
    "braces": re.compile(r"\{"),
    "lorem_ipsum": re.compile("lorem ipsum", re.IGNORECASE),
    "javascript": re.compile("javascript", re.IGNORECASE),
    "policy": re.compile(
        r"terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies", re.IGNORECASE
    ),
}
_ENDED = re.compile(r"[.!?。！？…][\"'”’」』）)]*(?=\s|$)|[。！？]")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_ENGLISH = ("the", "of", "and", "to", "that", "with", "have", "be")
_CHINESE = "的了是在和有我不这就也都"
_JAPANESE = "のはがをにとで"
_STOP = frozenset((*_ENGLISH, *_CHINESE, *_JAPANESE))
_SPACED_STOPS = tuple(f" {word} " for word in _ENGLISH)
_PLAIN_STOPS = (*_CHINESE, *_SPACED_STOPS, *_JAPANESE)
_NEARLY = 1 - 1e-9
_SHORT = 10
"""Words below which repetition and symbols say nothing of a text."""
_LONG = 50
"""Words of the shortest page of Gopher's."""


class Quality(Operator):
    """Each rule has its option (`null`: off) and its count. The bounds are Gopher's (Rae et al., 2021, appendix A and
    table A1; held against `gopher_*_filter.py` of huggingface/datatrove). They are meant for web pages: try them on
    your texts, and look at the samples, before you trust them.

    In a text that is mostly Chinese or Japanese two characters stand for a word: a run of five words is one of ten
    characters. `word_length` does not look at such texts, nor `stop_words` at scripts that are neither these nor Latin;
    set it to `null` for other languages in Latin letters. Repetition, symbols and the share of words are judged from 10
    words on; how long a text may be is said by `length`.
    """

    by_row: ClassVar[bool] = True

    columns: tuple[str, ...] = ()
    """The columns; empty: those that the task asks about."""
    word_length: tuple[float, float] | None = (3.0, 10.0)
    """The least and greatest mean length of a word, in characters."""
    symbols: float | None = Field(default=0.1, ge=0)
    """The most `#` a word, and the most ellipses."""
    bullets: float | None = Field(default=0.9, ge=0, le=1)
    """The greatest share of lines, of two at least, that begin as an item of a list."""
    ellipses: float | None = Field(default=0.3, ge=0, le=1)
    """The greatest share of lines, of two at least, that end with an ellipsis."""
    alphabetic: float | None = Field(default=0.8, ge=0, le=1)
    """The least share of words that hold a letter."""
    stop_words: int | None = Field(default=2, ge=0)
    """How many different stop words (English, Chinese or Japanese) a text of at least `stop_words_from` words has."""
    stop_words_from: int = Field(default=50, ge=1)
    """Shorter texts need no stop words."""
    repeated_lines: float | None = Field(default=0.3, ge=0, le=1)
    """The greatest share of lines that stood in the text before."""
    repeated_line_characters: float | None = Field(default=0.2, ge=0, le=1)
    """The same, of the characters in lines."""
    repeated_paragraphs: float | None = Field(default=0.3, ge=0, le=1)
    """The greatest share of paragraphs, which an empty line divides, that stood in the text before."""
    repeated_paragraph_characters: float | None = Field(default=0.2, ge=0, le=1)
    """The same, of the characters in paragraphs."""
    top_pair: float | None = Field(default=0.2, ge=0, le=1)
    """The greatest share of the words' characters that are in the commonest pair of words, when it comes again;
    in texts below 50 words, when it comes a third time."""
    top_three: float | None = Field(default=0.18, ge=0, le=1)
    """The same for the commonest run of three words."""
    top_four: float | None = Field(default=0.16, ge=0, le=1)
    """The same for four."""
    repeated_grams: float | None = Field(default=0.15, ge=0, le=1)
    """The greatest share of the words' characters in runs of five words that stood in the text before."""
    repeated_grams_6: float | None = Field(default=0.14, ge=0, le=1)
    """The same for six words."""
    repeated_grams_7: float | None = Field(default=0.13, ge=0, le=1)
    """The same for seven."""
    repeated_grams_8: float | None = Field(default=0.12, ge=0, le=1)
    """The same for eight."""
    repeated_grams_9: float | None = Field(default=0.11, ge=0, le=1)
    """The same for nine."""
    repeated_grams_10: float | None = Field(default=0.1, ge=0, le=1)
    """The same for ten."""
    page: bool = False
    """C4 (Raffel et al., 2020, section 2.2): drop texts with a `{`, `lorem ipsum`, `javascript` or words of a cookie
    notice; each is counted by itself. Of the last two C4 drops the lines, and keeps the page."""
    sentences: int | None = Field(default=None, ge=1)
    """C4: the fewest sentences, told by their ends; there 5."""
    unended: float | None = Field(default=None, ge=0, le=1)
    """C4: the greatest share of lines, of two at least, that no mark such as `.` or `。` ends."""

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
        shares = [share for rule in _GRAMS if (share := getattr(self, rule)) is not None]
        of = Wordings.of(texts, min(shares, default=math.inf) * _NEARLY)
        a_word = 1 + of.doubled
        long, lines = of.words >= _SHORT * a_word, np.fromiter(("\n" in text for text in texts), bool, len(texts))
        least, most = self.word_length or (0, 0)
        mean = of.spaced_characters / np.maximum(of.spaced, 1)
        may = {
            "word_length": (of.spaced >= _SHORT) & ~of.doubled & ~((least <= mean) & (mean <= most)),
            "symbols": long & (_symbols_at_most(texts) > (self.symbols or 0) * of.words),
            "alphabetic": long & (of.lettered < (self.alphabetic or 0) * (of.words + of.symbols)),
            "stop_words": _lacks_stop_words(texts, of.words >= self.stop_words_from, self.stop_words or 0),
            "top_pair": long & (of.pair > (self.top_pair or 0) * of.characters),
            "top_three": long & (2 * of.pair > (self.top_three or 0) * of.characters),
            "top_four": long & (2 * of.pair > (self.top_four or 0) * of.characters),
        }
        every = np.full(len(texts), True)
        may |= dict.fromkeys(_LINES, lines) | dict.fromkeys((*_PAGE, "sentences"), every)
        for rule, size in _GRAMS.items():  # a run of seven words holds three runs of five
            each = size * a_word / ((size - 5) * a_word + 1)
            repeated = np.minimum(np.minimum(of.run_characters, each * of.runs * of.longest), of.again)
            may[rule] = long & (repeated > (getattr(self, rule) or 0) * of.characters * _NEARLY)
        return {rule: np.flatnonzero(rows | ~of.known) for rule, rows in may.items() if self._is_on(rule)}

    def _is_on(self, rule: str) -> bool:
        return self.page if rule in _PAGE else getattr(self, rule) is not None

    def broken(self, text: str) -> list[str]:
        """The rules that a text breaks; an empty one breaks none."""
        seen = _Text(text)
        return [rule for rule, breaks in _RULES.items() if self._is_on(rule) and breaks(self, seen)]


def _symbols_at_most(texts: list[str]) -> Any:
    counts = (max(text.count("#"), text.count("…") + text.count("...")) for text in texts)
    return np.fromiter(counts, np.int64, len(texts))


def _lacks_stop_words(texts: list[str], asked: Any, enough: int) -> Any:
    """The texts among those asked that have not plainly so many of them: between spaces, or Chinese."""

    def plain(text: str) -> bool:
        found = 0
        for sign in _SPACED_STOPS if text.isascii() else _PLAIN_STOPS:
            found += sign in text
            if found >= enough:
                return True
        return found >= enough

    return np.fromiter(
        (ask and not plain(text) for ask, text in zip(asked.tolist(), texts, strict=True)), bool, len(texts)
    )


class _Text:
    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def words(self) -> list[str]:
        return words(self.text.lower())

    @cached_property
    def lines(self) -> list[str]:
        return [line.strip() for line in self.text.split("\n") if line.strip()]

    @cached_property
    def paragraphs(self) -> list[str]:
        return [part.strip() for part in re.split(r"\n[^\S\n]*\n", self.text) if part.strip()]

    @cached_property
    def unspaced(self) -> int:
        """How many words are single characters of Chinese or Japanese."""
        return len(_UNSPACED.findall(self.text))

    @cached_property
    def a_word(self) -> int:
        """How many of `words` stand for one word."""
        return 2 if 2 * self.unspaced > len(self.words) else 1

    @property
    def long(self) -> bool:
        return len(self.words) >= _SHORT * self.a_word

    @cached_property
    def characters(self) -> int:
        return sum(map(len, self.words))

    @cached_property
    def _lined(self) -> tuple[str, list[int]]:
        """The words, a line each, and where each line begins; cut out of it, runs of words are quick to compare."""
        return "\n".join([*self.words, ""]), list(accumulate((len(word) + 1 for word in self.words), initial=0))

    def runs(self, size: int) -> list[str]:
        """All runs of so many words, each a text of lines."""
        whole, begins = self._lined
        return [whole[begin:end] for begin, end in zip(begins, begins[size * self.a_word :], strict=False)]

    @cached_property
    def pairs(self) -> Counter[str]:
        return Counter(self.runs(2))

    def covered(self, size: int) -> float:
        """The share of the words' characters in runs of so many words that stood before, none counted twice."""
        runs, seen, at, found, words = self.runs(size), set[str](), 0, 0, size * self.a_word
        while at < len(runs):
            run = runs[at]
            if run in seen:
                found += len(run) - words
                at += words
            else:
                seen.add(run)
                at += 1
        return found / self.characters if self.characters else 0.0

    def share(self, holds: Callable[[str], Any]) -> float:
        """The share of lines for which something holds; 0 where there is but one."""
        return sum(bool(holds(line)) for line in self.lines) / len(self.lines) if len(self.lines) > 1 else 0.0


def _word_length(rules: Quality, seen: _Text) -> bool:
    lengths = [len(word) for word in _SPACED.findall(seen.text)]
    least, most = rules.word_length or (0, 0)
    return seen.a_word == 1 and len(lengths) >= _SHORT and not least <= sum(lengths) / len(lengths) <= most


def _symbols(rules: Quality, seen: _Text) -> bool:
    most = max(seen.text.count("#"), len(_ELLIPSIS.findall(seen.text)))
    return seen.long and most > (rules.symbols or 0) * len(seen.words)


def _bullets(rules: Quality, seen: _Text) -> bool:
    return seen.share(_BULLET.match) > (rules.bullets or 0)


def _ellipses(rules: Quality, seen: _Text) -> bool:
    return seen.share(lambda line: line.endswith(("…", "..."))) > (rules.ellipses or 0)


def _alphabetic(rules: Quality, seen: _Text) -> bool:
    tokens = [*seen.words, *re.findall(r"(?<!\S)[^\w\s]+(?!\S)", seen.text)]
    lettered = sum(any(map(str.isalpha, word)) for word in tokens)
    return seen.long and lettered < (rules.alphabetic or 0) * len(tokens)


def _stop_words(rules: Quality, seen: _Text) -> bool:
    few = len(_STOP & set(seen.words)) < (rules.stop_words or 0)
    return few and len(seen.words) >= rules.stop_words_from * seen.a_word and _has_known_script(seen)


def _has_known_script(seen: _Text) -> bool:
    latin = sum(word.isascii() or any("a" <= letter <= "ɏ" for letter in word) for word in seen.words)
    return 2 * (latin + seen.unspaced) > len(seen.words)


def _repeated_lines(rules: Quality, seen: _Text) -> bool:
    return _again(seen.lines, _one) > (rules.repeated_lines or 0)


def _one(_: str) -> int:
    return 1


def _again(parts: list[str], size: Callable[[str], int]) -> float:
    """The share of parts that stood before."""
    total = sum(map(size, parts))
    return 1 - sum(map(size, set(parts))) / total if total else 0.0


def _top(seen: _Text, size: int, bound: float | None) -> bool:
    """Whether the commonest run of so many words, when it comes again, has too many of the words' characters."""
    least = 2 if len(seen.words) >= _LONG * seen.a_word else 3
    if not seen.long or seen.pairs.most_common(1)[0][1] < least:
        return False
    run, count = (seen.pairs if size == 2 else Counter(seen.runs(size))).most_common(1)[0]
    return count >= least and count * (len(run) - size * seen.a_word) > (bound or 0) * seen.characters


def _covered(rule: str, size: int) -> Callable[[Quality, _Text], bool]:
    return lambda rules, seen: seen.long and seen.covered(size) > (getattr(rules, rule) or 0)


def _on_page(pattern: re.Pattern[str]) -> Callable[[Quality, _Text], bool]:
    return lambda rules, seen: rules.page and bool(pattern.search(seen.text))


def _sentences(rules: Quality, seen: _Text) -> bool:
    return bool(seen.text) and len(_ENDED.findall(seen.text)) < (rules.sentences or 0)


def _unended(rules: Quality, seen: _Text) -> bool:
    return seen.share(lambda line: not _ENDED.search(line[-2:])) > (1 if rules.unended is None else rules.unended)


_GRAMS = {"repeated_grams": 5} | {f"repeated_grams_{size}": size for size in range(6, 11)}
_LINES = (
    "bullets", "ellipses", "unended", "repeated_lines", "repeated_line_characters", "repeated_paragraphs",
    "repeated_paragraph_characters",
)  # fmt: skip
_RULES: dict[str, Callable[[Quality, _Text], bool]] = {
    "word_length": _word_length,
    "symbols": _symbols,
    "bullets": _bullets,
    "ellipses": _ellipses,
    "alphabetic": _alphabetic,
    "stop_words": _stop_words,
    "repeated_lines": _repeated_lines,
    "repeated_line_characters": lambda rules, seen: _again(seen.lines, len) > (rules.repeated_line_characters or 0),
    "repeated_paragraphs": lambda rules, seen: _again(seen.paragraphs, _one) > (rules.repeated_paragraphs or 0),
    "repeated_paragraph_characters": lambda rules, seen: (
        _again(seen.paragraphs, len) > (rules.repeated_paragraph_characters or 0)
    ),
    "top_pair": lambda rules, seen: _top(seen, 2, rules.top_pair),
    "top_three": lambda rules, seen: _top(seen, 3, rules.top_three),
    "top_four": lambda rules, seen: _top(seen, 4, rules.top_four),
    **{rule: _covered(rule, size) for rule, size in _GRAMS.items()},
    **{rule: _on_page(pattern) for rule, pattern in _PAGE.items()},
    "sentences": _sentences,
    "unended": _unended,
}
