import json

import numpy as np
import pytest

from danlu.blocks.intervals import difference, interval, resamples, score, wilson
from danlu.contracts import Metric
from danlu.core.errors import DataError


class Mean(Metric):
    def read(self, answers, gold):
        return np.array(answers, dtype=float)

    def value(self, read, weights):
        return float(read @ weights / weights.sum())


class Table(Metric):
    def read(self, answers, gold):
        return answers

    def value(self, read, weights):
        return {"matrix": [[float("nan")]]}


def test_every_draw_has_as_many_rows_and_the_seed_decides():
    draws = list(resamples(50, 20, seed=3))
    assert all(draw.sum() == 50 and draw.shape == (50,) for draw in draws)
    assert np.array_equal(draws, list(resamples(50, 20, seed=3)))
    assert not np.array_equal(draws, list(resamples(50, 20, seed=4)))


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(0).normal(size=2000)
    mean = score(Mean(), values, values, seed=0)
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert (mean.value, mean.low, mean.high) == pytest.approx(
        (values.mean(), values.mean() - half, values.mean() + half), abs=0.004
    )


def test_the_interval_covers_the_truth_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = 0
    for seed in range(200):
        hits = (rng.random(150) < 0.8).astype(float)
        s = score(Mean(), hits, hits, seed=seed, draws=300)
        covered += s.low <= 0.8 <= s.high
    assert 180 <= covered <= 198


def test_a_paired_difference_is_far_tighter_than_the_two_intervals():
    rng = np.random.default_rng(0)
    base = (rng.random(500) < 0.8).astype(float)
    better = base.copy()
    better[np.flatnonzero(base == 0)[:15]] = 1
    one, other = score(Mean(), better, better, seed=1), score(Mean(), base, base, seed=1)
    gain = difference(one, other)
    assert one.low < other.high, "the two intervals overlap"
    assert gain["value"] == pytest.approx(0.03)
    assert 0 < gain["low"] < gain["value"] < gain["high"]


def test_faultless_answers_are_not_called_certain():
    ones = np.ones(20)
    perfect = score(Mean(), ones, ones, seed=0)
    assert (perfect.value, perfect.high) == (1.0, 1.0)
    assert perfect.low == pytest.approx(20 / (20 + 1.96**2), abs=1e-3)


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"), [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611)]
)
def test_wilson_gives_newcombes_published_figures(hits, rows, low, high):
    """Newcombe (1998), Two-sided confidence intervals for the single proportion, table I, method 3."""
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5e-5)


def test_a_metric_without_a_single_number_has_no_interval_and_undefined_numbers_are_null():
    plain = score(Table(), ["x"], ["x"], seed=0).plain()
    assert plain == {"value": None, "low": None, "high": None, "parts": {"matrix": [[None]]}}
    assert json.dumps(plain, allow_nan=False)


def test_draws_without_a_value_are_left_out():
    assert interval(np.array([np.nan, np.nan]), 0.5, 10) == (None, None)
    low, high = interval(np.array([np.nan, 0.4, 0.6]), 0.5, 10)
    assert 0.4 <= low < high <= 0.6


def test_no_rows_is_an_error():
    with pytest.raises(DataError, match="no row to measure"):
        score(Mean(), [], [], seed=0)
