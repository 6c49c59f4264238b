"""BLEU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from danlu.blocks import sacrebleu
from danlu.contracts import Answer, Metric


class Bleu(Metric):
    """Runs of one to four words that a translation shares with the true one (Papineni et al., 2002), by sacrebleu.

    From 0 to 100, over all rows at once; it compares systems on the same rows and the same `tokenize` only
    (pip install 'danlu[translation]').
    """

    extra: ClassVar[str] = "translation"
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("text",)}

    tokenize: Literal["auto", "13a", "zh", "char", "intl", "none"] = "auto"
    """sacrebleu's name of how texts are cut; `auto`: `zh` where the true texts are Chinese, else `13a`."""

    def read(self, answers: Sequence[Answer], gold: Sequence[Answer]) -> np.ndarray[Any, Any]:
        """Lengths and n-grams of each row, see `blocks.sacrebleu.bleu_counts`."""
        given, true = ([one["text"] for one in some] for some in (answers, gold))
        how = sacrebleu.language(true) if self.tokenize == "auto" else self.tokenize
        return sacrebleu.bleu_counts(given, true, how)

    def value(self, read: np.ndarray[Any, Any], weights: np.ndarray[Any, Any]) -> dict[str, Any]:
        """Between 0 and 100; `brevity_penalty` is below 1 where the answers are shorter than the truth."""
        score, brevity = sacrebleu.bleu(weights @ read)
        return {"value": score, "brevity_penalty": brevity}
