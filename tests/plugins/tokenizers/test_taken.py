"""A tokenizer taken from a model cuts as that model does."""

from __future__ import annotations

import json

import numpy as np
import pytest

from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Tokenizer
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
