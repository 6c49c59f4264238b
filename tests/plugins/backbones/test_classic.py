"""The classic models: the numbers of those who wrote them down first, in every form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu.blocks.ensembles import Processors
from danlu.blocks.hashed_grams import NOTHING, HashedGrams
from danlu.contracts import Backbone
from danlu.core import plugin
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.linear_svm import LinearSvm
from danlu.plugins.backbones.naive_bayes import NaiveBayes
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.plugins.tasks.text_multilabel_classification import TextMultilabelClassification
from danlu.testing import forms
from danlu.testing.partners import Trial
from danlu.testing.subject import Subject

TASK = TextClassification(text="text", label="label", labels=("a", "b", "c"))
COUNTING = ("naive_bayes", "linear_svm")


def conforming(folder):
    return {
        **{name: {"grams": 500} for name in COUNTING},
        "fasttext": {"buckets": 2000, "dropout": 0.0},
        "ensemble": {"members": ({"fasttext": {"buckets": 500}}, {"text_mlp": {"size": "tiny", "dropout": 0.0}})},
    }


def made(name):
    return Backbone.choose({name: conforming(None)[name]})


def noisy(n=240):
    """Rows one in eight of which is wrong, so that no machine can tell them all apart."""
    rows = TASK.sample(n)
    return [{**row, "label": "c"} if k % 8 == 0 else row for k, row in enumerate(rows)]


def taught(backbone, rows, task=TASK):
    return Trial.of(task, backbone, rows=rows).fit(steps=1, batch_size=len(rows)).predictor()


def theirs(rows):
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [row["text"] for row in rows]
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\b\w+\b").fit(texts)
    return texts, vectors.transform(texts), [row["label"] for row in rows]


@pytest.mark.parametrize("counts", ["multinomial", "complement"])
def test_naive_bayes_is_scikit_learns(counts):
    from sklearn import naive_bayes

    rows = noisy()
    kind = {"multinomial": naive_bayes.MultinomialNB, "complement": naive_bayes.ComplementNB}[counts]
    texts, table, labels = theirs(rows)
    expected = kind(alpha=0.1).fit(table, labels).predict_proba(table)
    found = [list(answer["scores"].values()) for answer in taught(NaiveBayes(counts=counts), rows)(texts)]
    assert np.abs(np.array(found) - expected).max() < 1e-5


def test_smoothing_evens_out():
    rows, text = noisy(), ["amber basil"]
    little, much = (taught(NaiveBayes(smoothing=s), rows)(text)[0]["confidence"] for s in (0.1, 10.0))
    assert little > much + 0.1


def test_the_machine_answers_as_scikit_learns_and_its_confidence_is_calibrated():
    from sklearn.svm import LinearSVC

    rows = noisy(480)
    texts, table, labels = theirs(rows)
    answers = taught(LinearSvm(), rows)(texts)
    machine = LinearSVC(C=0.3, random_state=0).fit(table, labels)
    assert np.mean([a["label"] == b for a, b in zip(answers, machine.predict(table), strict=True)]) > 0.97
    sure = np.mean([answer["confidence"] for answer in answers])
    right = np.mean([answer["label"] == label for answer, label in zip(answers, labels, strict=True)])
    assert sure == pytest.approx(right, abs=0.04)


@pytest.mark.parametrize("name", COUNTING)
def test_labels_that_never_occur_and_labels_with_one_row(name):
    rows = [row for row in TASK.sample(60) if row["label"] == "a"]
    few = [*rows, {"text": "cedar delta", "label": "c"}]
    (answer,) = taught(made(name), few)(["cedar delta"])
    assert answer["scores"]["b"] < answer["scores"]["c"]


@pytest.mark.parametrize("name", COUNTING)
def test_rows_of_one_label_alone(name):
    ids, weights = np.array([[0], [1]]), np.ones((2, 1), np.float32)
    coefficients, intercepts = made(name).taught(ids, weights, np.array([1, 1]), (3, 2))
    assert ((coefficients[ids[:, 0]] + intercepts).argmax(1) == 1).all()


@pytest.mark.parametrize("name", COUNTING)
def test_labels_that_hold_together_are_each_learnt_by_themselves(name):
    task = TextMultilabelClassification(text="text", label="labels", labels=("a", "b", "c"))
    rows = task.sample(200)
    predictor = taught(made(name), rows, task)
    right = [
        set(a["labels"]) == set(task.gold(row)["labels"])
        for a, row in zip(predictor([task.ask(row) for row in rows]), rows, strict=True)
    ]
    assert np.mean(right) > 0.7


@pytest.mark.parametrize("name", [*COUNTING, "fasttext", "ensemble"])
def test_onnx_gives_the_same_answers(name, tmp_path):
    subject = Subject(plugin.load("runtimes", "onnx")(), tmp_path, {"backbones": made(name)})
    forms.check_it_agrees_on_lengths_not_heard(subject)


def test_int8_is_near(tmp_path):
    subject = Subject(plugin.load("compressors", "int8")(), tmp_path, {"backbones": made("fasttext")})
    forms.check_an_exported_form_gets_smaller(subject)


def test_a_misspelt_word_shares_its_letters():
    whole, bare = HashedGrams(10**6, 3, 5), HashedGrams(10**6, 3, 0)

    def shared(one, a, b):
        return len(set(one.inputs(a)["buckets"]) & set(one.inputs(b)["buckets"]))

    assert shared(whole, "wonderful", "wonderfull") > 10
    assert shared(bare, "wonderful", "wonderfull") == 0
    assert len(bare.inputs("not good")["buckets"]) == 3, "two words and the pair"
    assert shared(whole, ("not", "good"), "not good") == len(set(whole.inputs("not good")["buckets"]))
    assert whole.inputs("...")["buckets"].tolist() == [NOTHING]
    assert max(HashedGrams(7, 3, 5).inputs("a long text of several words")["buckets"]) <= 7


def test_settings_of_buckets_that_are_broken(tmp_path):
    (tmp_path / "hashed_grams.json").write_text("[]")
    with pytest.raises(DataError, match="the settings of the buckets can't be read"):
        HashedGrams.load(tmp_path)


@pytest.mark.parametrize("name", ["text_cnn", "text_mlp"])
def test_padding_changes_nothing(name):
    trial = Trial.of(TextClassification(), Backbone.choose({name: {"size": "tiny"}}))
    texts = ["x", "amber basil", "some more of this day and then amber cedar " * 5]
    alone = [trial.predictor()([text])[0]["confidence"] for text in texts]
    assert alone == pytest.approx([answer["confidence"] for answer in trial.predictor()(texts)], abs=1e-6)


def test_a_filter_sees_the_order_and_a_mean_does_not():
    texts = ["the one that came", "came that one the"]
    for name, same in (("text_cnn", False), ("text_mlp", True)):
        torch.manual_seed(0)
        a, b = Trial.of(TextClassification(), Backbone.choose({name: {"size": "tiny"}})).predictor()(texts)
        assert (abs(a["confidence"] - b["confidence"]) < 1e-6) == same


def test_members_that_count_are_not_trained_together():
    both = Backbone.choose({"ensemble": ["fasttext", "naive_bayes"]})
    with pytest.raises(RecipeError, match="naive_bayes counts instead of descending"):
        Trial.of(TextClassification(), both)


def test_a_list_of_members_that_is_broken(tmp_path):
    for told in ("[]", '{"processors": [["fasttext", 1]], "read": [0, 3]}'):
        (tmp_path / "ensemble.json").write_text(told)
        with pytest.raises(DataError, match="the list of members can't be read"):
            Processors.load(tmp_path)
    (tmp_path / "ensemble.json").write_text('{"processors": [["this:s", 1]], "read": [0]}')
    with pytest.raises(DataError, match="a model does not choose what is imported"):
        Processors.load(tmp_path)
