"""BLEU and chrF are sacrebleu's; ROUGE counts by hand."""

import numpy as np
import pytest

from danlu.blocks.overlap import common_subsequence
from danlu.plugins.metrics.bleu import Bleu
from danlu.plugins.metrics.chrf import Chrf
from danlu.plugins.metrics.rouge import Rouge

ENGLISH = (
    ["the cat sat on the red mat.", "a dog", "nothing alike here"],
    ["the cat sat on a red mat.", "a dog barks", "quite another text"],
)
CHINESE = (["打开文件对话框。", "选择一个选项"], ["打开“文件”对话框。", "选择一个选项"])


def told(texts):
    return [{"text": text} for text in texts]


def value(metric, pair, weights=None):
    whole = metric.value(metric.read(*map(told, pair)), np.ones(len(pair[0])) if weights is None else weights)
    return whole["value"] if isinstance(whole, dict) else whole


@pytest.mark.parametrize(("pair", "how"), [(ENGLISH, "13a"), (CHINESE, "zh")])
def test_they_are_those_of_the_whole_corpus(pair, how):
    metrics = pytest.importorskip("sacrebleu.metrics")
    whole = metrics.BLEU(tokenize=how).corpus_score(pair[0], [pair[1]]).score
    assert 10 < value(Bleu(), pair) == pytest.approx(whole)
    assert 10 < value(Chrf(), pair) == pytest.approx(metrics.CHRF().corpus_score(pair[0], [pair[1]]).score)


def test_short_answers_are_told():
    pytest.importorskip("sacrebleu")
    read = Bleu().read(told(["the cat sat on the"]), told(["the cat sat on the red mat"]))
    assert Bleu().value(read, np.ones(1))["brevity_penalty"] == pytest.approx(np.exp(1 - 7 / 5))


def test_rouge_by_hand():
    pair = (["The cat sat"], ["the cat, it sat down"])
    found = Rouge().value(Rouge().read(*map(told, pair)), np.ones(1))
    assert found == pytest.approx({"value": 75.0, "rouge1": 75.0, "rouge2": 100 * 2 / 6})
    assert value(Rouge(), (["打开文件"], ["打开文件"])) == 100.0
    assert value(Rouge(), ([""], [""])) == 0.0
    assert value(Rouge(), (["打开新文件"], ["打开文件"])) == pytest.approx(100 * 8 / 9)


def test_the_longest_common_subsequence_is_that_of_the_table():
    rng = np.random.default_rng(0)
    for _ in range(50):
        a, b = ("".join(rng.choice(list("abc"), rng.integers(0, 12))) for _ in range(2))
        table = np.zeros((len(a) + 1, len(b) + 1), dtype=int)
        for i, one in enumerate(a):
            for j, other in enumerate(b):
                table[i + 1, j + 1] = table[i, j] + 1 if one == other else max(table[i, j + 1], table[i + 1, j])
        assert common_subsequence(a, b) == table[-1, -1]
