import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from danlu.core.errors import RecipeError
from danlu.plugins.sources.synthetic import Synthetic


def table(**options):
    return pa.Table.from_batches(Synthetic(**options).rows())


def arrays(found):
    if "text" in found.column_names:
        return CountVectorizer().fit_transform(found.column("text").to_pylist())
    pictures = [np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in found.column("image").to_pylist()]
    bright = np.stack(pictures) > 128
    return np.stack(
        [
            bright.sum((1, 2)),
            bright.any(1).sum(1),
            bright.any(2).sum(1),
            bright[:, :-1].sum((1, 2)) - (bright[:, :-1] & bright[:, 1:]).sum((1, 2)),
        ],
        1,
    )


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("classes", [2, 6])
def test_the_labels_can_be_learnt(kind, classes):
    found = table(kind=kind, size=600, classes=classes)
    assert found.num_rows == 600
    labels = np.array(found.column("label").to_pylist())
    assert sorted(np.unique(labels, return_counts=True)[1]) == [600 // classes] * classes
    x = arrays(found)
    if kind == "image":
        x = (x - x.mean(0)) / x.std(0)
    model = LogisticRegression(max_iter=2000).fit(x[:400], labels[:400])
    assert model.score(x[400:], labels[400:]) > (0.95 if kind == "text" else 0.75)


@pytest.mark.parametrize("kind", ["text", "image"])
def test_the_same_options_give_the_same_rows(kind):
    assert table(kind=kind, size=50).equals(table(kind=kind, size=50))
    assert not table(kind=kind, size=50).equals(table(kind=kind, size=50, seed=1))


def test_noise_replaces_labels():
    clean, noisy = table(size=4000, classes=3), table(size=4000, classes=3, noise=0.25)
    assert clean.column("text").equals(noisy.column("text"))
    differs = np.array(clean.column("label").to_pylist()) != np.array(noisy.column("label").to_pylist())
    assert differs.mean() == pytest.approx(0.25, abs=0.03)


def test_it_is_streamed():
    batches = list(Synthetic(size=3000).rows())
    assert [batch.num_rows for batch in batches] == [1024, 1024, 952]


def test_it_has_no_splits():
    with pytest.raises(RecipeError, match="no split 'test'"):
        list(Synthetic().rows("test"))
