"""Gradients along the way from nothing: complete, and refused where there are none."""

import pytest
import torch

from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.core.errors import RecipeError
from danlu.plugins.explainers.integrated_gradients import IntegratedGradients
from danlu.plugins.tasks.text_pair_classification import TextPairClassification
from danlu.predictor import Predictor
from danlu.testing.explaining import planted


@pytest.fixture(scope="module")
def pairs(tiny_bert):
    """A tiny BERT with a random head for pairs: far from linear."""
    from danlu.plugins.backbones.pretrained import Pretrained

    torch.manual_seed(0)
    backbone = Pretrained(model=str(tiny_bert))
    processor = backbone.processor(backbone.folder())
    task = TextPairClassification(text="text", text_pair="text_pair", label="label", labels=("no", "yes"))
    module, _ = backbone.start(task.head(), processor)
    with torch.no_grad():
        for weight in module.parameters():
            weight.mul_(1.5)
    return Predictor(TorchForm(module.eval(), backbone), task, processor)


def test_weights_add_up_to_what_the_words_bring(pairs):
    x = {"text": "the film is good", "text_pair": "a bad film"}
    [one] = IntegratedGradients(steps=256).explain(pairs, [x])
    assert {piece.field for piece in one.pieces} == {"text", "text_pair"}
    assert abs(one.value - one.base) > 1e-3, "nothing to add up to"
    assert sum(one.weights) == pytest.approx(one.value - one.base, rel=0.02)
    assert one.notes == ()


def test_the_order_in_which_a_request_names_its_texts_is_no_matter(pairs):
    x = {"text": "the film is good", "text_pair": "a bad film"}
    turned = {"text_pair": x["text_pair"], "text": x["text"]}
    one, other = IntegratedGradients().explain(pairs, [x, turned])
    assert {(p.field, p.text): w for p, w in zip(one.pieces, one.weights, strict=True)} == pytest.approx(
        {(p.field, p.text): w for p, w in zip(other.pieces, other.weights, strict=True)}
    )


def test_too_few_steps_are_told(pairs, monkeypatch):
    monkeypatch.setattr("danlu.plugins.explainers.integrated_gradients._GAP", 1e-6)
    monkeypatch.setattr("danlu.plugins.explainers.integrated_gradients._LEAST", 0.0)
    [one] = IntegratedGradients(steps=2).explain(pairs, [{"text": "the film is good", "text_pair": "a bad film"}])
    assert "take more than 2 steps" in one.notes[0]


def test_a_model_is_left_as_it_was(pairs):
    module = pairs.form.module
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    x = {"text": "the film", "text_pair": "good"}
    [said] = pairs([x])
    IntegratedGradients(steps=4).explain(pairs, [x])
    assert pairs([x]) == [said]
    assert all(weight.grad is None and torch.equal(weight, before[name]) for name, weight in module.named_parameters())
    assert not [part for part in module.modules() if part._forward_hooks and type(part).__name__ == "Embedding"]


def test_words_beyond_the_models_reach_are_told():
    predictor = planted()
    predictor.processor.most = 5
    [one] = IntegratedGradients().explain(predictor, ["the good film the bad film"])
    assert "3 of its words are beyond what the model reads" in one.notes[-1]
    assert one.weights[3:] == (0.0, 0.0, 0.0)


def test_a_form_without_a_module_says_the_way_out(digits_run):
    forms = bundle.Forms.open(digits_run["small"].path if "small" in digits_run.artifacts else digits_run["tuned"].path)
    form = next(name for name in forms.names if name not in ("trained", "merged"))
    with pytest.raises(RecipeError, match="no gradients") as told:
        IntegratedGradients().explain(bundle.load(forms.folder(form)), ["x"])
    assert "--form trained" in told.value.do


def test_a_model_without_vectors_is_refused():
    predictor = planted()
    bare = Predictor(TorchForm(predictor.form.module), predictor.task, predictor.processor)
    with pytest.raises(RecipeError, match="no vectors of words") as told:
        IntegratedGradients().explain(bare, ["the good film"])
    assert "occlusion" in told.value.do
