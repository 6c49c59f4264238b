"""Labels that are likely wrong: those that a model taught on the other rows contradicts."""

from __future__ import annotations

import numpy as np

from danlu.blocks.checkup.finding import Example, Finding, Mend, graded, shown
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.cleanlab import suspects

_FOLDS = 3
_MOST_ROWS = 8000
_MOST_CHARACTERS = 2000
_EXAMPLES = 10
_LEAST_ROWS, _LEAST_PER_LABEL = 50, 5


def check(subject: Subject) -> list[Finding] | str:
    """The suspicious rows, the likeliest wrong one first. Looks at no more than 8,000 different texts."""
    if subject.label is None or not subject.text_columns:
        return "it needs a text and one label a row"
    labels = subject.labels
    there = [row for row in np.unique(subject.same).tolist() if labels[row] is not None and subject.filled[row]]
    sampled = len(there) > _MOST_ROWS
    if sampled:
        there = np.random.default_rng(subject.seed).choice(there, _MOST_ROWS, replace=False).tolist()
    rows = np.sort(np.asarray(there, np.int64))
    kinds = len({labels[row] for row in rows})
    if len(rows) < _LEAST_ROWS or not 2 <= kinds <= len(rows) // _LEAST_PER_LABEL:
        return f"{kinds} labels on {len(rows):,} different texts teach no model"
    texts = [subject.texts[row][:_MOST_CHARACTERS] for row in rows]
    judged = suspects(texts, [str(labels[row]) for row in rows], np.arange(len(rows)) % _FOLDS)
    if not judged.wrong:
        return []
    worst = judged.order[: min(judged.wrong, _EXAMPLES)].tolist()
    examples: list[Example] = [
        subject.example(int(rows[place]), shown(reason))
        for place, reason in zip(worst, judged.reasons(worst), strict=True)
    ]
    what = f"{judged.wrong:,} of {len(rows):,} labels look wrong"
    if sampled:
        what += f" (a sample of {len(rows):,} texts; the operator judges all)"
    why = "Suspicion is no proof, and hard rows look wrong too; but wrong labels bound what any model can reach."
    share = judged.wrong / len(rows)
    return [Finding(what, graded(share, 0.02), judged.wrong, why, share, [Mend("label_errors")], examples)]
