"""Pretrained folders that attack who loads them are refused before anything is loaded (S5)."""

import json
import shutil

import pytest

from danlu.contracts import Head
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from malicious import SETTINGS, TEMPLATES, pickles, weights


@pytest.fixture
def folder(tiny_bert, tmp_path):
    return shutil.copytree(tiny_bert, tmp_path / "model")


def refused(folder):
    with pytest.raises(
        (DataError, RecipeError), match=r"pickle|can't be read|not a whole|not numbers|code to|template"
    ):
        Pretrained(model=str(folder)).folder()


def test_a_good_folder_is_taken(folder):
    assert Pretrained(model=str(folder)).folder() == folder.resolve()


def test_pickled_weights_under_any_name(folder):
    (folder / "model.safetensors").unlink()
    for data in pickles().values():
        for name in ("pytorch_model.bin", "model.pt", "model.safetensors"):
            (folder / name).write_bytes(data)
            refused(folder)
            (folder / name).unlink()


@pytest.mark.parametrize("name", weights())
def test_weights_that_are_not_numbers_or_not_whole(folder, name):
    (folder / "model.safetensors").write_bytes(weights()[name])
    refused(folder)


def test_settings_that_name_code_are_stripped(folder):
    config = json.loads((folder / "config.json").read_text())
    for told in SETTINGS:
        (folder / "config.json").write_text(json.dumps(config | told))
        backbone = Pretrained(model=str(folder))
        module, _ = backbone.start(Head("input", 2, ("a", "b")), backbone.processor(backbone.folder()))
        assert "evil" not in module.config.to_json_string()


def test_templates_that_reach_out(folder):
    for text in TEMPLATES:
        (folder / "chat_template.jinja").write_text(text)
        refused(folder)
    (folder / "chat_template.jinja").unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEMPLATES[0]}))
    refused(folder)
