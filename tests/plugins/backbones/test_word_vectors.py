"""The backbones that are a vector a word: what they learn, and that their options do something."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from danlu.blocks.word_list import WordList
from danlu.blocks.word_vectors import WordVectors
from danlu.contracts import Batch
from danlu.core.errors import DataError, MachineError
from danlu.plugins.backbones.glove import Glove
from danlu.plugins.backbones.word2vec import Word2Vec
from danlu.plugins.tasks.word_vectors import WordVectors as Task
from danlu.testing.partners import Trial
from topics import TOPICS, shuffled, texts

TINY = {"size": 16, "passes": 30}
QUICK = {**TINY, "subsample": 0.0, "rate": 0.05}
BOTH = [Glove(**TINY), Word2Vec(**QUICK), Word2Vec(architecture="cbow", **QUICK)]


def conforming(folder):
    return {"glove": {**TINY, "passes": 60}, "word2vec": {**QUICK, "passes": 100, "rate": 0.2}}


def taught(backbone, given=None, seed=0):
    if isinstance(backbone, Word2Vec):
        pytest.importorskip("gensim")
    rows = [{"text": text} for text in (texts() if given is None else given)]
    trial = Trial.of(Task(text="text"), backbone, rows=rows)
    torch.manual_seed(seed)
    return trial.fit()


@pytest.mark.parametrize("backbone", BOTH, ids=["glove", "skip_gram", "cbow"])
def test_neighbours_are_of_the_topic_and_held_out_texts_fit(backbone):
    trial = taught(backbone)
    predictor = trial.predictor()
    for topic in TOPICS:
        near = [found["word"] for found in predictor([topic[0]])[0]["nearest"][:5]]
        assert len({*near} & {*topic}) >= 4
    fits = [answer["fit"] for answer in predictor([{"text": text} for text in texts(80, seed=9)])]
    control = taught(backbone, shuffled(texts())).predictor()
    chance = [answer["fit"] for answer in control([{"text": text} for text in texts(80, seed=9)])]
    assert np.mean(fits) > np.mean(chance) + 0.15


@pytest.mark.parametrize(
    ("backbone", "change"),
    [
        (Glove(**TINY), {"window": 1}),
        (Glove(**TINY), {"most": 100.0}),
        (Glove(**TINY), {"power": 0.1}),
        (Glove(**TINY), {"rate": 0.01}),
        (Word2Vec(**QUICK), {"architecture": "cbow"}),
        (Word2Vec(**QUICK), {"window": 1}),
        (Word2Vec(**QUICK), {"negative": 1}),
        (Word2Vec(**QUICK), {"subsample": 1e-3}),
        (Word2Vec(**QUICK), {"rate": 0.01}),
        (Word2Vec(**QUICK), {"passes": 3}),
    ],
)
def test_every_option_moves_the_vectors(backbone, change):
    few = texts(80)
    one, again = taught(backbone, few).module.vectors, taught(backbone, few).module.vectors
    assert torch.equal(one, again)
    other = taught(backbone.model_copy(update=change), few).module.vectors
    assert (one - other).abs().max() > 1e-3


def test_options_say_which_words_are_known():
    few = Glove(min_count=1, words=3).learn(["a b c d", "a b c", "a"])
    assert few.names == ("a", "b", "c")
    assert Glove(min_count=2).learn(["a b c d", "a b c", "a"]).names == ("a", "b", "c")
    with pytest.raises(DataError, match="0 words occur 5 times or more in 1 texts"):
        Glove().learn(["one line and nothing else"])


def test_gensim_is_named_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "gensim", None)
    monkeypatch.setitem(sys.modules, "gensim.models", None)
    with pytest.raises(MachineError, match=r"danlu\[vectors\]"):
        Word2Vec().learn(["a a a a a b b b b b"])


def test_word2vec_is_gensim_itself():
    """The same vectors, bit for bit, as a plain script's on the same ids."""
    models = pytest.importorskip("gensim.models")
    trial = taught(Word2Vec(**QUICK))
    ids = [trial.processor.inputs(text)["text"].tolist() for text in texts()]
    torch.manual_seed(0)
    seed = 11
    ours = trial.module._teach(np.array(ids), seed)
    plain = models.Word2Vec(
        vector_size=16, sg=1, sample=0.0, epochs=30, alpha=0.05, seed=seed, workers=1, min_count=1, negative=5, window=5
    )
    plain.build_vocab_from_freq(dict(enumerate(trial.processor.counts.tolist())))
    plain.train(ids, total_examples=len(ids), epochs=30)
    assert all(np.array_equal(ours[k], plain.wv[k]) for k in range(len(trial.processor)))


def test_fit_is_what_a_plain_loop_says():
    names = [f"w{k}" for k in range(30)]
    words = WordList(names, np.arange(60, 0, -2).tolist())
    module = WordVectors(words, 8, lambda texts, seed: np.zeros(0))
    module.vectors.copy_(torch.randn(30, 8, generator=torch.Generator().manual_seed(0)))
    ids = [4, 9, 4, 17, 2, 8, 8, 29, 1]
    unit = (module.vectors / module.vectors.norm(dim=-1, keepdim=True)).double().numpy()
    wanted = []
    for place, word in enumerate(ids):
        near = [other for k, other in enumerate(ids) if 0 < abs(k - place) <= 5 and other != word]
        around = sum(unit[other] for other in near)
        won = [
            0.5 if drawn == word else float(around @ unit[word] > around @ unit[drawn]) for drawn in words.drawn(256)
        ]
        wanted.append(np.mean(won))
    text = torch.tensor([[*ids, -1, -1], [3, *[-1] * 10]])
    told = module(text=text)
    assert np.allclose(told["fit"][0, : len(ids)], wanted, atol=1e-6)
    assert told["fit"][0, len(ids) :].tolist() == [0, 0]
    assert told["fit"][1, 0] == 0.5


def test_the_loss_of_many_texts_is_measured_on_some():
    words = WordList(["a", "b", "c"], [3, 2, 1])
    module = WordVectors(words, 4, lambda texts, seed: np.eye(3, 4, dtype=np.float32))
    text = torch.tensor([[0, 1, -1], [0, 1, 2]]).repeat(2500, 1)
    loss = module.update(Batch({"text": text}, {}, (text >= 0).sum(1).float()))
    assert loss.shape == (5000,)
    assert torch.isfinite(loss).all()
    assert 0 < loss.sum() < (text >= 0).sum()
