import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources.tsv import TSV


def conforming(folder):
    (folder / "rows.tsv").write_text("text\tlabel\nwarm\tgood\ncold\tbad\n")
    return {"tsv": {"path": str(folder / "rows.tsv")}}


def test_a_comma_is_no_delimiter(tmp_path):
    (tmp_path / "a.tsv").write_text("text,label\tn\nwarm, very\t1\n")
    table = pa.Table.from_batches(TSV(path=str(tmp_path)).rows())
    assert table.to_pylist() == [{"text,label": "warm, very", "n": "1"}]


def test_several_files_have_one_header_and_their_guesses_are_all_told(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tn\nwarm\t1\n")
    (tmp_path / "b.tsv").write_bytes("text\tn\nété\t2\n".encode("cp1252"))
    source = TSV(path=str(tmp_path))
    table = pa.Table.from_batches(source.rows())
    assert table.column("text").to_pylist() == ["warm", "été"]
    assert b"b.tsv is not UTF-8" in table.schema.metadata[b"danlu.notes"]
    assert source.origin(1) == f"{tmp_path}/b.tsv, line 2"
    (tmp_path / "b.tsv").write_text("text\tm\nwarm\t1\n")
    with pytest.raises(DataError, match=r"b\.tsv: its columns are text, m, and those of the first file text, n"):
        list(source.rows())
