import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from danlu.blocks.pictures import PICTURE, check_pictures, picture_column, png
from danlu.core.errors import DataError


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_png_keeps_every_value(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert (np.asarray(Image.open(io.BytesIO(png(pixels)))) == pixels).all()


def test_a_column_of_pictures():
    column = picture_column(np.zeros((2, 4, 4), np.uint8))
    assert column.type == PICTURE
    assert column[1].as_py()["path"] is None
    check_pictures(pa.table({"image": column}), "image")


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"bytes": b"this is no picture", "path": None}, "not a picture"),
        ({"bytes": png(np.zeros((64, 64), np.uint8))[:60], "path": None}, "not a picture"),
        ({"bytes": None, "path": "gone.png"}, "no such picture"),
        ({"bytes": None, "path": None}, "a picture is"),
    ],
)
def test_what_is_no_picture_names_its_row_and_column(bad, match):
    good = {"bytes": png(np.zeros((4, 4), np.uint8)), "path": None}
    table = pa.table({"photo": pa.chunked_array([pa.array([good], PICTURE), pa.array([good, bad, good], PICTURE)])})
    with pytest.raises(DataError, match=rf"row 3, column photo.*{match}"):
        check_pictures(table, "photo")


def test_paths_of_pictures(tmp_path):
    (tmp_path / "good.png").write_bytes(png(np.zeros((4, 4), np.uint8)))
    (tmp_path / "bad.png").write_text("text")
    check_pictures(pa.table({"file": [str(tmp_path / "good.png")]}), "file")
    with pytest.raises(DataError, match=r"row 2, column file.*bad\.png"):
        check_pictures(pa.table({"file": [str(tmp_path / "good.png"), str(tmp_path / "bad.png")]}), "file")
