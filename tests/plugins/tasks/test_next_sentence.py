"""Masked language models that also learn whether a text follows another."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from danlu.blocks.corpus import Corpus
from danlu.blocks.sentence_pairs import Pairs, framed
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Example
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.bert import Bert
from danlu.plugins.backbones.roberta import Roberta
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.masked_lm import MaskedLm
from danlu.predictor import Predictor
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings

WORDS = ("amber", "basil", "cedar", "dill")
TASK = MaskedLm(text="text", length=24, next_sentence=True)


def corpus(documents):
    ends = np.cumsum([len(one) for one in documents])
    return Corpus(np.concatenate(documents).astype(np.uint16), ends)


def pairs(documents, length=12):
    return Pairs(corpus(documents), length, (1, 2), lambda own, place: own.drawn(place, np.random.default_rng(place)))


def test_what_follows_is_the_continuation_and_what_is_strange_is_not():
    documents = [[1, *range(10 * k, 10 * k + 7), 2] for k in range(1, 40)]
    found = pairs(documents)
    strange = []
    for place in range(len(found)):
        ids, types, from_elsewhere = found.drawn(place, np.random.default_rng(place))
        assert (ids[0], ids[-1], (ids == 2).sum()) == (1, 2, 2)
        first, then = ids[(types == 0) & (ids > 2)], ids[(types == 1) & (ids > 2)]
        assert len(first)
        assert len(then)
        if from_elsewhere:
            assert set(first // 10).isdisjoint(then // 10)
        else:
            assert np.array_equal(np.concatenate([first, then]), np.array(documents[place][1:-1]))
        strange.append(from_elsewhere)
    assert 0.25 < np.mean(strange) < 0.75


def test_a_long_document_gives_several_windows_and_a_short_one_none():
    found = pairs([[1, *range(10, 40), 2], [1, 5, 2], [1, *range(50, 57), 2]])
    assert len(found) == 5
    assert max(found.lengths) <= 12
    assert all(len(found[k][0]) <= 12 for k in range(len(found)))


def test_texts_too_short_to_be_cut():
    with pytest.raises(DataError, match="no two texts long enough"):
        pairs([[1, 5, 2], [1, 6, 2]])


def test_the_longer_of_a_pair_is_cut():
    ids, types = framed(range(10, 30), [40, 41], (1, 2), 12)
    assert ids.tolist() == [1, *range(10, 17), 2, 40, 41, 2]
    assert types.tolist() == [0] * 9 + [1] * 3


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A tiny BERT that read texts of one word each, repeated: what follows has the same word."""
    rows = [{"text": " ".join([WORDS[k % 4]] * 8)} for k in range(64)]
    backbone = Bert(dropout=0.0)
    processor = backbone.learn(row["text"] for row in rows)
    torch.manual_seed(0)
    module, _ = backbone.start(TASK.head(), processor)
    train = TASK.pack(lambda: rows, processor, tmp_path_factory.mktemp("tokens"), ("rows",), lambda done: None)
    settings = TrainSettings(steps=200, batch_size=16, lr=1e-3, precision="fp32", schedule="linear")
    fit(Job(module, TASK, processor, train, settings=settings, backbone=backbone))
    return backbone, module, processor


def asked():
    return [{"text": f"{a} {a} {a} {a}", "follows": f"{b} {b} {b} {b}"} for a in WORDS for b in WORDS]


def test_it_learns_what_follows(learnt):
    backbone, module, processor = learnt
    answers = Predictor(TorchForm(module, backbone), TASK, processor)(asked())
    right = [(x["text"] == x["follows"]) == (y["follows"] > 0.5) for x, y in zip(asked(), answers, strict=True)]
    assert sum(right) >= 14


def test_it_still_fills_gaps_and_says_how_likely_a_text_is(learnt):
    backbone, module, processor = learnt
    predictor = Predictor(TorchForm(module, backbone), TASK, processor)
    [filled] = predictor(["cedar cedar [MASK] cedar"])
    assert filled["gaps"][0][0]["token"] == "cedar"
    [likely] = predictor([{"how_likely": "dill dill dill dill"}])
    assert likely["nll"] / likely["tokens"] < 1


def test_exported_it_says_the_same(learnt, tmp_path):
    backbone, module, processor = learnt
    texts = [*asked()[:3], "cedar [MASK] cedar"]
    predictor = Predictor(TorchForm(module, backbone), TASK, processor)
    with predictor.listen() as calls:
        wanted = predictor(texts)
    Onnx().export(module, list(calls), tmp_path)
    given = Predictor(Onnx().load(tmp_path, lambda: None), TASK, processor)(texts)
    assert max(TASK.distance(a, b) for a, b in zip(given, wanted, strict=True)) < 1e-4


def test_plain_transformers_loads_it_with_the_same_answer(learnt, tmp_path):
    backbone, module, processor = learnt
    backbone.save(tmp_path, module, processor)
    module.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["BertForPreTraining"]
    plain = transformers.BertForPreTraining.from_pretrained(tmp_path).eval()
    [example] = TASK.encode(asked()[1], processor)
    inputs = {name: torch.from_numpy(example.inputs[name][None]) for name in ("input_ids", "token_type_ids")}
    with torch.no_grad():
        said = plain(**inputs).seq_relationship_logits.softmax(-1)[0, 0].item()
    [answer] = Predictor(TorchForm(module.eval(), backbone), TASK, processor)([asked()[1]])
    assert abs(answer["follows"] - said) < 1e-5


def test_each_look_draws_the_pair_anew(learnt, tmp_path):
    _, _, processor = learnt
    rows = [{"text": " ".join(WORDS)} for _ in range(8)]
    examples = TASK.pack(lambda: rows, processor, tmp_path, ("more",), lambda done: None)
    example: Example = examples[0]
    looks = [TASK.vary(example, np.random.default_rng(k)) for k in range(12)]
    assert {int(one.targets["follows"]) for one in looks} == {0, 1}
    again = TASK.vary(example, np.random.default_rng(3))
    assert np.array_equal(again.inputs["input_ids"], looks[3].inputs["input_ids"])


def test_a_family_without_that_head():
    backbone = Roberta()
    processor = backbone.learn(["amber basil cedar"])
    with pytest.raises(RecipeError, match="a roberta has no head that says whether a text follows another"):
        backbone.start(TASK.head(), processor)


def test_a_model_that_did_not_learn_it(learnt):
    _, _, processor = learnt
    with pytest.raises(DataError, match="did not learn what follows"):
        MaskedLm(text="text").encode(asked()[0], processor)
    with pytest.raises(DataError, match="holds two texts"):
        TASK.from_json({"text": "a", "follows": 3})
