import pyarrow as pa
import pytest

from danlu.core.errors import DataError, RecipeError
from danlu.core.settings import Plugin
from danlu.plugins.sources.csv import CSV


def conforming(folder):
    (folder / "rows.csv").write_text("text,label\nwarm,good\ncold,bad\n")
    return {"csv": {"path": str(folder / "rows.csv")}}


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
    assert described["fields"]["path"]["schema"]["x-points"] == "rows"
    assert described["overrides"] == ["fingerprint"]


def test_a_delimiter_is_one_character():
    with pytest.raises(ValueError, match="at most 1 character"):
        CSV(path="my.csv", delimiter=",,")


def test_it_has_no_splits(tmp_path):
    (tmp_path / "my.csv").write_text("a\n1\n")
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(CSV(path=str(tmp_path / "my.csv")).rows("test"))


# ---- pictures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def pictures(tmp_path):
    """A CSV in a folder, with pictures beside it."""
    folder = tmp_path / "data"
    (folder / "img").mkdir(parents=True)
    for name in "ab":
        (folder / "img" / f"{name}.png").write_bytes(name.encode())
    (folder / "my.csv").write_text("file,label\nimg/a.png,1\nimg/b.png,0\n,0\n")
    return CSV(path=str(folder / "my.csv"), pictures=("file",))


def test_pictures_are_read_from_beside_the_file(pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = pa.Table.from_batches(pictures.rows()).to_pylist()
    assert [row["file"] for row in rows] == [{"bytes": b"a", "path": None}, {"bytes": b"b", "path": None}, None]
    assert [row["label"] for row in rows] == ["1", "0", "0"]


def test_a_changed_picture_is_another_fingerprint(pictures, tmp_path):
    before = pictures.fingerprint()
    assert before == pictures.fingerprint() != ""
    (tmp_path / "data" / "img" / "b.png").write_bytes(b"c")
    assert pictures.fingerprint() != before
    assert CSV(path=pictures.path).fingerprint() == ""


def test_a_picture_or_column_that_is_not_there(pictures, tmp_path):
    (tmp_path / "data" / "img" / "b.png").unlink()
    with pytest.raises(DataError, match=r"img/b\.png: the picture can't be read: No such file"):
        list(pictures.rows())
    with pytest.raises(DataError, match=r"img/b\.png: it can.t be read: No such file"):
        pictures.fingerprint()
    wrong = CSV(path=pictures.path, pictures=("image",))
    with pytest.raises(DataError, match="there is no column 'image' of pictures; the columns are: file, label"):
        list(wrong.rows())
