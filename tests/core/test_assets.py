import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fake_npm import fetches, left_over

from danlu.core import assets
from danlu.core.assets import Asset, Package, fingerprint, folder, get, is_here, pickles, resolve
from danlu.core.errors import DataError, MachineError, RecipeError

COMMIT = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"


# ---- the catalogue ---------------------------------------------------------------------------------------------------


def test_the_catalogue_is_whole():
    found = assets.catalogue()
    assert len(found) == 28
    for asset in found.values():
        assert asset.kind in ("data", "weights")
        assert asset.about
        assert asset.modality
        assert asset.licence
        assert asset.packages
        for package in asset.packages:
            assert len(bytes.fromhex(package.sha256)) == 32
            assert package.members
            assert 0 < package.size_mb < 100
            assert bool(package.file) == (package.client != "apt")


def test_the_demo_assets_are_86_megabytes():
    assert sum(assets.find(name).size_mb for name in ("movie-snippets", "minilm")) == pytest.approx(86)


def test_an_unknown_asset_names_the_nearest():
    with pytest.raises(RecipeError, match=r"no asset called 'minilmm'; did you mean minilm\?"):
        assets.find("minilmm")


# ---- fetching --------------------------------------------------------------------------------------------------------


def test_only_the_members_wanted_are_kept(tiny, cache, tmp_path):
    assert not is_here(tiny)
    home = get("tiny")
    assert is_here(tiny)
    assert home == folder("tiny") == cache / "assets" / "tiny-1.0"
    assert sorted(p.name for p in home.iterdir()) == [".asset.json", "config.json", "words.txt"]
    record = json.loads((home / ".asset.json").read_text())
    assert record["files"]["words.txt"] == hashlib.sha256(b"a b").hexdigest()
    assert left_over(cache) == []


def test_an_absent_asset_says_how_to_get_it(tiny):
    with pytest.raises(MachineError, match=r"comes from tiny 1\.0 \(npm, 0\.1 MB\)\n.*danlu assets get tiny"):
        folder("tiny")


def test_what_is_here_is_not_fetched_again(tiny, tmp_path):
    get("tiny")
    get("tiny")
    assert fetches(tmp_path) == 1


@pytest.mark.parametrize("harm", ["change", "remove", "add"])
def test_a_harmed_asset_is_told_and_fetched_again(tiny, tmp_path, harm):
    home = get("tiny")
    good = fingerprint("asset:tiny")
    if harm == "change":
        (home / "words.txt").write_text("a c")
    elif harm == "remove":
        (home / "words.txt").unlink()
    else:
        (home / "new.txt").write_text("new")
    with pytest.raises(DataError, match=r"was changed since it was fetched\n.*danlu assets get tiny"):
        fingerprint("asset:tiny")
    get("tiny")
    assert fetches(tmp_path) == 2
    assert fingerprint("asset:tiny") == good


def test_a_new_pin_fetches_anew(tiny, tmp_path, monkeypatch):
    get("tiny")
    (package,) = tiny.packages
    wider = Package("npm", "tiny", "1.0", package.sha256, 0.1, ("package/model/words.txt",))
    monkeypatch.setattr(assets, "catalogue", lambda: {"tiny": Asset("tiny", "weights", "", "text", "MIT", (wider,))})
    assert sorted(p.name for p in get("tiny").iterdir()) == [".asset.json", "words.txt"]


def test_a_wrong_hash_leaves_nothing(tiny, cache, monkeypatch):
    wrong = Package("npm", "tiny", "1.0", "0" * 64, 0.1, ("package/model/*",))
    monkeypatch.setattr(assets, "catalogue", lambda: {"tiny": Asset("tiny", "weights", "", "text", "MIT", (wrong,))})
    with pytest.raises(DataError, match="another SHA-256"):
        get("tiny")
    assert not is_here(tiny)
    assert left_over(cache) == []


