import gzip
import io
import json
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from danlu.blocks.readers import READERS
from danlu.core import assets


def read(name, folder, split=""):
    return READERS[name].read(folder, split)


def test_every_reader_is_named_by_an_asset():
    assert {a.reader for a in assets.catalogue().values() if a.reader} == set(READERS)


def test_snippets_follow_the_label_rule(tmp_path):
    lines = [
        "1\t2.5\tGood",
        "2\t-0.31\tpoor caf\u00e9",
        "3\t0.29\tso so",
        "4\t-0.299\thm",
        "5\t-3.0\tGood ",
        "6\t0.3\tfine",
    ]
    (tmp_path / "x_GroundTruth.txt").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    assert read("snippets", tmp_path).to_pylist() == [
        {"id": "1", "text": "Good", "label": "positive", "score": 2.5},
        {"id": "2", "text": "poor café", "label": "negative", "score": -0.31},
        {"id": "6", "text": "fine", "label": "positive", "score": 0.3},
    ]


def test_chinese_reviews_keep_duplicates(tmp_path):
    (tmp_path / "neg.txt").write_text("差\n\n差\n")
    (tmp_path / "pos.txt").write_text(" 好 \n差")
    assert read("chinese_reviews", tmp_path).to_pylist() == [
        {"text": "差", "label": "negative"},
        {"text": "差", "label": "negative"},
        {"text": "好", "label": "positive"},
        {"text": "差", "label": "positive"},
    ]


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">i4").tobytes()
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def test_fashion_mnist_reads_idx_files(tmp_path):
    pixels = np.arange(2 * 28 * 28).reshape(2, 28, 28) % 251
    for prefix, labels in (("train", [9, 0]), ("t10k", [3, 3])):
        (tmp_path / f"{prefix}-images-idx3-ubyte.gz").write_bytes(idx(pixels))
        (tmp_path / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(idx(np.array(labels)))
    assert READERS["fashion_mnist"].splits == ("train", "test")
    assert read("fashion_mnist", tmp_path, "test").column("label").to_pylist() == ["dress", "dress"]
    table = read("fashion_mnist", tmp_path)
    assert table.column("label").to_pylist() == ["ankle boot", "T-shirt", "dress", "dress"]
    picture = Image.open(io.BytesIO(table.column("image")[1].as_py()["bytes"]))
    assert (np.asarray(picture) == pixels[1]).all()


def test_openmoji_draws_and_keeps_colours_of_skin_together(tmp_path):
    common = {"group": "people", "openmoji_tags": "", "skintone_base_hexcode": ""}
    told = [
        {**common, "hexcode": "1F44B", "annotation": "waving hand", "tags": "hand, hello"},
        {**common, "hexcode": "1F44B-1F3FB", "annotation": "waving hand: light", "tags": "", "skintone_base_hexcode": "1F44B"},
    ]  # fmt: skip
    (tmp_path / "openmoji.json").write_text(json.dumps(told))
    for one in told:
        (tmp_path / f"{one['hexcode']}.svg").write_text('<svg viewBox="0 0 72 72"><rect width="72" height="72"/></svg>')
    table = read("openmoji", tmp_path)
    assert table.column("text").to_pylist() == ["waving hand, hello", "waving hand: light"]
    assert table.column("base").to_pylist() == ["1F44B", "1F44B"]
    picture = np.asarray(Image.open(io.BytesIO(table.column("image")[0].as_py()["bytes"])))
    assert picture.shape == (64, 64, 3)
    assert picture.max() == 0


def test_mnist_5k_has_the_label_last(tmp_path):
    rows = ["0.0," * 784 + "7", "255.0," * 784 + "0"]
    (tmp_path / "mnist_5k.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    table = read("mnist_5k", tmp_path)
    assert table.column("label").to_pylist() == ["7", "0"]
    assert np.asarray(Image.open(io.BytesIO(table.column("image")[1].as_py()["bytes"]))).min() == 255


REAL = {
    "movie-snippets": (10_316, {"negative": 5201, "positive": 5115}),
    "amazon-snippets": (3_167, {"negative": 1309, "positive": 1858}),
    "editorial-snippets": (3_663, {"negative": 2142, "positive": 1521}),
    "tweet-snippets": (3_754, {"negative": 1171, "positive": 2583}),
    "chinese-reviews": (35_123, {"negative": 18_575, "positive": 16_548}),
    "fashion-mnist": (70_000, None),
    "mnist-5k": (5_000, {str(digit): 500 for digit in range(10)}),
    "german-credit": (1_000, None),
    "conll2003": (20_744, None),
    "peoples-daily": (19_484, None),
    "chinese-poetry": (311_855, None),
    "shakespeare": (783, None),
    "libreoffice-en-zh": (19_755, None),
    "libreoffice-help": (5_951, None),
    "dialogues": (11_953, None),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.demo if name == "movie-snippets" else ()) for name in REAL]
)
def test_the_real_counts(name):
    asset = assets.find(name)
    if not assets.is_here(asset):
        pytest.skip(f"the asset {name} is not here: danlu assets get {name}")
    rows, labels = REAL[name]
    table = read(asset.reader, assets.folder(name), "test" if name == "fashion-mnist" else "")
    assert table.num_rows == (10_000 if name == "fashion-mnist" else rows)
    if labels:
        assert Counter(table.column("label").to_pylist()) == labels
    if name == "chinese-reviews":
        assert len(set(table.column("text").to_pylist())) == 17_410
