import gzip
import json

import pyarrow as pa
import pytest

from danlu.core import assets
from danlu.core.digests import folder_digests
from danlu.core.errors import DataError, MachineError, RecipeError
from danlu.plugins.sources.asset import Asset


def conforming(folder):
    return {"asset": {"asset": "movie-snippets"}}


@pytest.fixture
def fetched(tmp_path, monkeypatch):
    """A made-up `movie-snippets` and `fashion-mnist` in the cache."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))

    def put(name, files):
        home = assets._home(assets.find(name))
        home.mkdir(parents=True)
        for file, content in files.items():
            (home / file).write_bytes(content)
        record = {"name": name, "packages": assets._pins(assets.find(name)), "files": folder_digests(home)}
        (home / ".asset.json").write_text(json.dumps(record))
        return home

    return put


def test_rows_and_fingerprint(fetched):
    home = fetched("movie-snippets", {"x_GroundTruth.txt": b"1\t2\tgood\n2\t-2\tbad\n"})
    source = Asset(asset="movie-snippets")
    assert source.splits() == ()
    assert pa.Table.from_batches(source.rows()).column("label").to_pylist() == ["positive", "negative"]
    assert source.fingerprint() == f"{assets.fingerprint('asset:movie-snippets')} reader 1"
    (home / "x_GroundTruth.txt").write_text("1\t2\tgood\n")
    with pytest.raises(DataError, match="changed since it was fetched"):
        source.fingerprint()


def test_the_splits_an_asset_brings(fetched):
    files = {}
    for prefix, n in (("train", 3), ("t10k", 2)):
        files[f"{prefix}-images-idx3-ubyte.gz"] = gzip.compress(
            bytes([0, 0, 8, 3, 0, 0, 0, n, 0, 0, 0, 2, 0, 0, 0, 2]) + bytes(4 * n)
        )
        files[f"{prefix}-labels-idx1-ubyte.gz"] = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, n]) + bytes(n))
    fetched("fashion-mnist", files)
    source = Asset(asset="fashion-mnist")
    assert source.splits() == ("train", "test")
    assert [sum(batch.num_rows for batch in source.rows(split)) for split in ("train", "test", "")] == [3, 2, 5]
    with pytest.raises(RecipeError, match="no split 'dev'; it has: train, test"):
        list(source.rows("dev"))


def test_an_absent_asset_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path))
    for ask in (lambda s: list(s.rows()), lambda s: s.fingerprint()):
        with pytest.raises(MachineError, match="danlu assets get movie-snippets"):
            ask(Asset(asset="movie-snippets"))


def test_unknown_and_unreadable_assets():
    with pytest.raises(RecipeError, match="did you mean movie-snippets"):
        list(Asset(asset="movie-snippet").rows())
    with pytest.raises(RecipeError, match=r"minilm has no reader yet\n.*movie-snippets"):
        list(Asset(asset="minilm").rows())
