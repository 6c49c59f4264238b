import io
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from danlu.blocks.pictures import PICTURE
from danlu.core.errors import RecipeError
from danlu.plugins.sources.digits import Digits


def test_every_digit_is_there():
    table = pa.Table.from_batches(Digits().rows())
    assert table.column("image").type == PICTURE
    counts = Counter(table.column("label").to_pylist())
    assert sum(counts.values()) == 1797
    assert sorted(counts) == list("0123456789")


def test_pixels_are_scaled_to_255():
    picture = next(iter(Digits().rows())).column("image")[5].as_py()["bytes"]
    expected = np.rint(load_digits().images[5] * 255 / 16)
    assert (np.asarray(Image.open(io.BytesIO(picture))) == expected).all()


def test_it_has_no_splits():
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(Digits().rows("test"))
