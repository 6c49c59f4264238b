"""How long the texts are, and how many a backbone would cut."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Finding, Mend, counted, graded
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.grams import words

_SAMPLE = 20_000
_BARS = 8
_OUTLIER = 20
"""A text that many times as long as the median is looked at."""
_SHORT = 2


def check(subject: Subject) -> list[Finding] | str:
    """The spread in characters and in tokens (or words, where no backbone is known), the longest, what would be cut."""
    if not subject.text_columns:
        return "there is no text"
    lengths = np.array([len(text) for text in subject.texts])
    rows = np.flatnonzero(lengths)
    if not len(rows):
        return "every text is empty"
    if len(rows) > _SAMPLE:
        rows = np.sort(np.random.default_rng(subject.seed).choice(rows, _SAMPLE, replace=False))
    count = subject.limit.count if subject.limit else _words
    units = np.array([count(subject.texts[row]) for row in rows])
    name = f"tokens of {subject.limit.name}" if subject.limit else "words"
    what = f"half of the texts have up to {np.median(units):,.0f} {name}, 95 % up to {np.quantile(units, 0.95):,.0f}, "
    what += f"the longest {int(lengths.max()):,} characters"
    sampled = f" Counted on {len(rows):,} texts." if len(rows) < np.count_nonzero(lengths) else ""
    known = "" if subject.limit else " Words, since no recipe named a backbone: a token is 0.5 to 1 of them."
    found = [Finding(what, "note", len(rows), f"Time and memory grow with length.{sampled}{known}", bars=_bars(units))]
    return [*found, *_cut(subject, rows, units), *_extremes(subject, lengths)]


def _words(text: str) -> int:
    return len(words(text))


def _bars(units: np.ndarray[Any, Any]) -> list[tuple[str, int]]:
    """Up to eight ranges that double."""
    edges = [0, *(2**k for k in range(3, 3 + _BARS - 1))]
    while len(edges) > 2 and edges[-1] > units.max():
        edges.pop()
    counts = np.histogram(units, [*edges, max(units.max(), edges[-1]) + 1])[0].tolist()
    names = [f"{a:,} – {b - 1:,}" for a, b in pairwise(edges)] + [f"{edges[-1]:,} and more"]
    bars = [(name, int(count)) for name, count in zip(names, counts, strict=True)]
    there = [place for place, (_, count) in enumerate(bars) if count]
    return bars[there[0] : there[-1] + 1]


def _cut(subject: Subject, rows: np.ndarray[Any, Any], units: np.ndarray[Any, Any]) -> list[Finding]:
    limit = subject.limit
    if limit is None or not (units > limit.most).any():
        return []
    share = float((units > limit.most).mean())
    lost = float(np.maximum(units - limit.most, 0).sum() / units.sum())
    what = f"{share:.1%} of the texts are longer than the {limit.most:,} tokens that are taken of each"
    what += f"; {lost:.1%} of all tokens are cut"
    why = "What is cut is never read; a label that depends on the end of a text can't be learnt."
    do = "raise the task's `max_length` as far as the backbone goes, or choose a backbone that takes longer texts"
    return [Finding(what, graded(lost, 0.05), round(share * subject.rows), why, share, do=do)]


def _extremes(subject: Subject, lengths: np.ndarray[Any, Any]) -> list[Finding]:
    found = []
    median = float(np.median(lengths[lengths > 0]))
    bound = int(max(_OUTLIER * median, 1000))
    if len(long := np.flatnonzero(lengths > bound)):
        order = long[np.argsort(-lengths[long], kind="stable")][:MOST_EXAMPLES]
        examples = [subject.example(int(row), f"{lengths[row]:,} characters") for row in order]
        what = f"{counted(len(long), 'text has', 'texts have')} more than {bound:,} characters"
        what += f", {_OUTLIER} times the median"
        why = "They are often several rows in one, a quote that was not closed, or a whole file."
        mend = Mend("length", {"most": bound})
        found.append(Finding(what, "warn", len(long), why, len(long) / subject.rows, [mend], examples))
    if len(short := np.flatnonzero((lengths > 0) & (lengths < _SHORT))) and median >= 10:
        what = f"{counted(len(short), 'text is', 'texts are')} a single character"
        examples = [subject.example(int(row)) for row in short[:MOST_EXAMPLES]]
        mend = Mend("length", {"least": _SHORT})
        found.append(Finding(what, "note", len(short), "They say next to nothing of their label.",
                             len(short) / subject.rows, [mend], examples))  # fmt: skip
    return found
