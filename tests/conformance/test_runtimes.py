import pytest

from conformance.suite import all_are_found, every, found, subject
from danlu.core import plugin
from danlu.core.errors import DanluError
from danlu.testing.forms import check_it_agrees_on_lengths_not_heard
from danlu.testing.subject import Subject

NOT_EXPORTED = ("glove", "nearest", "ngram", "word2vec")
"""They look up what was counted; the error says so, and the torch form serves them."""


def test_all_are_found():
    assert all_are_found("runtimes", least=2)


@every("runtimes")
def test_conforms(name, check, tmp_path):
    check(subject("runtimes", name, tmp_path))


@pytest.mark.parametrize("name", found("backbones"))
def test_every_backbone_can_be_exported(name, tmp_path, tiny_bert):
    """Each with the first task that it fits: what is asked later has other lengths than what the export heard."""
    more = {"model": str(tiny_bert), "dropout": 0.0} if name == "pretrained" else {}
    backbone = subject("backbones", name, tmp_path, **more).plugin
    onnx = plugin.load("runtimes", "onnx")()
    if name in NOT_EXPORTED:
        with pytest.raises(DanluError):
            check_it_agrees_on_lengths_not_heard(Subject(onnx, tmp_path, {"backbones": backbone}))
        return
    check_it_agrees_on_lengths_not_heard(Subject(onnx, tmp_path, {"backbones": backbone}))