@pytest.mark.parametrize("step", ["extract", "write_atomic"])
def test_a_full_disk_leaves_nothing(tiny, cache, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(assets.archives if step == "extract" else assets, step, full)
    with pytest.raises(MachineError, match=r"No space left on device \(.* MB free\)"):
        get("tiny")
    assert not is_here(tiny)
    assert left_over(cache) == []


def test_a_cache_that_is_a_file(tiny, cache):
    cache.write_text("a file")
    with pytest.raises(MachineError, match=r"cache: a file is where a folder is needed"):
        get("tiny")


def test_an_unknown_way_to_fetch(tiny):
    with pytest.raises(RecipeError, match="choose package or hub"):
        get("tiny", source="torrent")


CHILD = """
import sys
from danlu.core import assets
from danlu.core.assets import Asset, Package
package = Package("npm", "tiny", "1.0", {digest!r}, 0.1, ("package/model/*",))
assets.catalogue = lambda: {{"tiny": Asset("tiny", "weights", "", "text", "MIT", (package,))}}
print(assets.get("tiny"), flush=True)
"""


def start_child(tiny, slow):
    command = [sys.executable, "-c", CHILD.format(digest=tiny.packages[0].sha256)]
    return subprocess.Popen(command, env={**os.environ, "SLOW": str(slow)}, stdout=subprocess.PIPE, text=True)


def test_four_processes_at_once_fetch_it_once(tiny, cache, tmp_path):
    children = [start_child(tiny, 0.5) for _ in range(4)]
    assert {child.communicate()[0].strip() for child in children} == {str(cache / "assets" / "tiny-1.0")}
    assert fetches(tmp_path) == 1


def test_a_kill_leaves_nothing_half_and_the_next_one_cleans_up(tiny, cache, tmp_path):
    child = start_child(tiny, 8)
    deadline = time.monotonic() + 30
    while not list((cache / "assets").glob("*/0/package/tiny.tgz.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not is_here(tiny)
    assert len(left_over(cache)) == 1
    get("tiny")
    assert is_here(tiny)
    assert left_over(cache) == []


# ---- folders ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def model(cache, tmp_path):
    place = tmp_path / "model"
    place.mkdir()
    (place / "config.json").write_text("{}")
    (place / "model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")
    return place


def test_a_folder_relative_to_the_recipe(model, tmp_path):
    assert resolve("./model", tmp_path) == tmp_path / "model"
    assert resolve(str(model)) == model


def test_a_folder_that_is_not_there(model, tmp_path):
    with pytest.raises(DataError, match=r"no such folder\n.*asset:NAME"):
        resolve("./mode", tmp_path)
    with pytest.raises(DataError, match="it is a file"):
        resolve("./model/config.json", tmp_path)


def test_a_fingerprint_is_of_the_content(model, tmp_path):
    before = fingerprint("./model", tmp_path)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert fingerprint("./copy", tmp_path) == before
    (copy / "config.json").write_text("{ }")
    assert fingerprint("./copy", tmp_path) != before


def test_an_asset_and_a_copy_of_it_have_one_fingerprint(tiny, tmp_path):
    (tmp_path / "copy").mkdir()
    for file in get("tiny").glob("*"):
        (tmp_path / "copy" / file.name).write_bytes(file.read_bytes())
    assert fingerprint("asset:tiny") == fingerprint(str(tmp_path / "copy"))


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "model.pt", "model.pth", "model.pkl", "w.ckpt", "flax.msgpack", "tf.h5"]
)
def test_a_folder_with_pickled_weights_only_is_refused(model, name):
    (model / "model.safetensors").rename(model / name)
    with pytest.raises(DataError, match=rf"pickled \({name}\)(.|\n)*weights_only=True"):
        resolve(str(model))


@pytest.mark.parametrize("name", ["model.safetensors", "weights", "weights.dat"])
def test_a_pickle_under_another_name_is_found(model, name):
    (model / "model.safetensors").unlink()
    (model / name).write_bytes(b"\x80\x04\x95anything")
    with pytest.raises(DataError, match=rf"pickled \({name}\)"):
        resolve(str(model))


def test_pickles_beside_safetensors_are_listed_and_let_be(model):
    (model / "optimizer.pt").write_bytes(b"\x80\x02x")
    assert resolve(str(model)) == model
    assert pickles(model) == [model / "optimizer.pt"]


def test_the_command_that_converts_works(model, tmp_path):
    torch = pytest.importorskip("torch")
    (model / "model.safetensors").unlink()
    weight = torch.arange(6.0).reshape(2, 3)
    torch.save({"a": weight, "tied": weight}, model / "pytorch_model.bin")
    with pytest.raises(DataError) as refused:
        resolve(str(model))
    command = refused.value.do.partition("convert it once: ")[2]
    subprocess.run(["bash", "-c", command.replace("python ", f"{sys.executable} ", 1)], cwd=model, check=True)
    loaded = __import__("safetensors.torch").torch.load_file(model / "model.safetensors")
    assert torch.equal(loaded["tied"], weight)
    assert resolve(str(model)) == model


# ---- the real ones ---------------------------------------------------------------------------------------------------


@pytest.mark.demo
def test_the_demo_assets_are_what_they_were(monkeypatch):
    assert len((folder("movie-snippets") / "movieReviewSnippets_GroundTruth.txt").read_text().splitlines()) == 10_605
    files = json.loads((folder("minilm") / ".asset.json").read_text())["files"]
    assert files == assets.find("minilm").hub.files
    assert pickles(resolve("asset:minilm")) == []
