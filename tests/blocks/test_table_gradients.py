import contextlib
import copy

import pytest
import torch
from torch import nn

from danlu.blocks import table_gradients
from danlu.blocks.table_gradients import kept_gradients

ROWS, WIDTH = 50, 8


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(table_gradients, "SMALLEST", 1)


class Model(nn.Module):
    def __init__(self, **options):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(ROWS, WIDTH, **options)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ids):
        return self.head(self.table(ids)).tanh().sum()


def optimizer_of(model):
    return torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1, fused=True)


def train(model, kept, *, steps=6, passes=1, between=lambda model, step: None):
    """Train on other rows at every step; returns the gradients of the table and its weights at the end."""
    optimizer, gradients = optimizer_of(model), []
    with kept_gradients(model, [optimizer]) if kept else contextlib.nullcontext():
        for step in range(steps):
            torch.manual_seed(step)
            model.zero_grad()
            for _ in range(passes):
                model(torch.randint(ROWS, (3, 4))).backward()
            between(model, step)
            gradients.append(model.table.weight.grad.clone())
            optimizer.step()
    return gradients, model.table.weight.detach()


def noise(model, step):
    """What a technique may do: write into every row."""
    if step % 2:
        model.table.weight.grad.add_(torch.randn(ROWS, WIDTH))


def no_step(model, step):
    """Gradients thrown away, and another pass."""
    model.table.weight.grad.mul_(3).add_(1)
    model.zero_grad()
    model(torch.tensor([step, step + 1])).backward()


def own_gradient(model, step):
    model.table.weight.grad = torch.ones(ROWS, WIDTH)
    model(torch.tensor([step, step])).backward()


@pytest.mark.parametrize(
    "between", [lambda *_: None, noise, no_step, own_gradient], ids=["", "noise", "no step", "own"]
)
@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("options", [{}, {"padding_idx": 7}], ids=["", "padding"])
def test_gradients_and_weights_are_the_same_to_the_bit(options, passes, between):
    results = [train(Model(**options), kept, passes=passes, between=between) for kept in (False, True)]
    for plain, kept in zip(results[0][0], results[1][0], strict=True):
        assert torch.equal(plain, kept)
    assert torch.equal(results[0][1], results[1][1])


def test_one_gradient_serves_all_steps_and_only_its_used_rows_are_zeroed(monkeypatch):
    model, tensors = Model(), []
    train(model, True, between=lambda m, _: tensors.append(m.table.weight.grad))
    assert all(tensor is tensors[0] for tensor in tensors)
    filled = []
    monkeypatch.setattr(torch.Tensor, "zero_", lambda tensor: filled.append(tensor.shape) or tensor.fill_(0))
    train(Model(), True)
    assert (ROWS, WIDTH) not in filled
    train(Model(), True, between=noise)
    assert (ROWS, WIDTH) in filled


def test_a_weight_that_another_layer_shares_is_left_alone():
    def tied(kept):
        model = Model()
        model.head = nn.Linear(WIDTH, ROWS, bias=False)
        model.head.weight = model.table.weight
        return train(model, kept)

    (plain, _), (kept, _) = tied(False), tied(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, kept, strict=True))


@pytest.mark.parametrize("change", ["frozen", "sparse", "normed", "subclass", "small"])
def test_what_is_left_alone(change, monkeypatch):
    class Other(nn.Embedding):
        pass

    model = Model(**{"sparse": {"sparse": True}, "normed": {"max_norm": 1.0}}.get(change, {}))
    if change == "subclass":
        model.table = Other(ROWS, WIDTH)
    if change == "frozen":
        model.table.weight.requires_grad = False
    if change == "small":
        monkeypatch.setattr(table_gradients, "SMALLEST", 10**6)
    kind = type(model.table)
    with kept_gradients(model, []):
        assert type(model.table) is kind


def test_afterwards_the_model_is_as_it_was_also_after_an_error():
    model, optimizer = Model(), None
    optimizer = optimizer_of(model)
    with pytest.raises(KeyError), kept_gradients(model, [optimizer]):  # noqa: PT012
        assert type(model.table) is not nn.Embedding
        raise KeyError
    assert type(model.table) is nn.Embedding
    assert vars(copy.deepcopy(model).table).keys() == vars(Model().table).keys()
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    (gradient,) = torch.autograd.grad(model(torch.tensor([1])), [model.table.weight])
    assert gradient[1].abs().sum() > 0


def test_no_gradient_is_wanted_while_it_answers():
    model = Model()
    with kept_gradients(model, []), torch.no_grad():
        assert not model.table(torch.tensor([1])).requires_grad
