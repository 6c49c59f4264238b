"""Each optimizer against torch's own, or against the paper's formula; each fails when a step does nothing."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.training import optim
from danlu.training.groups import groups

LR, DECAY, STEPS = 0.02, 0.1, 4


class Small(nn.Module):
    """An embedding, a hidden matrix, a norm and a head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.hidden = nn.Embedding(5, 4), nn.Linear(4, 6)
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 3)


def give_gradients(model, step):
    torch.manual_seed(100 + step)
    for weight in model.parameters():
        weight.grad = torch.randn_like(weight)


def moved_by(optimizer, model):
    for step in range(STEPS):
        give_gradients(model, step)
        optimizer.step()
    return dict(model.named_parameters())


def ours(name, decay=DECAY, **options):
    model = Small()
    found = groups(model, dict(model.named_parameters()), lr=LR, weight_decay=decay)
    return moved_by(plugin.load("optimizers", name)(**options).build(found), model)


def theirs(kind, decay=DECAY, **options):
    model = Small()
    decaying = {"params": [w for w in model.parameters() if w.ndim == 2], "weight_decay": decay}
    others = {"params": [w for w in model.parameters() if w.ndim < 2], "weight_decay": 0.0}
    return moved_by(kind([decaying, others], lr=LR, **options), model)


SAME = {
    "sgd": (torch.optim.SGD, {}, {"momentum": 0.9}),
    "sgd-plain": (torch.optim.SGD, {"momentum": 0.0}, {}),
    "sgd-nesterov": (torch.optim.SGD, {"nesterov": True}, {"momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {}, {}),
    "adamw": (torch.optim.AdamW, {}, {}),
    "adamw-betas": (torch.optim.AdamW, {"betas": (0.8, 0.9), "eps": 0.1}, {"betas": (0.8, 0.9), "eps": 0.1}),
    "rmsprop": (torch.optim.RMSprop, {}, {}),
    "rmsprop-all": (
        torch.optim.RMSprop,
        {"alpha": 0.9, "momentum": 0.5, "centered": True},
        {"alpha": 0.9, "momentum": 0.5, "centered": True},
    ),
    "adagrad": (torch.optim.Adagrad, {}, {}),
    "adafactor": (torch.optim.Adafactor, {}, {}),
    "adafactor-all": (
        torch.optim.Adafactor,
        {"beta2_decay": -0.5, "smallest": 0.1, "threshold": 1.5},
        {"beta2_decay": -0.5, "eps": (None, 0.1), "d": 1.5},
    ),
}


@pytest.mark.parametrize("case", SAME)
def test_steps_are_those_of_torch(case):
    kind, own, given = SAME[case]
    found, wanted, start = ours(case.partition("-")[0], **own), theirs(kind, **given), Small()
    for name, weight in wanted.items():
        torch.testing.assert_close(found[name], weight, atol=1e-6, rtol=1e-5)
        assert not torch.equal(found[name], dict(start.named_parameters())[name])


def test_adamw_is_torchs_fused_one_to_the_bit():
    found, wanted = ours("adamw"), theirs(torch.optim.AdamW, fused=True)
    assert all(torch.equal(found[name], weight) for name, weight in wanted.items())


def test_lion_is_that_of_the_paper():
    found, model = ours("lion", betas=(0.8, 0.95)), Small()
    means = {name: torch.zeros_like(w) for name, w in model.named_parameters()}
    for step in range(STEPS):
        give_gradients(model, step)
        for name, weight in model.named_parameters():
            decay = DECAY if weight.ndim == 2 else 0.0
            update = torch.sign(0.8 * means[name] + 0.2 * weight.grad)
            weight.data = weight - LR * (update + decay * weight)
            means[name] = 0.95 * means[name] + 0.05 * weight.grad
    for name, weight in model.named_parameters():
        torch.testing.assert_close(found[name], weight.detach())


def test_muon_moves_hidden_matrices_and_adamw_the_others():
    found, plain = ours("muon"), theirs(torch.optim.AdamW, fused=True)
    model = Small()
    give_gradients(model, 0)
    muon = torch.optim.Muon([model.hidden.weight], lr=LR, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    for step in range(STEPS):
        give_gradients(model, step)
        muon.step()
    assert torch.equal(found["hidden.weight"], model.hidden.weight)
    assert not torch.allclose(found["hidden.weight"], plain["hidden.weight"])
    assert all(torch.equal(found[name], plain[name]) for name in plain if name != "hidden.weight")


def test_muons_steps_are_nearly_orthogonal():
    model = Small()
    before = model.hidden.weight.detach().clone()
    found = groups(model, dict(model.named_parameters()), lr=LR, weight_decay=0.0)
    optimizer = plugin.load("optimizers", "muon")().build(found)
    give_gradients(model, 0)
    optimizer.step()
    values = torch.linalg.svdvals((before - model.hidden.weight.detach()) / (LR * 0.2 * 6**0.5))
    assert ((values > 0.5) & (values < 1.3)).all()


def test_muon_without_a_hidden_matrix_is_refused():
    model = Small()
    found = groups(model, {"embed.weight": model.embed.weight}, lr=LR, weight_decay=0.0)
    with pytest.raises(RecipeError, match=r"(?s)none is trained here.*optimizer=adamw"):
        plugin.load("optimizers", "muon")().build(found)


def test_nesterov_without_momentum_is_refused():
    with pytest.raises(ValidationError, match="there is none: set momentum too"):
        plugin.load("optimizers", "sgd")(nesterov=True, momentum=0)


@pytest.mark.parametrize("name", [entry.name for entry in plugin.entries("optimizers")])
def test_clipped_gradients_are_those_of_torch(name):
    """Also where no fused kernel divides them."""
    found = []
    for clips in (
        lambda optimizer, model: optim.clip(optimizer, list(model.parameters()), 0.5),
        lambda optimizer, model: nn.utils.clip_grad_norm_(model.parameters(), 0.5),
        lambda optimizer, model: torch.tensor(0.0),
    ):
        model = Small()
        optimizer = plugin.load("optimizers", name)().build(
            groups(model, dict(model.named_parameters()), lr=LR, weight_decay=0.0)
        )
        for step in range(3):
            give_gradients(model, step)
            norm = clips(optimizer, model)
            optimizer.step()
        found.append((norm, dict(model.named_parameters())))
    (norm, ours_), (wanted_norm, wanted), (_, unclipped) = found
    assert norm == pytest.approx(float(wanted_norm), rel=1e-5)
    for key, weight in wanted.items():
        torch.testing.assert_close(ours_[key], weight, atol=2e-4, rtol=1e-3)
    if name == "sgd":  # the others do not depend on a gradient's size, or little
        assert not torch.allclose(wanted["hidden.weight"], unclipped["hidden.weight"], atol=1e-2)
