"""The two honest baselines, and the network for pictures, learn what they should."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu.blocks.grams import GramProcessor, grams
from danlu.blocks.sklearn import logistic_regression
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Head
from danlu.core.errors import DataError
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.majority import Majority
from danlu.plugins.backbones.tfidf_lr import TfidfLr
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor


def conforming(folder):
    return {"cnn": {"size": "tiny"}, "tfidf_lr": {"grams": 500}}


TASK = TextClassification(text="text", label="label", labels=("a", "b", "c"))


def teach(backbone, task, rows, size: int | None = None):
    processor = backbone.learn(task.ask(row) for row in rows)
    module, fresh = backbone.start(task.head(), processor)
    assert fresh == []
    examples = [example for row in rows for example in task.examples(row, processor)]
    size = size or len(examples)
    losses = []
    for start in range(0, len(examples), size):
        losses += module.update(to_torch(task.collate(examples[start : start + size], processor))).tolist()
    assert len(losses) == len(examples)
    return Predictor(TorchForm(module), task, processor)


def test_majority_answers_the_commonest_label_with_its_share() -> None:
    rows = [{"text": str(k), "label": "b" if k < 7 else "ac"[k % 2]} for k in range(10)]
    for size in (None, 3):
        (answer,) = teach(Majority(), TASK, rows, size)(["anything"])
        assert answer["label"] == "b"
        assert answer["confidence"] == pytest.approx((7 + 1) / (10 + 3))


def test_majority_takes_any_modality() -> None:
    task = ImageClassification(image="image", label="label", labels=("a", "b"))
    rows = task.sample(5)
    assert teach(Majority(), task, rows)([task.ask(rows[1])])[0]["label"] == "a"


def test_tfidf_is_scikit_learns() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    rows = TASK.sample(200)
    texts, labels = [row["text"] for row in rows], [row["label"] for row in rows]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(texts)
    theirs = LogisticRegression(C=10, max_iter=1000).fit(vectors.transform(texts), labels)
    ours = teach(TfidfLr(), TASK, rows)
    expected = theirs.predict_proba(vectors.transform(texts))
    found = [list(answer["scores"].values()) for answer in ours(texts)]
    assert np.abs(np.array(found) - expected).max() < 1e-4


def test_tfidf_with_two_labels_and_with_one_that_never_occurs() -> None:
    rows = [row for row in TASK.sample(90) if row["label"] != "b"]
    for task in (TASK, TASK.model_copy(update={"labels": ("a", "c")})):
        ours = teach(TfidfLr(), task, rows)
        assert [answer["label"] for answer in ours([row["text"] for row in rows])] == [row["label"] for row in rows]
        assert ours([""])[0]["scores"].get("b", 0.0) < 1e-12
    only = [row for row in rows if row["label"] == "a"]
    assert teach(TfidfLr(), TASK, only)(["x"])[0]["label"] == "a"


def test_the_empty_the_unknown_and_the_long_text_among_good_ones() -> None:
    ours = teach(TfidfLr(), TASK, TASK.sample(90))
    texts = ["", "zzz qqq", "amber " * 100_000, "basil amber"]
    assert ours(texts) == [ours([text])[0] for text in texts]


def test_words_pairs_and_characters() -> None:
    assert grams("It's NOT good, no!") == ["it's", "not", "good", "no", "it's not", "not good", "good no"]
    assert grams("很好！ok") == ["很", "好", "ok", "很 好", "好 ok"]
    assert grams("a b c", 2) == ["a", "b", "a b"]
    assert grams("") == grams("...") == []


def test_the_commonest_grams_are_kept(tmp_path) -> None:
    processor = GramProcessor.learn(["a b", "a c", "a"], 2)
    assert processor.names == ("a", "a b")
    processor.save(tmp_path)
    again = GramProcessor.load(tmp_path)
    for text in ("a b c", "", "a a a b"):
        ours, theirs = processor.inputs(text), again.inputs(text)
        assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    (tmp_path / "grams.json").write_text("[]")
    with pytest.raises(DataError, match="the vocabulary can't be read"):
        GramProcessor.load(tmp_path)


def test_a_gram_twice_in_a_row_is_added() -> None:
    ids, weights = np.array([[0, 0], [1, 2]]), np.array([[0.5, 0.5], [1.0, 0.0]], np.float32)
    once = logistic_regression(np.array([[0, 2], [1, 2]]), np.array([[1.0, 0], [1, 0]]), np.array([0, 1]), (3, 2), 1.0)
    twice = logistic_regression(ids, weights, np.array([0, 1]), (3, 2), 1.0)
    assert np.allclose(once[0], twice[0])


@pytest.mark.parametrize("size", ["tiny", "small", "base"])
def test_a_network_for_pictures_overfits(size: str) -> None:
    task = ImageClassification(image="image", label="label", labels=("a", "b", "c", "d"))
    rows = task.sample(32)
    backbone = Cnn(size=size)
    processor = backbone.learn(task.ask(row) for row in rows)
    torch.manual_seed(0)
    module, fresh = backbone.start(task.head(), processor)
    assert sorted(fresh) == sorted(name for name, _ in module.named_parameters())
    batch = to_torch(task.collate([task.examples(row, processor)[0] for row in rows], processor))
    optimizer = torch.optim.AdamW(module.parameters(), lr=3e-3)
    for _ in range(40):
        loss = task.loss(task.forward(module, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    answers = Predictor(TorchForm(module), task, processor)([task.ask(row) for row in rows])
    assert [answer["label"] for answer in answers] == [row["label"] for row in rows]


def test_the_network_is_the_same_for_the_same_seed_and_takes_pictures_of_one_pixel() -> None:
    processor = Cnn(side=4).learn([np.zeros((1, 1, 3), np.uint8)])
    heads = []
    for _ in range(2):
        torch.manual_seed(3)
        module, _ = Cnn(size="base").start(Head("input", 2), processor)
        heads.append(module.head.weight)
    assert torch.equal(*heads)
    inputs = processor.inputs(np.zeros((1, 1), np.uint8))
    assert TorchForm(module).forward({k: v[None] for k, v in inputs.items()})["logits"].shape == (1, 2)


@pytest.mark.demo
def test_tfidf_on_reviews() -> None:
    import pyarrow as pa

    from danlu.plugins.sources.asset import Asset

    table = pa.Table.from_batches(Asset(asset="movie-snippets").rows())
    task = TextClassification().resolve(table)
    rows = table.to_pylist()
    order = np.random.default_rng(0).permutation(len(rows))
    test, train = ([rows[k] for k in part] for part in np.split(order, [len(rows) // 5]))
    answers = teach(TfidfLr(), task, train)([task.ask(row) for row in test])
    accuracy = np.mean([answer["label"] == task.gold(row)["label"] for answer, row in zip(answers, test, strict=True)])
    assert 0.775 < accuracy < 0.83
