"""k nearest neighbours of embeddings: what is kept, what decides, and how k is chosen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.plugins.backbones.knn_embeddings import KnnEmbeddings
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.training.job import Job
from danlu.training.loop import fit

TASK = TextClassification(text="text", label="label", labels=("bad", "good"))


def conforming(folder):
    from tiny_models import write_tiny_bert

    path = folder / "tiny-bert"
    return {"knn_embeddings": {"model": str(path if path.exists() else write_tiny_bert(path))}}


def rows(n=40):
    """Two kinds of texts that share no word, and a good review among the bad."""
    words = {"good": ["amber", "basil", "north"], "bad": ["that", "came", "with"]}
    labels = ["good", "bad"] * (n // 2)
    rng = np.random.default_rng(0)
    return [{"text": " ".join(rng.choice(words[label], 3)), "label": label} for label in labels]


def taught(backbone, table):
    processor = backbone.processor(backbone.folder())
    module, fresh = backbone.start(TASK.head(), processor)
    assert fresh == []
    examples = [example for row in table for example in TASK.examples(row, processor)]
    before = {name: tensor.clone() for name, tensor in module.encoder.state_dict().items()}
    fitted = fit(Job(module, TASK, processor, examples, backbone=backbone))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.encoder.state_dict().items())
    return module, processor, fitted


@pytest.fixture(scope="module")
def backbone(tiny_bert):
    return KnnEmbeddings(model=str(tiny_bert))


def test_neighbours_by_cosine_vote_by_hand(backbone):
    module, processor, _ = taught(backbone.model_copy(update={"k": 3}), rows())
    vectors, labels = module.vectors.numpy(), module.labels.numpy()
    assert np.abs(np.linalg.norm(vectors, axis=1) - 1).max() < 1e-6
    asked = processor.inputs("amber came north")
    arrays = {name: torch.from_numpy(array[None]) for name, array in asked.items()}
    with torch.no_grad():
        own = module.eval().encoder(**arrays)["vector"][0].numpy()
    near = vectors @ (own / np.linalg.norm(own))
    best = np.argsort(-near)[:3]
    weights = np.exp(near[best] / 0.07) / np.exp(near[best] / 0.07).sum()
    share = (3 * weights[labels[best] == 1].sum() + 1) / (3 + 2)
    [answer] = Predictor(TorchForm(module, backbone), TASK, processor)(["amber came north"])
    assert answer["scores"]["good"] == pytest.approx(share, abs=1e-4)


def test_k_is_the_one_that_answers_left_out_rows_best(backbone):
    table = rows(60)
    clear, _, fitted = taught(backbone, table)
    assert clear.k in (1, 3, 5, 10, 20, 50)
    assert fitted.numbers["loss"][0][1] < math.log(2) / 2
    rng = np.random.default_rng(1)
    noise = [row | {"label": ("bad", "good")[rng.integers(2)]} for row in table]
    assert taught(backbone, noise)[0].k > 3, "labels drawn by lot: one neighbour is surely wrong too often"


def test_a_row_is_not_its_own_neighbour_when_k_is_chosen(backbone):
    """Texts that all differ, with labels by lot: if each found itself, one neighbour would be right always."""
    rng = np.random.default_rng(2)
    table = [{"text": f"n{k} {k * 7919} north", "label": ("bad", "good")[rng.integers(2)]} for k in range(60)]
    module, _, fitted = taught(backbone, table)
    assert module.k > 1
    assert fitted.numbers["loss"][0][1] > 0.5


def test_it_is_saved_as_numbers_and_answers_the_same(backbone, tmp_path):
    table = rows()
    module, processor, _ = taught(backbone, table)
    bundle.save(tmp_path / "m", backbone=backbone, task=TASK, processor=processor, module=module)
    names = {path.relative_to(tmp_path / "m").as_posix() for path in (tmp_path / "m").rglob("*") if path.is_file()}
    assert {"model.safetensors", "knn.json", "encoder/config.json", "tokenizer.json"} <= names
    assert load_file(tmp_path / "m" / "model.safetensors")["vectors"].shape[0] == len(table)
    assert json.loads((tmp_path / "m" / "knn.json").read_text())["k"] == module.k
    texts = ["amber amber", "", "that came with the basil", "z " * 400]
    assert bundle.load(tmp_path / "m")(texts) == Predictor(TorchForm(module, backbone), TASK, processor)(texts)


def test_one_row_and_fewer_rows_than_neighbours(backbone):
    module, processor, _ = taught(backbone, rows(2)[:1])
    [answer] = Predictor(TorchForm(module, backbone), TASK, processor)(["amber"])
    assert answer["label"] == "good"
    module, processor, _ = taught(backbone.model_copy(update={"k": 50}), rows(4))
    assert len(Predictor(TorchForm(module, backbone), TASK, processor)(["amber", "came"])) == 2
