import copy

import pytest
import torch
from torch import nn

from danlu.blocks import table_gradients
from danlu.blocks.row_adamw import RowAdamW
from danlu.blocks.table_gradients import kept_gradients, used_rows
from danlu.training import optim

ROWS, WIDTH = 50, 32
SEEN = 12


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(table_gradients, "SMALLEST", 1)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Embedding(ROWS, WIDTH, padding_idx=3)
        self.head = nn.Linear(WIDTH, 1)

    def forward(self, ids):
        return self.head(self.table(ids)).tanh().sum()


def build(kind, model, decay):
    weights = dict(model.named_parameters())
    groups = [{"params": list(weights.values()), "lr": 0.05, "weight_decay": decay, "scale": 1.0, "decays": True}]
    return weights, (RowAdamW(groups) if kind is RowAdamW else kind(groups, fused=True))


def train(model, weights, optimizer, steps, *, passes=1, rows=SEEN, between=lambda model, step: None):
    norms = []
    with kept_gradients(model, [optimizer]):
        for step in steps:
            torch.manual_seed(step)
            model.zero_grad()
            for _ in range(passes):
                model(torch.randint(rows, (3, 2)) * (ROWS // rows)).backward()
            between(model, step)
            norms.append(optim.clip(optimizer, weights.values(), 1.0))
            optimizer.step()
    return norms


def both(decay=0.0, **options):
    """After torch's AdamW and after ours: the model, the norms of its gradients, the optimizer."""
    found = []
    for kind in (torch.optim.AdamW, RowAdamW):
        model = Model()
        weights, optimizer = build(kind, model, decay)
        norms = train(model, weights, optimizer, range(8), **options)
        found.append((model, norms, optimizer))
    return found


def write(model, step):
    """What a technique may do to a weight."""
    with torch.no_grad():
        model.table.weight[:, step] += 1


def noise(model, step):
    """What a technique may do to a gradient."""
    if step == 5:
        model.table.weight.grad.add_(torch.randn(ROWS, WIDTH))


def throw_away(model, step):
    if step % 2:
        model.zero_grad()


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("between", [lambda *_: None, write, noise, throw_away], ids=["", "write", "noise", "away"])
def test_moves_as_adamw_does(between, passes):
    (plain, norms, _), (ours, own, optimizer) = both(between=between, passes=passes)
    torch.testing.assert_close(own, norms, rtol=1e-5, atol=0)
    for a, b in zip(plain.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)  # the norms differ in the last digit
    state = optimizer.state[ours.table.weight]
    assert len(state["exp_avg"]) == (ROWS if between is noise else len(state["rows"]))


def test_a_row_decays_from_its_first_batch_on():
    (plain, *_), (ours, _, optimizer) = both(decay=0.1)
    start = Model().table.weight
    rows = optimizer.state[ours.table.weight]["rows"]
    never = torch.ones(ROWS, dtype=torch.bool).index_fill(0, rows, False)
    assert 0 < len(rows) <= SEEN
    assert torch.equal(ours.table.weight[never], start[never])
    assert (plain.table.weight[never] != start[never]).any()
    assert (ours.table.weight[rows] - plain.table.weight[rows]).abs().max() < 0.05 * 0.1 * 8 * start.abs().max()


def test_most_rows_are_all_rows():
    _, (ours, _, optimizer) = both(rows=ROWS, passes=8)
    assert optimizer.state[ours.table.weight].keys() == {"step", "exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("rows", [SEEN, ROWS])
def test_goes_on_from_what_it_kept_to_the_bit(rows):
    through = Model()
    weights, optimizer = build(RowAdamW, through, 0.1)
    train(through, weights, optimizer, range(4), rows=rows)
    again = copy.deepcopy(through)
    kept = {key: tensor.clone() for key, tensor in optim.state(optimizer, weights).items()}
    train(through, weights, optimizer, range(4, 12), rows=rows, passes=2)
    weights, optimizer = build(RowAdamW, again, 0.1)
    optim.restore(optimizer, weights, kept)
    train(again, weights, optimizer, range(4, 12), rows=rows, passes=2)
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), again.parameters(), strict=True))


def test_rows_are_known_while_nobody_else_writes():
    model = Model()
    weight = model.table.weight
    assert used_rows(weight) is None
    with kept_gradients(model, []):
        assert used_rows(weight) is None
        for _ in range(2):
            model(torch.tensor([4, 9, 4])).backward()
        assert used_rows(weight).tolist() == [4, 9]
        weight.grad += 1
        assert used_rows(weight) is None
    assert used_rows(weight) is None
