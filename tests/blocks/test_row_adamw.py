import copy
from contextlib import closing, contextmanager

import pytest
import torch
from torch import nn

from danlu.blocks import loops, table_gradients
from danlu.blocks.gradient_squares import note_squares, squares_of
from danlu.blocks.halves import Halves
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


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@contextmanager
def halves_beside(model, optimizer):
    with closing(Halves(model)) as halves, optimizer.beside(halves):
        yield halves


looped = pytest.mark.skipif(not loops.available(), reason="the loops were not compiled, or can't run here")


@looped
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("rows", [SEEN, ROWS])
def test_moves_in_two_threads_as_alone(rows):
    alone, ours = Model(), Model()
    weights, optimizer = build(RowAdamW, alone, 0.1)
    norms = train(alone, weights, optimizer, range(8), rows=rows, passes=3)
    weights, optimizer = build(RowAdamW, ours, 0.1)
    with halves_beside(ours, optimizer) as halves:
        own = train(ours, weights, optimizer, range(8), rows=rows, passes=3)
        narrow = halves.narrow[ours.head.weight]
        assert torch.equal(narrow.copied, ours.head.weight.bfloat16())
        assert not narrow.stale(ours.head.weight)
    torch.testing.assert_close(own, norms, rtol=1e-4, atol=0)
    for a, b in zip(alone.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


@looped
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("rows", [SEEN, ROWS])
def test_in_two_threads_it_goes_on_from_what_it_kept_to_the_bit(rows):
    through = Model()
    weights, optimizer = build(RowAdamW, through, 0.1)
    with halves_beside(through, optimizer):
        train(through, weights, optimizer, range(4), rows=rows)
        again = copy.deepcopy(through)
        kept = {key: tensor.clone() for key, tensor in optim.state(optimizer, weights).items()}
        train(through, weights, optimizer, range(4, 12), rows=rows, passes=2)
    weights, optimizer = build(RowAdamW, again, 0.1)
    optim.restore(optimizer, weights, kept)
    with halves_beside(again, optimizer):
        train(again, weights, optimizer, range(4, 12), rows=rows, passes=2)
    assert all(torch.equal(a, b) for a, b in zip(through.parameters(), again.parameters(), strict=True))


@looped
def test_a_step_in_c_is_one_of_adamw():
    torch.manual_seed(0)
    start, weight = torch.randn(1000), nn.Parameter(torch.zeros(1000))
    ours, mean, square, narrow = start.clone(), torch.zeros(1000), torch.zeros(1000), torch.zeros(1000).bfloat16()
    weight.data.copy_(start)
    plain = torch.optim.AdamW([weight], lr=0.01, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.2)
    for number in range(1, 4):
        gradient = torch.randn(1000)
        weight.grad = gradient / 3
        plain.step()
        loops.adamw(ours, mean, square, gradient, narrow, loops.Step(0.01, (0.8, 0.95), 1e-3, 0.2, number, 3.0))
    torch.testing.assert_close(ours, weight.detach(), rtol=1e-5, atol=1e-6)
    assert torch.equal(narrow, ours.bfloat16())


@looped
def test_a_sum_in_c_knows_its_squares():
    one, other = torch.randn(71, 133).bfloat16(), torch.randn(71, 133).bfloat16()
    total, squares = loops.add_up(one, other)
    assert torch.equal(total, one.float() + other.float())
    assert squares == pytest.approx(float(total.double().square().sum()), rel=1e-5)


def test_noted_squares_are_those_of_the_gradient_as_it_is():
    weights = [nn.Parameter(torch.zeros(3)) for _ in range(2)]
    optimizer = torch.optim.SGD(weights)
    for weight, size in zip(weights, (3.0, 4.0), strict=True):
        weight.grad = torch.tensor([0.0, size, 0.0])
    note_squares(weights[0].grad, 9.0)
    assert float(optim.clip(optimizer, weights, 100.0)) == pytest.approx(5.0)  # nothing to clip, and nothing written
    assert squares_of(weights[0].grad) is None  # `clip` divides
    weights[0].grad = torch.tensor([0.0, 3.0, 0.0])
    note_squares(weights[0].grad, 9.0)
    assert squares_of(weights[0].grad) == 9.0
    weights[0].grad.mul_(2)
    assert squares_of(weights[0].grad) is None


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
