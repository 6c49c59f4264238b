import numpy as np
import pyarrow as pa
import pytest

from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.smote import SMOTE

CONTEXT = Context(Columns(("age", "income", "job"), ("label",)), "train", 3)


def given(common=80, rare=12, seed=0):
    rng = np.random.default_rng(seed)
    n = common + rare
    labels = ["common"] * common + ["rare"] * rare
    return pa.table(
        {
            "id": list(range(n)),
            "age": pa.array(rng.integers(20, 70, n), pa.int32()),
            "income": rng.lognormal(8, 1, n),
            "job": [["clerk", "nurse", None][k] for k in rng.integers(0, 3, n)],
            "label": labels,
        }
    )


def test_new_rows_lie_between_a_row_and_a_near_one_of_its_label():
    from sklearn.neighbors import NearestNeighbors

    before = given()
    numeric = Context(Columns(("age", "income"), ("label",)), "train", 3)
    after, counts = SMOTE(neighbours=3).apply(before, numeric)
    assert (after.num_rows, counts.changed, counts.by) == (160, 68, {"rare": 68})
    assert after.schema == before.schema
    assert after.slice(0, 92).equals(before.slice(0, 92))
    assert counts.notes[1] == "rows made up: 'rare' 68"
    values = np.stack([before[n].to_numpy().astype(float) for n in ("age", "income")], 1)
    scaled = (values / values.std(0))[80:]
    near = NearestNeighbors(n_neighbors=4).fit(scaled).kneighbors(scaled, return_distance=False)[:, 1:]
    for row in after.slice(92).to_pylist():
        start = row["id"]
        assert (start >= 80, row["label"], row["job"]) == (True, "rare", before["job"][start].as_py())
        parts = []
        for other in near[start - 80] + 80:
            step = values[other] - values[start]
            part = (row["income"] - values[start][1]) / step[1]
            between = abs(values[start][0] + part * step[0] - row["age"]) <= 0.5 + 1e-9
            parts.append(between and -1e-9 <= part <= 1 + 1e-9)
        assert any(parts), row


def test_the_spread_is_that_of_imbalanced_learn():
    """The mean and deviation of the new rows lie near those that the reference library makes."""
    over_sampling = pytest.importorskip("imblearn.over_sampling")
    before = given(2000, 60, seed=1)
    after, _ = SMOTE().apply(before, Context(Columns(("age", "income"), ("label",)), "train", 3))
    ours = np.stack([after[n].to_numpy().astype(float) for n in ("age", "income")], 1)
    points = np.stack([before[n].to_numpy().astype(float) for n in ("age", "income")], 1)
    scale = points.std(0)
    theirs, labels = over_sampling.SMOTE(random_state=0).fit_resample(points / scale, before["label"].to_pylist())
    assert (np.array(labels) == "rare").sum() == 2000
    new, reference = ours[2060:] / scale, theirs[2060:]
    assert np.abs(new.mean(0) - reference.mean(0)).max() < 0.05
    assert np.abs(new.std(0) - reference.std(0)).max() < 0.05


def test_a_category_is_the_commonest_of_the_neighbours():
    before = pa.table(
        {
            "age": [1.0, 1.1, 1.2, 1.3, *[9.0] * 8],
            "job": ["a", "b", "b", "b", *["c"] * 8],
            "label": ["rare"] * 4 + ["common"] * 8,
        }
    )
    after, _ = SMOTE(neighbours=3).apply(before, Context(Columns(("age", "job"), ("label",)), "train", 3))
    assert after["job"].to_pylist()[12:] == ["b"] * 4
    assert after["age"].to_pylist()[:12] == before["age"].to_pylist()


def test_order_and_seed():
    before = given()

    def rows(table, seed=3):
        made, _ = SMOTE().apply(table, Context(CONTEXT.columns, "train", seed))
        return sorted(map(str, made.to_pylist()))

    assert rows(before) == rows(before.take(list(range(91, -1, -1))))
    assert rows(before) != rows(before, 4)


def test_ratio_and_a_label_with_one_row():
    assert SMOTE(ratio=0.5).apply(given(), CONTEXT)[1].by == {"rare": 28}
    after, counts = SMOTE().apply(given(rare=1), CONTEXT)
    assert (after.num_rows, counts.changed) == (81, 0)
    assert counts.notes[-1] == "the label 'rare' has one row, and nothing lies between it and itself"


def test_texts_alone_are_left_and_missing_numbers_are_an_error():
    texts = Context(Columns(("job",), ("label",)), "train")
    after, counts = SMOTE().apply(given(), texts)
    assert (after.num_rows, counts.notes) == (92, ["no column of job holds numbers, so no row was made up"])
    for bad in (None, float("nan"), float("inf")):
        table = pa.table({"age": [1.0, bad, 3.0], "label": ["a", "b", "b"]})
        with pytest.raises(DataError, match="1 rows have no finite number in the column 'age'"):
            SMOTE().apply(table, Context(Columns(("age",), ("label",)), "train"))
