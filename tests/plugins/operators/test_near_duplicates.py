import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks.pictures import PICTURE, picture_column
from danlu.blocks.pixels import encode_picture
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.near_duplicates import NearDuplicates

CONTEXT = Context(Columns(("text",), ("label",)))
LONG = "the film tells a slow and quiet story about two brothers who meet again after a long war"
TEXTS = [LONG, "something else entirely", LONG.replace("slow", "calm"), LONG.upper() + " too", None, None]


def test_the_first_of_a_cluster_stays_and_the_rest_is_told():
    table = pa.table({"text": TEXTS, "label": ["x", "x", "x", "y", "x", "x"], "n": range(6)})
    kept, counts = NearDuplicates().apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [0, 1, 4, 5]
    assert (counts.rows_in, counts.rows_out, counts.changed) == (6, 4, 0)
    assert counts.why == {2: "nearly the same as row 0", 3: "nearly the same as row 0"}
    assert counts.by == {"nearly the same as another row": 2}
    assert counts.samples == [({"text": TEXTS[2]}, None), ({"text": TEXTS[3]}, None)]
    assert counts.notes == ["1 clusters hold more than one label; the label of the row kept stands"]


def test_the_longest_stays():
    table = pa.table({"text": TEXTS, "label": ["x"] * 6, "n": range(6)})
    kept, counts = NearDuplicates(keep="longest").apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [1, 3, 4, 5]
    assert counts.why[0] == "nearly the same as row 3"
    same = pa.table({"text": ["one and the same"] * 3, "label": ["x"] * 3, "n": range(3)})
    assert NearDuplicates(keep="longest").apply(same, CONTEXT)[0].column("n").to_pylist() == [0]


def test_the_threshold_decides():
    table = pa.table({"text": [LONG, LONG.replace("slow", "calm")], "label": ["x", "x"]})
    assert NearDuplicates(threshold=0.95).apply(table, CONTEXT)[0].num_rows == 2
    assert NearDuplicates(threshold=0.7).apply(table, CONTEXT)[0].num_rows == 1
    assert NearDuplicates(shingles="words", threshold=0.75).apply(table, CONTEXT)[0].num_rows == 1
    assert NearDuplicates(shingles="words", size=9, threshold=0.75).apply(table, CONTEXT)[0].num_rows == 2


def test_every_column_has_to_be_near():
    table = pa.table({"a": [LONG, LONG, LONG], "b": [LONG, "not at all like that", LONG + "s"], "n": [1, 1, 2]})
    assert NearDuplicates(columns=("a", "b")).apply(table, CONTEXT)[0].num_rows == 2
    assert NearDuplicates(columns=("a", "b", "n")).apply(table, CONTEXT)[0].num_rows == 3
    with pytest.raises(DataError, match="no column 'body'"):
        NearDuplicates(columns=("body",)).apply(table, CONTEXT)


def photographs():
    """A scene, the same brighter, smaller and as a lossy file, another scene, and two even areas."""
    rng = np.random.default_rng(3)
    scene, other = (np.kron(rng.integers(0, 220, (8, 8)), np.ones((12, 12))).astype(np.uint8) for _ in "ab")
    noisy = (scene + rng.integers(-3, 4, scene.shape)).clip(0, 255).astype(np.uint8)
    return [scene, noisy, scene[::2, ::2], other, np.full((9, 9), 20, np.uint8), np.full((9, 9), 200, np.uint8)]


def test_pictures():
    table = pa.table({"text": picture_column(photographs()), "label": ["x"] * 6, "n": range(6)})
    kept, counts = NearDuplicates().apply(table, CONTEXT)
    assert kept.column("n").to_pylist() == [0, 3, 4, 5]
    assert set(counts.why) == {1, 2}
    assert NearDuplicates(difference=255).apply(table, CONTEXT)[0].column("n").to_pylist() == [0, 3, 4]
    assert NearDuplicates(bits=0, difference=0).apply(table, CONTEXT)[0].num_rows >= 4


def test_paths_are_pictures_and_a_broken_one_is_named(tmp_path):
    for name, pixels in zip("abcd", photographs(), strict=False):
        (tmp_path / f"{name}.png").write_bytes(encode_picture(pixels))
    table = pa.table({"text": [str(tmp_path / f"{name}.png") for name in "abcd"]})
    assert NearDuplicates().apply(table, CONTEXT)[0].num_rows == 2
    broken = pa.table({"text": pa.array([{"bytes": b"no", "path": None}], PICTURE)})
    with pytest.raises(DataError, match="picture 1"):
        NearDuplicates().apply(broken, CONTEXT)


def test_numbers_have_to_be_equal_and_no_rows_are_none():
    assert NearDuplicates().apply(pa.table({"text": [1, 2, 1]}), CONTEXT)[0].column("text").to_pylist() == [1, 2]
    assert NearDuplicates().apply(pa.table({"text": pa.array([], pa.string())}), CONTEXT)[0].num_rows == 0
