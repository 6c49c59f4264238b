import pyarrow as pa
import pytest

from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Plugin
from danlu.plugins.sources.csv import CSV


def test_the_rows_of_a_file(tmp_path):
    (tmp_path / "my.csv").write_text("text,label\ngood,1\nbad,0\n")
    table = pa.Table.from_batches(CSV(path=str(tmp_path / "my.csv")).rows())
    assert table.to_pylist() == [{"text": "good", "label": "1"}, {"text": "bad", "label": "0"}]


def test_a_file_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.csv").write_text("a\n1\n")
    assert next(iter(CSV(path="~/my.csv").rows())).num_rows == 1


def test_a_missing_file_names_the_nearest(tmp_path):
    (tmp_path / "reviews.csv").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"no such file\n.*reviews\.csv"):
        list(CSV(path=str(tmp_path / "review.csv")).rows())


def test_it_is_a_plug_in_with_a_main_field():
    assert issubclass(CSV, Plugin)
    described = CSV.describe()
    assert described["main"] == "path"
    assert described["fields"]["path"]["schema"]["x-points"] == "files"
    assert described["overrides"] == []


def test_a_delimiter_is_one_character():
    with pytest.raises(ValueError, match="at most 1 character"):
        CSV(path="my.csv", delimiter=",,")


def test_it_has_no_splits():
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(CSV(path="my.csv").rows("test"))
