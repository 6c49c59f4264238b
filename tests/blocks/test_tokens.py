"""Tokens are those of plain transformers, for any text, and the files survive."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from danlu.blocks.tokens import TextProcessor
from danlu.core.errors import DataError


def ids(processor: TextProcessor, text: str, limit: int | None = None) -> list[int]:
    return processor.inputs(text, limit)["input_ids"].tolist()


@pytest.fixture(scope="module")
def processor(tiny_bert: Path) -> TextProcessor:
    return TextProcessor.load(tiny_bert)


@pytest.fixture(scope="module")
def theirs(tiny_bert: Path):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_bert)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=40), limit=st.integers(3, 70))
def test_any_text_gives_the_tokens_of_plain_transformers(processor, theirs, text: str, limit: int) -> None:
    assert ids(processor, text, limit) == theirs(text, truncation=True, max_length=min(limit, 64))["input_ids"]


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=20))
def test_no_string_is_too_strange(processor, text: str) -> None:
    arrays = processor.inputs(text)
    assert len(arrays["input_ids"]) == len(arrays["attention_mask"]) >= 2


def test_a_lone_surrogate_is_a_replacement_character_and_a_pair_is_its_character(processor) -> None:
    assert ids(processor, "a\ud800b") == ids(processor, "a\ufffdb")
    assert ids(processor, "\ud83d\ude00") == ids(processor, "😀")


def test_the_empty_text(processor) -> None:
    assert ids(processor, "") == [2, 3]


def test_a_long_text_is_cut_to_what_is_asked_and_to_what_the_model_takes(processor) -> None:
    text = "amber " * 5000
    assert len(ids(processor, text, 10)) == 10
    assert len(ids(processor, text, 500)) == len(ids(processor, text)) == 64
    assert ids(processor, text, 10) == ids(processor, "amber " * 8)


def test_different_lengths_at_once(processor) -> None:
    with ThreadPoolExecutor(8) as pool:
        lengths = [3 + k % 40 for k in range(400)]
        found = list(pool.map(lambda limit: len(ids(processor, "amber " * 100, limit)), lengths))
    assert found == lengths


def test_saved_and_loaded_it_is_the_same(tiny_bert: Path, processor, tmp_path: Path) -> None:
    processor.save(tmp_path)
    for name in ("tokenizer.json", "vocab.txt"):
        assert (tmp_path / name).read_bytes() == (tiny_bert / name).read_bytes()
    again = TextProcessor.load(tmp_path)
    assert (again.pad, again.most) == (processor.pad, 64)
    assert ids(again, "Amber, 好!") == ids(processor, "Amber, 好!")


def test_the_greatest_length_comes_from_the_model_where_the_tokenizer_names_none(
    tiny_bert: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_bert, tmp_path / "m")
    settings = json.loads((tmp_path / "m/tokenizer_config.json").read_text())
    (tmp_path / "m/tokenizer_config.json").write_text(
        json.dumps(settings | {"model_max_length": 10**30, "auto_map": {"x": "y.Z"}})
    )
    loaded = TextProcessor.load(tmp_path / "m")
    assert loaded.most == 62
    (tmp_path / "saved").mkdir()
    loaded.save(tmp_path / "saved")
    assert TextProcessor.load(tmp_path / "saved").most == 62
    assert "auto_map" not in (tmp_path / "saved/tokenizer_config.json").read_text()


def test_a_tokenizer_without_special_tokens_gives_the_empty_text_one_token(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "b": 1, "<pad>": 2}, unk_token="a"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "<pad>"}}))
    loaded = TextProcessor.load(tmp_path)
    assert ids(loaded, "") == [2]
    assert loaded.pad["input_ids"] == 2
    assert loaded.most is None


def test_types_are_given_where_they_are_not_all_zero(tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, processors

    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[CLS]": 1}, unk_token="a"))
    tokenizer.post_processor = processors.TemplateProcessing(single="$A:0 [CLS]:2", special_tokens=[("[CLS]", 1)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    arrays = TextProcessor.load(tmp_path).inputs("a")
    assert arrays["token_type_ids"].tolist() == [0, 2]


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"(?s)no tokenizer\.json.*AutoTokenizer"):
        TextProcessor.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="the tokenizer can't be read"):
        TextProcessor.load(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("[")
    with pytest.raises(DataError, match="settings of the tokenizer can't be read"):
        TextProcessor.load(tmp_path)
