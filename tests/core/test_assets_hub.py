"""Assets and models of the hub."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_npm import fetches, left_over

from danlu.core import assets
from danlu.core.assets import Asset, Hub, fingerprint, get, is_here, resolve
from danlu.core.errors import DataError, MachineError, RecipeError

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"

# ---- from the hub ----------------------------------------------------------------------------------------------------


def with_hub(tiny, monkeypatch, hub):
    asset = Asset("tiny", "weights", "", "text", "MIT", tiny.packages, hub=hub)
    monkeypatch.setattr(assets, "catalogue", lambda: {"tiny": asset})
    return asset


class FakeHub:
    """huggingface_hub as far as it is used: `files` lie at every commit."""

    def __init__(self, files):
        self.files, self.asked = files, []

    def snapshot_download(self, name, *, revision, allow_patterns, local_dir=None):
        self.asked.append((name, revision))
        place = Path(local_dir or "snapshot")
        place.mkdir(exist_ok=True)
        for file, text in self.files.items():
            if any(Path(file).match(pattern) for pattern in allow_patterns):
                (place / file).write_text(text)
        return str(place)


def test_the_hub_gives_the_recorded_files_only(tiny, monkeypatch, tmp_path):
    hub = FakeHub({"config.json": "{}", "README.md": "no"})
    monkeypatch.setattr(assets, "_hub", hub)
    with_hub(tiny, monkeypatch, Hub("org/tiny", COMMIT, {"config.json": hashlib.sha256(b"{}").hexdigest()}))
    home = get("tiny", source="hub")
    assert sorted(p.name for p in home.iterdir()) == [".asset.json", "config.json"]
    assert hub.asked == [("org/tiny", COMMIT)]
    assert fetches(tmp_path) == 0


def test_another_file_on_the_hub_is_refused(tiny, monkeypatch, cache):
    monkeypatch.setattr(assets, "_hub", FakeHub({"config.json": "evil"}))
    asset = with_hub(tiny, monkeypatch, Hub("org/tiny", COMMIT, {"config.json": hashlib.sha256(b"{}").hexdigest()}))
    with pytest.raises(DataError, match=r"config\.json of org/tiny has another SHA-256"):
        get("tiny", source="hub")
    assert not is_here(asset)
    assert left_over(cache) == []


@pytest.mark.parametrize("hub", [None, Hub("org/tiny")])
def test_without_a_recorded_revision_the_hub_is_not_asked(tiny, monkeypatch, hub):
    with_hub(tiny, monkeypatch, hub)
    with pytest.raises(RecipeError, match=r"no revision on the hub is recorded.*\n.*danlu assets get tiny"):
        get("tiny", source="hub")


def test_no_network_to_the_hub(cache, monkeypatch):
    class Down:
        def snapshot_download(self, *_, **__):
            raise ConnectionError("Name or service not known\nmore")

    monkeypatch.setattr(assets, "_hub", Down())
    with pytest.raises(
        MachineError, match=r"did not give hub:org/tiny@.*: ConnectionError: Name or .*known\n.*network"
    ):
        get(f"hub:org/tiny@{COMMIT}")


def test_a_model_of_the_hub_without_safetensors_is_refused(cache, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(assets, "_hub", FakeHub({"config.json": "{}", "pytorch_model.bin": "x"}))
    with pytest.raises(DataError, match="holds no safetensors"):
        get(f"hub:org/tiny@{COMMIT}")


@pytest.mark.parametrize("location", ["hub:org/tiny", "hub:org/tiny@main", "hub:org/tiny@1110a24"])
def test_a_place_on_the_hub_needs_a_commit(location):
    for ask in (resolve, fingerprint, get):
        with pytest.raises(RecipeError, match=r"names no commit.*\n.*write hub:org/tiny@ and the 40 digits"):
            ask(location)


@pytest.mark.parametrize("location", ["hub:", "hub:a/b/c", "hub:../x", "hub:org/na me@1"])
def test_what_is_no_place_on_the_hub(location):
    with pytest.raises(RecipeError, match="is not a place on the hub"):
        resolve(location)


def test_a_snapshot_in_the_local_cache_is_found_without_network(cache, tmp_path):
    snapshot = tmp_path / "hf" / "hub" / "models--org--tiny" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    code = "import sys; from danlu.core import assets; print(assets.resolve(sys.argv[1]))"
    command = [sys.executable, "-c", code, f"hub:org/tiny@{COMMIT}"]
    done = subprocess.run(
        command, env={**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(snapshot), done.stderr
    assert fingerprint(f"hub:org/tiny@{COMMIT}") == f"hub:org/tiny@{COMMIT}"


def test_a_snapshot_that_is_not_here_says_how_to_get_it(cache):
    with pytest.raises(MachineError, match=f"is not on this machine\n.*danlu assets get hub:org/gone@{COMMIT}"):
        resolve(f"hub:org/gone@{COMMIT}")
