"""Labels: how many rows each has, which ones a split would leave too few of, which stand under the same input."""

from __future__ import annotations

import math
from collections import Counter, defaultdict

from danlu.blocks.agreement import in_conflict
from danlu.blocks.checkup.finding import MOST_EXAMPLES, Finding, Mend, counted, shown
from danlu.blocks.checkup.subject import Subject
from danlu.blocks.splits import loose

_MOST_BARS = 12
_FEW = 5
"""Rows of a label in the test set, below which its recall is a matter of chance."""
_EVEN = 0.8
_TIMES = 10
_MOST_LISTED = 1000
"""Conflicts that are listed, the largest first; the terminal shows a few of them."""


def check(subject: Subject) -> list[Finding] | str:
    """One label only, labels spelled in several ways, rare ones, imbalance."""
    if subject.label is None:
        return "there is no column of one label a row"
    tally = Counter(label for label in subject.labels if label is not None)
    if not tally:
        return [Finding("no row has a label", "stop", subject.rows, "There is nothing to learn.", 1.0)]
    bars = [(shown(label), count) for label, count in tally.most_common(_MOST_BARS)]
    if len(tally) == 1:
        why = "A model that always gives it is never wrong, and knows nothing."
        return [Finding(f"all rows have the label {bars[0][0]!r}", "stop", subject.rows, why, 1.0, bars=bars)]
    return [_balance(tally, bars), *_rare(subject, tally), *_spellings(tally)]


def _balance(tally: Counter[str], bars: list[tuple[str, int]]) -> Finding:
    total, (most, least) = tally.total(), (tally.most_common()[0][1], tally.most_common()[-1][1])
    entropy = -sum(count / total * math.log(count / total) for count in tally.values()) / math.log(len(tally))
    told = f"{len(tally):,} labels, evenness {entropy:.2f} (entropy; 1 is even)"
    if entropy >= _EVEN and most < _TIMES * least:
        return Finding(told, "note", total, "Accuracy says much where labels are about as frequent.", bars=bars)
    what = f"{told}; the most frequent has {most / least:,.0f} times the rows of the rarest"
    why = f"A model that always says {bars[0][0]!r} is right in {most / total:.0%}: look at F1 and recall by label."
    do = "measure `f1`; `danlu list techniques` names what weighs rare labels more in training"
    return Finding(what, "warn", most, why, most / total, bars=bars, do=do)


def _rare(subject: Subject, tally: Counter[str]) -> list[Finding]:
    if subject.split is not None or len(tally) > subject.rows // 2:
        return []
    scale = subject.total / subject.rows
    share = min(subject.shares.values())
    few = sorted((count, label) for label, count in tally.items() if count * scale * share < _FEW)
    if not few:
        return []
    rows = sum(count for count, _ in few)
    named = ", ".join(f"{shown(label)!r} ({count})" for count, label in few[:MOST_EXAMPLES])
    more = f" and {len(few) - MOST_EXAMPLES} more" if len(few) > MOST_EXAMPLES else ""
    what = f"{len(few)} of {len(tally)} labels would have fewer than {_FEW} rows in a split of {share:.0%}"
    what += f": {named}{more}"
    why = "What is measured on a handful of rows is chance, and a label without one is not measured at all."
    do = "collect more rows of them, merge labels, or keep `split: {by: stratified}`, which gives each its share"
    return [Finding(what, "warn", rows, why, rows / subject.rows, do=do)]


def _spellings(tally: Counter[str]) -> list[Finding]:
    by_key = defaultdict(list)
    for label in tally:
        by_key[loose(label)].append(label)
    several = [sorted(labels, key=lambda one: -tally[one]) for labels in by_key.values() if len(labels) > 1]
    if not several:
        return []
    rows = sum(tally[label] for labels in several for label in labels[1:])
    named = "; ".join(" = ".join(repr(shown(label)) for label in labels) for labels in several[:MOST_EXAMPLES])
    what = f"{counted(len(several), 'label is', 'labels are')} spelled in several ways: {named}"
    why = "Each spelling is learnt as a label of its own."
    return [Finding(what, "warn", rows, why, rows / tally.total(), do="spell them in one way in the file")]


def conflicts(subject: Subject) -> list[Finding] | str:
    """Inputs that stand under more than one label; case, width and spacing do not count."""
    if subject.truth is None or not subject.columns.ask:
        return "there are no labels"
    keys = [int(key) if filled else -1 for key, filled in zip(subject.same, subject.filled, strict=True)]
    both = in_conflict(keys, subject.truth) - {-1}
    if not both:
        return []
    under: dict[int, Counter[str]] = defaultdict(Counter)
    truths = subject.labels or [str(cell) for cell in subject.table.column(subject.columns.gold[0]).to_pylist()]
    for key, label in zip(keys, truths, strict=True):
        if key in both:
            under[key][str(label)] += 1
    rows = sum(counts.total() for counts in under.values())
    worst = sorted(under, key=lambda key: (-under[key].total(), key))[:_MOST_LISTED]
    examples = [subject.example(k, ", ".join(f"{shown(n)} ×{c}" for n, c in under[k].most_common())) for k in worst]
    what = f"{counted(len(both), 'input stands', 'inputs stand')} under more than one label, in {rows:,} rows"
    what += f"; the {_MOST_LISTED:,} that have most rows are listed" if len(both) > _MOST_LISTED else ""
    why = "At most one of the labels is right: a model learns noise, and is measured on noise."
    mend = Mend("label_conflicts", {"action": "majority"})
    return [Finding(what, "warn", rows, why, rows / subject.rows, [mend], examples)]
