"""Characters that do not belong into text: leftovers of wrong encodings, of web pages, of word processors."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Example, Finding, Mend, counted, graded, shown
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.personal import blacked

_BEFORE, _AROUND = 60, 2000
"""Characters shown before the place, and searched for personal data on both sides."""


@dataclass(frozen=True, slots=True)
class _Rule:
    what: str
    pattern: str
    """In RE2's syntax."""
    why: str
    operator: str = ""
    least: float = 0.001
    """The share of rows from which on it is a warning."""


_RULES = (
    _Rule(
        "signs of a wrong encoding (such as `Ã©` for `é`, `â€™`, `锟斤拷`)",
        "[ÂÃ][\u0080-\u00bf]|â€[\u0080-\u00bf™œ\u009d“”˜]?|ï»¿|ï¿½|[åæç][\u0080-\u00bf]{2}|锟斤拷|烫烫烫|屯屯屯|Ð[°-¿]Ñ",
        "Words that a tokenizer knows become words that it has never seen.",
        "fix_encoding",
    ),
    _Rule(
        "the replacement character `\ufffd`",
        "\ufffd",
        "Some characters were lost when the text was read in a wrong encoding; they can't come back.",
    ),
    _Rule(
        "control characters",
        r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x{9f}]",
        "They are seen by no reader, and by a tokenizer all the same.",
        "normalize",
    ),
    _Rule(
        "characters without width or that turn the direction",
        r"[\x{ad}\x{200b}\x{200e}\x{200f}\x{202a}-\x{202e}\x{2060}-\x{2064}\x{2066}-\x{206f}\x{feff}]",
        "Two texts that look the same differ, so duplicates are missed and filters passed.",
        "normalize",
    ),
    _Rule(
        "private-use characters",
        r"\p{Co}",
        "They mean something in one font only; elsewhere they are empty boxes.",
    ),
    _Rule(
        "leftovers of HTML",
        r"(?i)</?(a|b|br|div|em|font|h[1-6]|hr|i|img|li|ol|p|script|span|strong|style|table|td|th|tr|u|ul)(\s[^<>]*)?/?>"
        r"|&(amp|lt|gt|quot|nbsp|apos|#\d+|#x[0-9a-f]+);|<!--",
        "Tags are no language: they take up tokens, and can give the label away where only one source has them.",
        "strip_html",
    ),
    _Rule(
        "full-width letters or digits beside half-width ones",
        r"[Ａ-Ｚａ-ｚ０-９].*[A-Za-z0-9]|[A-Za-z0-9].*[Ａ-Ｚａ-ｚ０-９]",
        "The same word is spelled in two ways.",
        "normalize",
        least=2.0,
    ),
)


def check(subject: Subject) -> list[Finding] | str:
    """Rows in which a rule finds something, rule by rule, in the columns of text that the task asks about."""
    if not subject.text_columns:
        return "there is no text"
    found = []
    for rule in _RULES:
        masks = [_hits(subject.table.column(name), rule.pattern) for name in subject.text_columns]
        rows = np.flatnonzero(np.logical_or.reduce(masks))
        if not len(rows):
            continue
        share = len(rows) / subject.rows
        mends = [Mend(rule.operator)] if rule.operator else []
        do = "" if mends else "read the file again in its own encoding, or drop these rows"
        examples = [_example(subject, int(row), rule) for row in rows[:MOST_EXAMPLES]]
        what = f"{counted(len(rows), 'text holds', 'texts hold')} {rule.what}"
        found.append(Finding(what, graded(share, rule.least), len(rows), rule.why, share, mends, examples, do=do))
    return found


def _hits(column: pa.ChunkedArray, pattern: str) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.match_substring_regex(column, pattern), False).to_numpy(), dtype=bool)


def _example(subject: Subject, row: int, rule: _Rule) -> Example:
    """The row from a little before the place that the rule found; what can't be seen there is named."""
    text = subject.texts[row]
    place = pc.find_substring_regex(pa.scalar(text), rule.pattern).as_py()
    at = len(text.encode()[:place].decode(errors="ignore"))
    first = max(0, at - _AROUND)
    hidden = blacked(text[first : at + _AROUND])  # before it is cut: half a telephone number is none any more
    start = max(0, at - _BEFORE)
    told = "" if text[at].isprintable() else f"U+{ord(text[at]):04X} {unicodedata.name(text[at], '')}".strip()
    return Example(subject.number(row), ("…" if start else "") + shown(hidden[start - first :]), told)
