"""A BERT from scratch: its own word pieces, a folder that plain transformers reads, and something learnt."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import torch

import danlu
from danlu.core.errors import DataError
from danlu.plugins.backbones.bert import Bert
from danlu.plugins.sources.synthetic import Synthetic
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.partners import Trial


def texts(rows=200):
    return [row["text"] for batch in Synthetic(size=rows).rows() for row in batch.to_pylist()]


def test_word_pieces_are_learnt_from_the_training_texts():
    processor = Bert(tokenizer={"wordpiece": 150}, positions=16).learn(texts())
    assert processor.size == 150
    assert (processor.pad_id, processor.most) == (0, 16)
    known, odd = (processor.inputs(x)["input_ids"].tolist() for x in ("The BREAD.", "the 字"))
    assert (known[0], known[-1], odd[2]) == (2, 3, 1)  # [CLS] … [SEP]; a letter never seen is [UNK]
    assert 1 not in known
    assert len(processor.inputs("soup " * 99)["input_ids"]) == 16
    with pytest.raises(DataError, match="no word to learn pieces from"):
        Bert().learn(["", " "])


def test_plain_transformers_gives_the_same_answers(tmp_path):
    import transformers

    one = Trial.of(TextClassification(), Bert(positions=64)).fit(steps=5)
    one.save(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    for x in ("Some more of this day, BASIL cedar", "žebra (2 x)", ""):
        ids = one.processor.inputs(x)["input_ids"]
        assert tokenizer(x)["input_ids"] == ids.tolist()
        with torch.no_grad():
            scores = model(torch.from_numpy(ids)[None]).logits[0].softmax(-1).numpy()
        assert np.allclose(scores, list(one.predictor()([x])[0]["scores"].values()), atol=1e-5)


def test_the_size_is_the_main_option():
    chosen = Bert.choose({"bert": "mini"})
    assert chosen.size == "mini"
    one = Trial.of(TextClassification(), Bert.choose({"bert": {"size": "mini", "tokenizer": {"wordpiece": 50}}}))
    config = one.module.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (4, 256, 4)


def test_from_a_table_to_a_measured_model(tmp_path):
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for batch in Synthetic(size=500).rows():
            rows.writerows((row["text"], row["label"]) for row in batch.to_pylist())
    backbone = {"bert": {"dropout": 0.0}}
    steps = {
        "data": {"do": "prepare", "source": {"csv": str(tmp_path / "rows.csv")}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": backbone, "epochs": 5, "lr": 1e-3},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": []},
    }
    done = danlu.run({"name": "own", "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["score"].numbers["accuracy"] > 0.9
    assert (done["tuned"].path / "trained" / "tokenizer.json").is_file()


@pytest.mark.proof
@pytest.mark.demo
def test_film_reviews(tmp_path):
    """Too few steps to be any good: real sentences go all the way, and the loss falls."""
    steps = {
        "data": {"do": "prepare", "source": {"asset": "movie-snippets"}, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": {"bert": "tiny"}, "steps": 120, "batch_size": 64, "lr": 1e-3},
        "score": {"do": "evaluate", "metrics": ["accuracy"], "baselines": ["majority"]},
    }
    done = danlu.run({"name": "films", "steps": steps}, store=tmp_path / "store", trackers=[])
    assert done["score"].json("scores.json")["baselines"]["majority"]["verdict"] == "better"
