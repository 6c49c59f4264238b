"""Metrics of numbers against scipy and scikit-learn, also weighted."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import mean_absolute_error, root_mean_squared_error

from danlu.core.errors import DataError
from danlu.plugins.metrics.mae import Mae
from danlu.plugins.metrics.pearson import Pearson
from danlu.plugins.metrics.rmse import Rmse
from danlu.plugins.metrics.spearman import Spearman

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 6, 80) / 2
GIVEN = np.round(TRUE + RNG.normal(size=80), 1)
METRICS = {
    Mae: lambda a, b: mean_absolute_error(b, a),
    Rmse: lambda a, b: root_mean_squared_error(b, a),
    Pearson: lambda a, b: stats.pearsonr(a, b)[0],
    Spearman: lambda a, b: stats.spearmanr(a, b)[0],
}


def told(numbers):
    return [{"value": float(number)} for number in numbers]


@pytest.mark.parametrize("kind", METRICS)
def test_equals_the_libraries_also_with_rows_repeated(kind):
    read = kind().read(told(GIVEN), told(TRUE))
    assert kind().value(read, np.ones(80)) == pytest.approx(METRICS[kind](GIVEN, TRUE))
    times = RNG.integers(0, 4, 80)
    repeated = METRICS[kind](GIVEN.repeat(times), TRUE.repeat(times))
    assert kind().value(read, times.astype(float)) == pytest.approx(repeated)


@pytest.mark.parametrize("kind", [Pearson, Spearman])
def test_answers_that_are_all_equal_sort_nothing(kind):
    assert np.isnan(kind().value(kind().read(told([1.0] * 5), told(range(5))), np.ones(5)))


def test_a_missing_answer_is_refused():
    with pytest.raises(DataError, match="2 answers for 3 rows"):
        Mae().read(told([1, 2]), told([1, 2, 3]))
