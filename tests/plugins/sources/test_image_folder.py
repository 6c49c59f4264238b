import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from danlu.blocks import media_source
from danlu.blocks.delimited import NOTES
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.sources.image_folder import ImageFolder


def conforming(folder):
    for place in ("train/cat/1.png", "train/dog/2.png", "test/cat/3.png", "test/dog/4.png"):
        put(folder / "pets" / place)
    return {"image_folder": {"path": str(folder / "pets")}}


def put(path, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    Image.fromarray(np.full((3, 4), len(str(path)) % 250, np.uint8)).save(buffer, kind)
    path.write_bytes(buffer.getvalue())


@pytest.fixture
def pets(tmp_path):
    for place in ("dog/b.png", "dog/a.JPG", "cat/in/deep/z.png", "cat/y.webp"):
        put(tmp_path / "pets" / place, "JPEG" if place.endswith("JPG") else "PNG")
    return tmp_path / "pets"


def table(source, split=""):
    return pa.Table.from_batches(source.rows(split))


def test_the_outermost_folder_is_the_label(pets):
    rows = table(ImageFolder(path=str(pets)))
    assert rows.column("file").to_pylist() == ["cat/in/deep/z.png", "cat/y.webp", "dog/a.JPG", "dog/b.png"]
    assert rows.column("label").to_pylist() == ["cat", "cat", "dog", "dog"]
    assert rows.column("image")[3].as_py() == {"bytes": (pets / "dog/b.png").read_bytes(), "path": None}
    assert rows.schema.metadata is None


def test_folders_named_for_splits_are_the_splits(pets):
    pets.rename(pets.with_name("train"))
    put(pets.parent / "test" / "cat" / "new.png")
    source = ImageFolder(path=str(pets.parent))
    assert source.splits() == ("train", "test")
    assert table(source).num_rows == 5
    assert table(source, "test").select(["label", "file"]).to_pylist() == [{"label": "cat", "file": "test/cat/new.png"}]
    with pytest.raises(RecipeError, match=r"no folder 'validation' in .*its splits are: train, test"):
        table(source, "validation")


def test_pictures_are_read_when_their_row_is(pets, monkeypatch):
    monkeypatch.setattr(media_source, "_ROWS", 2)
    batches = ImageFolder(path=str(pets)).rows()
    assert next(batches).num_rows == 2
    (pets / "dog" / "b.png").unlink()
    with pytest.raises(DataError, match=r"b\.png: the picture can't be read: No such file"):
        next(batches)


def test_what_is_no_picture_is_counted_and_told_or_refused(pets):
    (pets / "notes.txt").write_text("x")
    (pets / "cat" / "Thumbs.db").write_text("x")
    (pets / ".DS_Store").write_text("x")
    schema = next(ImageFolder(path=str(pets)).rows()).schema
    assert schema.metadata[NOTES] == b"2 files are no pictures, and were passed over: cat/Thumbs.db, notes.txt"
    with pytest.raises(DataError, match=r"2 files are no pictures: cat/Thumbs\.db, notes\.txt"):
        table(ImageFolder(path=str(pets), others="refuse"))


def test_a_broken_picture_is_named_whatever_is_done_about_others(pets):
    whole = (pets / "dog/b.png").read_bytes()
    for content in (b"no picture", whole[: len(whole) // 2]):
        (pets / "dog/b.png").write_bytes(content)
        with pytest.raises(DataError, match=r"dog/b\.png: is not a picture that can be read"):
            table(ImageFolder(path=str(pets)))


def test_folders_that_can_be_no_data_set(pets, tmp_path):
    put(pets / "loose.png")
    with pytest.raises(DataError, match=r"1 pictures lie in no label's folder: loose\.png"):
        table(ImageFolder(path=str(pets)))
    (pets / "loose.png").unlink()
    (pets / "bird").mkdir()
    (pets / "bird" / "x.txt").write_text("x")
    with pytest.raises(DataError, match="the folder 'bird' holds no picture"):
        table(ImageFolder(path=str(pets)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="there is no picture in the folder"):
        table(ImageFolder(path=str(tmp_path / "empty")))
    with pytest.raises(DataError, match="it is a file"):
        table(ImageFolder(path=str(pets / "dog" / "b.png")))
    with pytest.raises(DataError, match="no such file"):
        table(ImageFolder(path=str(pets / "dgo")))
