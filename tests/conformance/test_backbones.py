import pytest

from conformance.suite import all_are_found, every, subject
from danlu.core import plugin


def test_all_are_found():
    assert all_are_found("backbones", least=8)


@every("backbones")
def test_conforms(name, check, tmp_path, tiny_bert):
    if name == "ngram" and not any(task.gives.get("head") == "next" for task in plugin.entries("tasks")):
        pytest.skip("no task asks for the next token")
    if name == "word2vec":
        pytest.importorskip("gensim")
    more = {"model": str(tiny_bert), "dropout": 0.0} if name == "pretrained" else {}
    check(subject("backbones", name, tmp_path, **more))
