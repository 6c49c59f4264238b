"""Modified Kneser–Ney against a plain one with dictionaries, and what every language model must keep."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from danlu.blocks import kneser_ney
from danlu.blocks.kneser_ney import NONE, KneserNey, discounts


def corpus(texts: int = 60, tokens: int = 12, seed: int = 0) -> list[list[int]]:
    """Texts of 1 to 14 tokens in which some follow others more often; the last token never occurs."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(texts):
        text = [int(rng.integers(tokens - 1))]
        for _ in range(rng.integers(14)):
            text.append(int(min(tokens - 2, rng.geometric(0.4) - 1 + text[-1] // 2)))
        made.append(text)
    return made


def flat(texts: list[list[int]]):
    begins = np.concatenate([np.arange(len(text)) == 0 for text in texts])
    return np.concatenate([np.array(text, dtype=np.int64) for text in texts]), begins


def learnt(texts, tokens=12, order=3) -> KneserNey:
    return KneserNey.learn(*flat(texts), tokens, order)


class Plainly:
    """Chen and Goodman's formulas as they stand, with tuples in dictionaries; `"<s>"` begins a text."""

    def __init__(self, texts, tokens: int, order: int) -> None:
        self.tokens, self.order = tokens, order
        occurs, follows = Counter(), defaultdict(set)
        for text in texts:
            whole = ("<s>", *text)
            for end in range(2, len(whole) + 1):
                for n in range(1, min(order, end) + 1):
                    gram = whole[end - n : end]
                    occurs[gram] += 1
                    if end > n:
                        follows[gram].add(whole[end - n - 1])
        raw = {gram for gram in occurs if len(gram) == order or gram[0] == "<s>"}
        self.counts = {gram: times if gram in raw else len(follows[gram]) for gram, times in occurs.items()}
        self.by = {}
        for n in range(1, order + 1):
            of = Counter(times for gram, times in self.counts.items() if len(gram) == n)
            y = of[1] / (of[1] + 2 * of[2]) if of[1] else 0
            found = [k - (k + 1) * y * of[k + 1] / of[k] if of[k] else -1 for k in (1, 2, 3)]
            self.by[n] = found if all(0 <= d <= k for k, d in enumerate(found, 1)) else [0.5, 1.0, 1.5]

    def probability(self, context: tuple, token: int) -> float:
        n = len(context) + 1
        lower = self.probability(context[1:], token) if context else 1 / self.tokens
        children = {g: c for g, c in self.counts.items() if len(g) == n and g[:-1] == context}
        total = sum(children.values())
        if not total:
            return lower
        taken = {gram: self.by[n][min(count, 3) - 1] for gram, count in children.items()}
        mine = (*context, token)
        return (children.get(mine, 0) - taken.get(mine, 0)) / total + sum(taken.values()) / total * lower


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_every_probability_is_that_of_the_plain_formulas(order):
    texts, asked = corpus(40), corpus(15, seed=7)
    model, plainly = learnt(texts, order=order), Plainly(texts, 12, order)
    ids, begins = flat(asked)
    found = model.probabilities(ids, model.before(ids, begins))
    wanted = []
    for text in asked:
        whole = ("<s>", *text)
        wanted += [plainly.probability(whole[max(0, k - order + 1) : k], whole[k]) for k in range(1, len(whole))]
    assert np.abs(found / wanted - 1).max() < 1e-5


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_the_whole_distribution_is_made_of_these_probabilities_and_sums_to_one(order):
    model = learnt(corpus(), order=order)
    ids, begins = flat(corpus(20, seed=3))
    contexts = model.contexts(ids, begins)
    if order > 2:
        assert (contexts[-1] == NONE).any()
        assert (contexts[-1] != NONE).any()
    places = np.arange(0, len(ids), 2)
    said = model.distributions(contexts, places)
    assert np.abs(said.sum(1) - 1).max() < 1e-5
    assert said.min() > 0
    for token in range(12):
        one = model.probabilities(np.full(len(ids), token), contexts)
        assert np.allclose(said[:, token], one[places], rtol=1e-5)


def test_a_lower_order_counts_what_a_token_follows_and_not_how_often():
    """The classic: `francisco` is frequent but follows `san` alone, so it is no likely token elsewhere."""
    san, francisco, glasses = 0, 1, 2
    texts = [[san, francisco]] * 20 + [[k, glasses] for k in range(3, 9)]
    model = learnt(texts, tokens=12, order=2)
    assert model.unigrams[glasses] > 3 * model.unigrams[francisco]
    once = learnt(texts, tokens=12, order=1)
    assert once.unigrams[francisco] > 3 * once.unigrams[glasses]


def test_nothing_is_counted_across_texts():
    model = learnt([[0, 1], [2, 3]] * 5, tokens=4, order=2)
    contexts = model.contexts(np.array([1]), np.array([True]))
    assert np.allclose(model.distributions(contexts, np.array([0]))[0], model.unigrams)


def test_discounts_are_chen_and_goodman_s():
    times = np.repeat([1, 2, 3, 4, 9], [40, 15, 8, 5, 3])
    y = 40 / 70
    assert discounts(times) == pytest.approx((1 - 2 * y * 15 / 40, 2 - 3 * y * 8 / 15, 3 - 4 * y * 5 / 8))
    assert discounts(np.array([7, 8])) == (0.5, 1.0, 1.5)
    assert discounts(np.repeat([1, 2, 3, 4], [1, 1, 1, 90])) == (0.5, 1.0, 1.5)
    assert discounts(np.zeros(0, dtype=np.int64)) == (0.5, 1.0, 1.5)


def test_each_order_helps_on_text_that_needs_it(monkeypatch):
    rng = np.random.default_rng(0)

    def text():
        found = [0, 1]
        while len(found) < 40:  # two tokens back and one decide, nine times of ten
            found.append((found[-1] + 2 * found[-2] + 1) % 7 if rng.random() < 0.9 else int(rng.integers(7)))
        return found

    ids, begins = flat([text() for _ in range(30)])
    train, test = [text() for _ in range(60)], (ids, begins)

    def perplexity(order: int) -> float:
        model = learnt(train, tokens=7, order=order)
        return float(np.exp(-np.log(model.probabilities(ids, model.before(*test))).mean()))

    told = [perplexity(order) for order in (1, 2, 3)]
    assert told[0] > 6.5
    assert told[2] < 2.5 < told[1]
    assert perplexity(5) < 1.15 * told[2]
    before = told[2]
    monkeypatch.setattr(kneser_ney, "discounts", lambda times: (0.0, 0.0, 0.0))
    with np.errstate(divide="ignore"):
        assert perplexity(5) > before
