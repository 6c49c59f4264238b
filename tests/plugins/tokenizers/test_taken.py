"""A tokenizer taken from a model cuts as that model does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Backbone, Tokenizer
from danlu.core.errors import DataError
from danlu.plugins.tokenizers.taken import Taken
from tiny_models import write_tokenizer


def conforming(folder):
    made = folder / "taken"
    made.mkdir(exist_ok=True)
    write_tokenizer(made)
    return {"taken": {"model": str(made)}}


def test_it_cuts_as_the_model_does_and_takes_the_new_models_length(tmp_path):
    write_tokenizer(tmp_path)
    theirs, ours = TextProcessor.load(tmp_path), Tokenizer.choose({"taken": str(tmp_path)}).learn([], BERT, 9)
    text = "amber basil 好 zebra!"
    assert np.array_equal(ours.inputs(text)["input_ids"], theirs.inputs(text, 9)["input_ids"])
    assert (theirs.most, ours.most) == (64, 9)
    assert len(ours.inputs("amber " * 99)["input_ids"]) == 9


def test_one_without_padding_is_refused(tmp_path):
    write_tokenizer(tmp_path)
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in settings.items() if "pad" not in k}))
    with pytest.raises(DataError, match="no token to pad with"):
        Taken(model=str(tmp_path)).learn([], BERT, 9)


@pytest.mark.parametrize(
    ("name", "dropped", "told"),
    [
        ("gpt2", (), "no eos_token in"),
        ("llama", (), "no eos_token in"),
        ("t5", (), "no eos_token in"),
        ("bert", ("cls_token",), "no cls_token in"),
        ("bert", ("cls_token", "sep_token"), "no cls_token and no sep_token in"),
    ],
)
def test_one_that_does_not_fit_the_backbone_is_refused(name, dropped, told, tmp_path):
    write_tokenizer(tmp_path)
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps({k: v for k, v in json.loads(file.read_text()).items() if k not in dropped}))
    with pytest.raises(DataError, match=f"does not fit {name}: it names {told}") as caught:
        Backbone.choose({name: {"tokenizer": {"taken": str(tmp_path)}}}).learn([])
    assert "a tokenizer that is learnt" in str(caught.value)


def test_one_that_fits_the_backbone_is_taken(tmp_path):
    write_tokenizer(tmp_path)
    found = Backbone.choose({"bert": {"tokenizer": {"taken": str(tmp_path)}}}).learn([])
    assert found.digest() == TextProcessor.load(tmp_path).digest()
