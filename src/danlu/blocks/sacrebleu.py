"""sacrebleu (Post, 2018): the counts of BLEU and chrF row by row, and the numbers they add up to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from danlu.core.plugin import lazy

metrics: Any = lazy("sacrebleu.metrics", extra="translation")

_CHINESE, _LETTER = re.compile("[\u3400-\u9fff]"), re.compile(r"[^\W\d_]")
_SHARE = 0.3
"""From this share of Chinese letters on, the true texts count as Chinese."""


def language(texts: Sequence[str]) -> str:
    """`zh` for texts in Chinese, whose characters are words to BLEU, else `13a`: sacrebleu's names of tokenizers."""
    chinese, letters = (sum(len(kind.findall(text)) for text in texts) for kind in (_CHINESE, _LETTER))
    return "zh" if chinese > _SHARE * max(letters, 1) else "13a"


def bleu_counts(given: Sequence[str], gold: Sequence[str], tokenize: str) -> np.ndarray[Any, Any]:
    """[rows, 10]: both lengths, then the right and all n-grams of order 1 to 4. MachineError without sacrebleu."""
    counter = metrics.BLEU(tokenize=tokenize, effective_order=True)
    told = (counter.sentence_score(one, [true]) for one, true in zip(given, gold, strict=True))
    return np.array([[one.sys_len, one.ref_len, *one.counts, *one.totals] for one in told], dtype=np.float64)


def bleu(counts: np.ndarray[Any, Any]) -> tuple[float, float]:
    """BLEU of summed counts, 0 to 100, and its brevity penalty."""
    length, true, *grams = counts.tolist()
    if not length:
        return 0.0, 0.0
    told = metrics.BLEU.compute_bleu(grams[:4], grams[4:], round(length), round(true), smooth_method="exp")
    return float(told.score), float(told.bp)


def chrf_counts(given: Sequence[str], gold: Sequence[str]) -> np.ndarray[Any, Any]:
    """[rows, 18]: for each order of 1 to 6 characters those given, those true and those right."""
    return np.array(metrics.CHRF()._extract_corpus_statistics(list(given), [list(gold)]), dtype=np.float64)


def chrf(counts: np.ndarray[Any, Any]) -> float:
    """chrF of summed counts, 0 to 100."""
    return float(metrics.CHRF()._compute_f_score(counts.tolist()))
