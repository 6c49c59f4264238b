"""Which languages the texts are in, by their scripts; Latin letters also by the words English can't do without."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Finding, graded
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.language import detect_language

_SCRIPTS = {
    "Latin letters": r"\p{Latin}",
    "Chinese": r"\p{Han}",
    "Japanese": r"[\p{Hiragana}\p{Katakana}]",
    "Korean": r"\p{Hangul}",
    "Cyrillic letters": r"\p{Cyrillic}",
    "Arabic letters": r"\p{Arabic}",
    "Greek letters": r"\p{Greek}",
    "Devanagari": r"\p{Devanagari}",
    "Thai": r"\p{Thai}",
    "Hebrew letters": r"\p{Hebrew}",
}
_LATIN, *_REST = _SCRIPTS.values()
_OTHERS = "|".join(_REST)
_NONE = "no letters"
_WEIGHTS = np.array([1.0, 3.0, 6.0, 3.0] + [1.0] * 6)
"""A character of Chinese says as much as several letters; kana, be there only few, make a text Japanese."""
_LONG = 15
"""Words from which on a text in Latin letters can be told to be English or not."""
_SAMPLE = 1000


def check(subject: Subject) -> list[Finding] | str:
    """The main script of every text; a note where all are alike, a warning where one in a hundred is not."""
    if not subject.text_columns:
        return "there is no text"
    script = _scripts(subject)
    names = [*_SCRIPTS, _NONE]
    counts = np.bincount(script, minlength=len(names))
    bars = [(names[k], int(counts[k])) for k in np.argsort(-counts, kind="stable") if counts[k]]
    main = int(np.argmax(counts))
    found = detect_language(subject.texts[row] for row in np.flatnonzero(script == main)[:_SAMPLE])
    told = {"en": "English", "zh": "Chinese"}.get(found.code, f"{names[main]}, no English")
    others = np.flatnonzero((script != main) & (script != len(_SCRIPTS)))
    share = len(others) / subject.rows
    what = f"most texts are {told} ({found.reason})"
    if len(others):
        what += f"; {len(others):,} are in another script"
    examples = [subject.example(int(row), names[script[row]]) for row in others[:MOST_EXAMPLES]]
    why = "A backbone that was trained on one language knows little of another."
    return [
        Finding(what, graded(share, 0.01), len(others), why, share, examples=examples, bars=bars),
        *_foreign(subject, script),
    ]


def _scripts(subject: Subject) -> np.ndarray[Any, Any]:
    """The place in `_SCRIPTS` of each text's [n] main script, or one past the last."""
    counts = np.zeros((len(_SCRIPTS), subject.rows))
    for name in subject.text_columns:
        column = pc.fill_null(subject.table.column(name), "")
        counts[0] += pc.match_substring_regex(column, _LATIN).to_numpy()
        mixed = np.flatnonzero(pc.match_substring_regex(column, _OTHERS).to_numpy())
        for place, pattern in enumerate(_SCRIPTS.values() if len(mixed) else ()):
            counts[place, mixed] += pc.count_substring_regex(column.take(mixed), pattern).to_numpy()
    counts *= _WEIGHTS[:, None]
    return np.where(counts.any(axis=0), np.argmax(counts, axis=0), len(_SCRIPTS))


def _foreign(subject: Subject, script: np.ndarray[Any, Any]) -> list[Finding]:
    """Longer texts in Latin letters that lack the words of English, where the others have them."""
    latin = [row for row in np.flatnonzero(script == 0).tolist() if subject.texts[row].count(" ") >= _LONG]
    rng = np.random.default_rng(subject.seed)
    rows = sorted(rng.choice(latin, min(len(latin), _SAMPLE), replace=False).tolist()) if latin else []
    other = [row for row in rows if detect_language([subject.texts[row]]).code != "en"]
    if not other or len(other) > len(rows) / 2:
        return []
    share = len(other) / len(rows)
    what = f"{len(other):,} of {len(rows):,} longer texts in Latin letters do not read like English"
    why = "They are in another language, or are lists of names and numbers."
    examples = [subject.example(row) for row in other[:MOST_EXAMPLES]]
    return [Finding(what, graded(share, 0.05), len(other), why, share, examples=examples)]
