import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from danlu.blocks.pictures import PICTURE, column, picture_column, read_pictures
from danlu.core.errors import DataError


@pytest.mark.parametrize("shape", [(2, 5, 7), (2, 5, 7, 3)])
def test_a_column_of_pictures_keeps_every_value(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    made = picture_column(pixels)
    assert made.type == PICTURE
    for cell, given in zip(made.to_pylist(), pixels, strict=True):
        assert cell["path"] is None
        assert (np.asarray(Image.open(io.BytesIO(cell["bytes"]))) == given).all()


def test_the_files_that_a_column_names(tmp_path):
    (tmp_path / "one.png").write_bytes(b"whatever it holds")
    batch = pa.RecordBatch.from_pydict({"file": ["one.png", "", None], "label": ["a", "b", "c"]})
    read = read_pictures(batch, ["file"], tmp_path)
    assert column(read, "file").to_pylist() == [{"bytes": b"whatever it holds", "path": None}, None, None]
    assert column(read, "label") == column(batch, "label")
    with pytest.raises(DataError, match=r"one\.png: the picture can't be read: No such file"):
        read_pictures(batch, ["file"], tmp_path / "elsewhere")
    with pytest.raises(DataError, match="no column 'photo' of pictures; the columns are: file, label"):
        read_pictures(batch, ["photo"], tmp_path)
