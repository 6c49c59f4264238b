"""Backbones from scratch: plain transformers gives the same answers, and eight bits near ones.

That their ONNX form answers alike is a test of `conformance/test_runtimes`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from danlu.contracts import Backbone
from danlu.core import plugin
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing import forms, techniques
from danlu.testing.partners import Trial
from danlu.testing.subject import Subject

SHORT = {"positions": 64, "dropout": 0.0}
OF_TRANSFORMERS = ("bert", "roberta", "modern", "gpt2", "llama")
TEXTS = (*OF_TRANSFORMERS, "lstm", "gru", "text_cnn", "text_mlp")
PICTURES = ("resnet", "mlp")


def conforming(folder):
    still = {key: {"size": "tiny", "dropout": 0.0} for key in (*PICTURES, "vit", "cnn")}
    return dict.fromkeys((*TEXTS, "t5"), SHORT) | still


def made(name, **more):
    return Backbone.choose({name: conforming(None)[name] | more})


@pytest.mark.parametrize("name", OF_TRANSFORMERS)
def test_plain_transformers_gives_the_same_answers(name, tmp_path):
    import transformers

    one = Trial.of(TextClassification(), made(name, dropout=0.1)).fit(steps=5)
    one.save(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "model")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    for x in ("Some more of this day, BASIL cedar", "žebra (2 x) 明月", "amber " * 99):
        ids = one.processor.inputs(x)["input_ids"]
        assert tokenizer(x, truncation=True)["input_ids"] == ids.tolist()
        with torch.no_grad():
            scores = model(torch.from_numpy(ids)[None]).logits[0].softmax(-1).numpy()
        assert np.allclose(scores, list(one.predictor()([x])[0]["scores"].values()), atol=1e-5)


ALIKE = {"roberta", "lstm", "text_mlp", "mlp"}
"""Their layers are those of another here."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.proof] if n in ALIKE else []) for n in (*TEXTS, *PICTURES)]
)
def test_int8_is_near(name, tmp_path):
    subject = Subject(plugin.load("compressors", "int8")(), tmp_path, {"backbones": made(name)})
    forms.check_an_exported_form_gets_smaller(subject)


@pytest.mark.parametrize("name", ["modern", "llama", "gru", "resnet"])
def test_a_killed_training_goes_on(name, tmp_path):
    technique = plugin.load("techniques", "focal_loss")()
    techniques.check_a_killed_training_goes_on(Subject(technique, tmp_path, {"backbones": made(name, dropout=0.1)}))


@pytest.mark.parametrize("name", [*TEXTS[1:], "t5", *PICTURES, "vit", "cnn"])
@pytest.mark.parametrize("how", ["xavier", {"normal": {"std": 0.05}}])
def test_first_weights_by_name(name, how):
    trial = Trial.of(_task(name), made(name, init=how))
    plain = Trial.of(_task(name), made(name)).module.state_dict()
    drawn = trial.module.state_dict()
    assert all(torch.equal(drawn[n], w) for n, w in plain.items() if w.ndim < 2)
    assert not any(torch.equal(drawn[n], w) for n, w in plain.items() if w.ndim >= 2)


@pytest.mark.parametrize("name", ["roberta", "modern", "gpt2", "llama", "t5", "resnet", "vit"])
def test_layers_that_add_are_found(name):
    whole, scaled = (
        Trial.of(_task(name), made(name, init={"orthogonal": {"residual": residual}})).module.state_dict()
        for residual in (False, True)
    )
    narrower = [n for n, w in whole.items() if not torch.allclose(w, scaled[n])]
    count = {"resnet": 2, "vit": 8, "t5": 10}.get(name, 4)
    assert len(narrower) == count
    for one in narrower:
        assert torch.allclose(scaled[one], whole[one] / count**0.5, atol=1e-6)


@pytest.mark.parametrize("name", ["gru", "cnn"])
def test_what_adds_nothing_is_told(name):
    with pytest.raises(Exception, match="no layers whose output is added"):
        Trial.of(_task(name), made(name, init={"he": {"residual": True}}))


def _task(name):
    special = {"t5": "seq2seq"} | dict.fromkeys((*PICTURES, "vit", "cnn"), "image_classification")
    return plugin.load("tasks", special.get(name, "text_classification"))()
