import copy
import math

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from danlu.blocks.dropout import Dropout, dropout, use_dropout

N = 400_000
KINDS = [torch.float32, torch.bfloat16, torch.float16, torch.float64]


@pytest.mark.parametrize("p", [0.002, 0.1, 0.5, 0.9])
def test_zeroes_the_share_it_promises_and_scales_the_rest(p):
    torch.manual_seed(0)
    y = dropout(torch.ones(N), p)
    zeros = (y == 0).double().mean().item()
    assert abs(zeros - p) < 4 * math.sqrt(p * (1 - p) / N)
    torch.testing.assert_close(y[y != 0].unique(), torch.tensor([1 / (1 - p)]), rtol=4e-4, atol=0)


def test_the_mean_stays():
    torch.manual_seed(0)
    mean = sum(dropout(torch.ones(N), 0.1).double().mean().item() for _ in range(20)) / 20
    assert abs(mean - 1) < 4 * math.sqrt(0.1 / 0.9 / (20 * N)) + 4e-5  # 4e-5: the resolution of the probability


@pytest.mark.parametrize("dtype", KINDS)
def test_keeps_type_shape_and_values(dtype):
    x = torch.randn(3, 5, 7).to(dtype)
    y = dropout(x, 0.25)
    assert (y.dtype, y.shape) == (dtype, x.shape)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.75)


def test_places_are_independent():
    torch.manual_seed(0)
    kept = (dropout(torch.ones(N), 0.3) != 0).double() - 0.7
    for lag in (1, 2, 3, 4, 5, 64, 384):
        assert abs((kept[lag:] * kept[:-lag]).mean().item()) < 5 * 0.21 / math.sqrt(N)


def test_the_mask_is_a_function_of_torchs_generator():
    x = torch.ones(1000)
    torch.manual_seed(1)
    first, second = dropout(x, 0.5), dropout(x, 0.5)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.5), first)
    assert torch.equal(dropout(x, 0.5), second)
    assert not torch.equal(first, second)


def test_draws_as_much_for_any_size():
    after = []
    for size in (1, 100_000):
        torch.manual_seed(1)
        dropout(torch.ones(size), 0.5)
        after.append(torch.rand(()))
    assert after[0] == after[1]


def test_the_gradient_goes_where_the_value_went():
    torch.manual_seed(0)
    x = torch.ones(1000, requires_grad=True)
    y = dropout(x, 0.4)
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())


def test_recomputed_activations_see_the_same_mask():
    layer = nn.Sequential(nn.Linear(8, 8), Dropout(0.5), nn.Linear(8, 8))
    x = torch.randn(4, 8)
    grads = []
    for call in (layer, lambda v: checkpoint(layer, v, use_reentrant=False)):
        torch.manual_seed(3)
        layer.zero_grad()
        call(x).sum().backward()
        grads.append(layer[0].weight.grad)
    assert torch.equal(*grads)


def test_extremes():
    x = torch.randn(50)
    assert dropout(x, 0.0) is x
    assert dropout(x, 0.5, training=False) is x
    assert not dropout(x, 1.0).any()
    assert dropout(torch.empty(0, 3), 0.5).shape == (0, 3)
    assert dropout(torch.tensor(2.0), 0.5) in (0.0, 4.0)


def test_takes_what_is_not_contiguous():
    torch.manual_seed(0)
    x = torch.arange(1.0, 13).view(3, 4)
    y = dropout(x.t(), 0.5)
    assert (y == 2 * x.t())[y != 0].all()


def test_the_module_is_torchs_but_for_the_bits():
    ours, torchs = Dropout(0.1), nn.Dropout(0.1)
    assert repr(ours) == repr(torchs)
    x = torch.randn(10)
    assert ours.eval()(x) is x


def test_under_autocast_the_result_is_narrow_in_training_only():
    part, x = Dropout(0.1), torch.randn(4, 4)
    assert part(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert part(x).dtype == torch.bfloat16
        assert part.eval()(x).dtype == torch.float32


def test_is_put_in_place_of_torchs_everywhere_and_changes_no_answer():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Sequential(nn.Dropout(0.2), nn.AlphaDropout(0.2)))
    plain = copy.deepcopy(model).eval()
    use_dropout(model)
    assert [type(m) for m in (model[1], model[2][0], model[2][1])] == [Dropout, Dropout, nn.AlphaDropout]
    assert (model[1].p, model[2][0].p) == (0.5, 0.2)
    assert model.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(3, 4)
    assert torch.equal(model.eval()(x), plain(x))


def test_leaves_dropout_in_place_alone():
    model = nn.Sequential(nn.Dropout(0.5, inplace=True))
    use_dropout(model)
    assert type(model[0]) is nn.Dropout
