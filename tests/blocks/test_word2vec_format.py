from __future__ import annotations

import numpy as np
import pytest

import danlu
from danlu import bundle
from danlu.blocks import word2vec_format
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.glove import Glove
from danlu.plugins.tasks.word_vectors import WordVectors
from danlu.testing.partners import Trial
from topics import texts


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    rows = [{"text": text} for text in [*texts(100), *["国王 万岁"] * 5]]
    Trial.of(WordVectors(text="text"), Glove(size=7, passes=5), rows=rows).fit().save(folder / "trained")
    bundle.Forms.write(folder, {"trained": bundle.FormSpec()}, default="trained")
    return folder


def vectors(model):
    module, _, _, processor = bundle.load_module(model / "trained")
    return dict(zip(processor.names, module.vectors.numpy(), strict=True))


def test_a_text_file_holds_every_word_with_its_numbers(model, tmp_path):
    lines = word2vec_format.save(model, tmp_path / "v.txt").read_text("utf-8").splitlines()
    wanted = vectors(model)
    assert lines[0] == f"{len(wanted)} 7"
    told = {line.split(" ")[0]: np.array(line.split(" ")[1:], np.float32) for line in lines[1:]}
    assert told.keys() == wanted.keys()
    assert "国" in told
    assert all(np.array_equal(told[word], wanted[word]) for word in wanted)


@pytest.mark.parametrize("name", ["v.txt", "v.bin"])
def test_gensim_reads_it(model, tmp_path, name):
    models = pytest.importorskip("gensim.models")
    path = word2vec_format.save(model, tmp_path / name)
    read = models.KeyedVectors.load_word2vec_format(str(path), binary=name == "v.bin")
    wanted = vectors(model)
    assert read.index_to_key == list(wanted)
    assert all(np.array_equal(read[word], wanted[word]) for word in wanted)


def test_nothing_is_overwritten(model, tmp_path):
    (tmp_path / "v.txt").write_text("mine")
    with pytest.raises(RecipeError, match="something already"):
        word2vec_format.save(model, tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_text() == "mine"


def test_another_model_has_none(moods, tmp_path):
    version = danlu.api.registry_store.Registry(moods)
    folder = version.open(version.resolve("moods"))
    with pytest.raises(RecipeError, match="text_classification has no vector a word"):
        word2vec_format.save(folder, tmp_path / "v.txt")
    assert not list(tmp_path.glob("*.txt"))
