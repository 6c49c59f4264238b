"""Layers are computed again for their gradients: the same result from less memory."""

import pytest
import torch
from torch import nn
from training_toys import NoisyTagging, Tagger, job, weights_sha256
from transformers import BertConfig, BertModel

from danlu.blocks.memory import kept_bytes
from danlu.core.errors import RecipeError
from danlu.training.loop import fit
from danlu.training.recompute import recomputed


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.line, self.drop, self.calls = nn.Linear(8, 8), nn.Dropout(0.3), 0

    def forward(self, x):
        self.calls += 1
        return x + torch.tanh(self.drop(torch.tanh(self.line(x))))


class Deep(Tagger):
    """A tagger with four layers that have dropout."""

    def __init__(self, norm=False):
        super().__init__()
        self.layers = nn.ModuleList(nn.Sequential(Layer(), nn.BatchNorm1d(8)) if norm else Layer() for _ in range(4))

    def forward(self, ids):
        hidden = self.embed(ids)
        for layer in self.layers:
            hidden = layer(hidden)
        return {"logits": self.head(torch.tanh(self.hidden(hidden)))}


def trained(**options):
    one = job(NoisyTagging(), Deep(), steps=5, **options)
    fit(one)
    return weights_sha256(one.module), one.module


def test_the_weights_end_where_they_would():
    (plain, ours), (again, theirs) = trained(), trained(checkpointing=True)
    assert plain == again
    assert theirs.layers[0].calls - ours.layers[0].calls == 5, "each layer was computed once more at every step"
    assert "forward" not in vars(theirs.layers[0])


def gradients(model, wanted):
    model.zero_grad()
    with recomputed(model, wanted=wanted):
        torch.manual_seed(3)
        model(input_ids=torch.arange(40).reshape(2, 20)).last_hidden_state.square().sum().backward()
    return [w.grad.clone() for w in model.parameters() if w.grad is not None]


def test_gradients_of_a_transformers_model_are_the_same_from_less_memory():
    torch.manual_seed(0)
    size = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    model = BertModel(BertConfig(vocab_size=50, **size)).train()
    plain, again = gradients(model, wanted=False), gradients(model, wanted=True)
    assert len(plain) == len(again) > 50
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))

    def kept(wanted):
        with recomputed(model, wanted=wanted):
            return kept_bytes(lambda: model(input_ids=torch.arange(40).reshape(2, 20)), model)

    assert kept(True) < kept(False) / 3


def test_without_gradients_nothing_is_kept_or_computed_twice():
    model = Deep()
    with recomputed(model, wanted=True), torch.no_grad():
        model(torch.ones(2, 3, dtype=torch.int64))
    assert model.layers[0].calls == 1


def test_batch_norm_is_refused():
    with (
        pytest.raises(RecipeError, match=r"(?s)batch norm, whose averages would move twice.*leave checkpointing out"),
        recomputed(Deep(norm=True), wanted=True),
    ):
        pass


def test_a_model_without_layers_is_refused():
    with pytest.raises(RecipeError, match="checkpointing needs a list of layers"):
        fit(job(checkpointing=True))
