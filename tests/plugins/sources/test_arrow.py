import pyarrow as pa
import pytest
from pyarrow import feather

from danlu.core.errors import DataError
from danlu.plugins.sources.arrow import Arrow

TABLE = pa.table({"text": ["warm", "cold"], "n": [1, 2]})


def conforming(folder):
    write(folder / "rows.arrow", pa.ipc.new_file)
    return {"arrow": {"path": str(folder / "rows.arrow")}}


def write(path, opened, table=TABLE, **options):
    path.parent.mkdir(exist_ok=True)
    with pa.OSFile(str(path), "wb") as out, opened(out, table.schema, **options) as writer:
        writer.write_table(table)
    return Arrow(path=str(path))


def rows(source, split=""):
    return pa.Table.from_batches(source.rows(split)).to_pylist()


@pytest.mark.parametrize("opened", [pa.ipc.new_file, pa.ipc.new_stream])
def test_a_file_and_a_stream(tmp_path, opened):
    source = write(tmp_path / "rows.arrow", opened)
    assert rows(source) == TABLE.to_pylist()
    packed = pa.ipc.IpcWriteOptions(compression="zstd")
    assert rows(write(tmp_path / "rows.arrow", opened, options=packed)) == TABLE.to_pylist()
    assert source.origin(1) == f"{tmp_path}/rows.arrow, row 2"


def test_feather_and_the_one_of_old(tmp_path):
    feather.write_feather(TABLE, str(tmp_path / "rows.feather"))
    assert rows(Arrow(path=str(tmp_path))) == TABLE.to_pylist()
    (tmp_path / "rows.feather").write_bytes(b"FEA1" + bytes(100) + b"FEA1")
    with pytest.raises(DataError, match=r"Feather file of version 1\n.*write_feather"):
        rows(Arrow(path=str(tmp_path)))


def test_texts_of_a_dictionary_are_written_out_and_splits_found(tmp_path):
    table = pa.table({"label": pa.array(["a", "b", "a"]).dictionary_encode()})
    write(tmp_path / "train.arrow", pa.ipc.new_file, table)
    write(tmp_path / "test.arrow", pa.ipc.new_file, table.slice(0, 1))
    source = Arrow(path=str(tmp_path))
    assert source.splits() == ("test", "train")
    assert [batch.schema.field("label").type for batch in source.rows("test")] == [pa.string()]
    assert rows(source, "train") == [{"label": "a"}, {"label": "b"}, {"label": "a"}]


def test_a_file_that_is_none_is_cut_off_or_lies(tmp_path):
    path = tmp_path / "rows.arrow"
    path.write_bytes(b"text,label\nfine,1\n" * 100)
    with pytest.raises(DataError, match=r"rows\.arrow: it is not an Arrow file"):
        rows(Arrow(path=str(path)))
    source = write(path, pa.ipc.new_file)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="it is not an Arrow file"):
        rows(source)
    place = content.index(b"warmcold")
    path.write_bytes(content[:place] + b"\xff\xfe\xff\xfe" + content[place + 4 :])
    with pytest.raises(DataError, match=r"it can't be read: .*UTF8"):
        rows(source)
