import pyarrow as pa
import pytest

from danlu.blocks.spread import spread


def batches(rows, size=7):
    return [pa.record_batch({"n": range(start, min(start + size, rows))}) for start in range(0, rows, size)]


def test_rows_are_spread_evenly_and_told_by_their_places():
    table, places, total = spread(batches(70), 10)
    assert total == 70
    assert table.column("n").to_pylist() == places.tolist() == list(range(0, 70, 8))


@pytest.mark.parametrize("most", [None, 70, 500])
def test_all_rows_are_kept_where_they_are_not_too_many(most):
    table, places, total = spread(batches(70), most)
    assert table.column("n").to_pylist() == places.tolist() == list(range(70))
    assert total == 70


@pytest.mark.parametrize("rows", [11, 99, 1000])
def test_at_least_half_of_the_bound_is_kept(rows):
    table, places, total = spread(batches(rows), 10)
    assert 5 <= table.num_rows <= 10
    assert table.column("n").to_pylist() == places.tolist()
    assert total == rows


def test_nothing_gives_nothing():
    table, places, total = spread([], 10)
    assert (table, len(places), total) == (None, 0, 0)
