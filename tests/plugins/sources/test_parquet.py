import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.blocks.pictures import PICTURE
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.sources.parquet import Parquet


def conforming(folder):
    write(folder / "hub" / "data", "train-00000-of-00001", text=["warm", "cold"], label=["good", "bad"])
    write(folder / "hub" / "data", "test-00000-of-00001", text=["mild"], label=["good"])
    return {"parquet": {"path": str(folder / "hub")}}


def write(folder, name, **columns):
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    return Parquet(path=str(folder))


def table(source, split=""):
    return pa.Table.from_batches(source.rows(split))


def test_a_file_keeps_its_types(tmp_path):
    cells = pa.array([{"bytes": b"x", "path": None}], PICTURE)
    labels = pa.array(["a"]).dictionary_encode()
    write(tmp_path, "rows", image=cells, label=labels, tags=pa.array([["p", "q"]]), n=pa.array([3], pa.int8()))
    rows = table(Parquet(path=str(tmp_path / "rows.parquet")))
    assert [str(field.type) for field in rows.schema][1:] == ["string", "list<element: string>", "int8"]
    assert rows.schema.field("image").type == PICTURE
    assert rows.to_pylist() == [{"image": {"bytes": b"x", "path": None}, "label": "a", "tags": ["p", "q"], "n": 3}]


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    source = write(tmp_path, "b", n=[3])
    write(tmp_path, "a", n=[1, 2])
    write(tmp_path / "c", "d", n=[4])
    write(tmp_path / ".hidden", "e", n=[5])
    assert table(source).column("n").to_pylist() == [1, 2, 3, 4]
    assert source.splits() == ()


@pytest.mark.parametrize("names", [("train-00000-of-00002", "test"), ("train/0", "test/0")])
def test_the_splits_of_the_hub(tmp_path, names):
    for k, name in enumerate(names):
        folder, _, stem = name.rpartition("/")
        write(tmp_path / folder, stem, n=[k])
    source = Parquet(path=str(tmp_path))
    assert source.splits() == ("test", "train")
    assert table(source, "train").column("n").to_pylist() == [0]
    with pytest.raises(RecipeError, match=r"no split 'validation' .*; there are: test, train"):
        table(source, "validation")


def test_a_name_that_only_begins_like_a_split_is_none(tmp_path):
    assert write(tmp_path, "training", n=[1]).splits() == ()
    assert write(tmp_path / "one", "train", n=[1]).splits() == ("train",)
    assert Parquet(path=str(tmp_path / "one" / "train.parquet")).splits() == ()


def test_files_with_other_columns_are_refused(tmp_path):
    source = write(tmp_path, "a", n=[1])
    write(tmp_path, "b", n=["x"])
    with pytest.raises(DataError, match=r"b\.parquet: its columns are not .*'n' is string, there it is int64"):
        table(source)
    write(tmp_path, "b", m=[1])
    with pytest.raises(DataError, match="'n' is missing, there it is int64"):
        table(source)


def test_what_is_no_parquet(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        table(Parquet(path=str(tmp_path / "x.parquet")))
    with pytest.raises(DataError, match=r"there is no \.parquet file"):
        table(Parquet(path=str(tmp_path)))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 no PAR1")
    with pytest.raises(DataError, match=r"a\.parquet: it is not a Parquet file"):
        table(Parquet(path=str(tmp_path)))


def test_a_file_that_was_cut_off(tmp_path):
    write(tmp_path, "a", n=list(range(5000)))
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[4:2000] = bytes(1996)
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.parquet: it can't be read"):
        table(Parquet(path=str(tmp_path)))
