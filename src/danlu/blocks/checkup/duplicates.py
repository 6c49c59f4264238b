"""Rows that say the same as another one, or nearly the same."""

from __future__ import annotations

import numpy as np

from danlu.blocks.checkup.finding import MOST_EXAMPLES, Example, Finding, Mend, counted, graded
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.clusters import Places

_MUCH = 0.01


def check(subject: Subject) -> list[Finding] | str:
    """Rows whose input stood in an earlier row; without case, width and spacing."""
    if not subject.columns.ask:
        return "there is no column that a task would ask about"
    count = _repeats(subject.same)
    if not count:
        return []
    equal = _repeats(subject.equal)
    share = count / subject.rows
    what = f"{counted(count, 'row says', 'rows say')} the same as an earlier one"
    what += ", byte for byte" if equal == count else f"; {equal:,} of them byte for byte"
    why = "They count several times in training and in every measurement."
    if share >= 0.45:
        why = f"{_share(share)} of the data is a copy: the set is smaller than it looks. {why}"
    mends = [*([Mend("normalize")] if equal < count and subject.text_columns else []), Mend("drop_duplicates")]
    return [Finding(what, graded(share, _MUCH), count, why, share, mends, _groups(subject, subject.same))]


def near(subject: Subject) -> list[Finding] | str:
    """Rows that are nearly the same as another one and not the same."""
    if not subject.text_columns:
        return "there is no text"
    count = _repeats(subject.alike) - _repeats(subject.same)
    if count <= 0:
        return []
    share = count / subject.rows
    first = np.flatnonzero((subject.alike != np.arange(subject.rows)) & (subject.same[subject.alike] != subject.same))
    examples = []
    for row in first[:MOST_EXAMPLES].tolist():
        other = int(subject.alike[row])
        examples += [subject.example(other), subject.example(row, f"nearly the same as row {subject.number(other):,}")]
    size = subject.near.size
    what = f"{counted(count, 'more row is', 'more rows are')} nearly the same as an earlier one"
    why = (
        f"Copies with small edits ({subject.near.threshold:.0%} of their pieces of {size} characters in common) are "
        "learnt by heart, and flatter a test set."
    )
    do = f"drop them, or keep them and let `split: {{near: {subject.near.threshold}}}` hold them in one split"
    mend = Mend("near_duplicates")
    return [Finding(what, graded(share, _MUCH), count, why, share, [mend], examples, do=do)]


def _repeats(first: Places) -> int:
    """Rows that are not the first of their group."""
    return int((first != np.arange(len(first))).sum())


def _groups(subject: Subject, first: Places) -> list[Example]:
    """The largest groups, each by its first row."""
    rows, sizes = np.unique(first, return_counts=True)
    order = np.argsort(-sizes, kind="stable")[:MOST_EXAMPLES]
    return [subject.example(int(rows[k]), f"{sizes[k]:,} times") for k in order if sizes[k] > 1]


def _share(share: float) -> str:
    return "Half" if abs(share - 0.5) <= 0.05 else f"{share:.0%}"
