"""Each schedule against its formula, or against torch's own."""

import math

import pytest
import torch

from danlu.core import plugin
from danlu.training.schedule import factor


def rates(name, steps=20, warmup=0.2, **options):
    schedule = plugin.load("schedules", name)(**options)
    return [factor(step, steps, warmup, schedule) for step in range(steps)]


def test_linear_rises_and_falls_on_a_line():
    assert rates("linear")[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates("linear")[4:] == pytest.approx([k / 16 for k in range(16, 0, -1)])


def test_cosine_falls_to_its_floor():
    cosine = rates("cosine", warmup=0.0)
    assert (cosine[0], cosine[10]) == pytest.approx((1.0, 0.5))
    assert 0 < cosine[19] < 0.01
    assert cosine == sorted(cosine, reverse=True)
    assert rates("cosine", warmup=0.0, floor=0.1)[10] == pytest.approx(0.55)
    assert 0.1 < rates("cosine", warmup=0.0, floor=0.1)[19] < 0.11


def test_constant_stays():
    assert rates("constant", steps=10, warmup=0.1) == [1.0] * 10


def test_inverse_sqrt_is_half_after_four_warm_ups():
    falling = rates("inverse_sqrt", steps=100, warmup=0.05)
    assert falling[4:20:15] == pytest.approx([1.0, math.sqrt(5 / 19)])
    assert falling[20] == 0.5
    assert rates("inverse_sqrt", steps=100, warmup=0.05, timescale=15)[50] == 0.5


def test_wsd_stays_and_falls_at_the_end():
    line = rates("wsd", warmup=0.1, decay=0.25, shape="linear")
    assert line[:2] == [0.5, 1.0]
    assert line[2:16] == [1.0] * 14
    assert line[15:] == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    assert rates("wsd", warmup=0.1, decay=0.25)[16:] == pytest.approx([1 - math.sqrt(k / 5) for k in (1, 2, 3, 4)])


def test_one_cycle_is_that_of_torch():
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=40, pct_start=0.25, div_factor=25, final_div_factor=1e4
    )
    wanted = []
    for _ in range(40):
        wanted.append(theirs.get_last_lr()[0])
        optimizer.step()
        theirs.step()
    assert rates("one_cycle", steps=40, warmup=0.25) == pytest.approx(wanted, rel=1e-6)
