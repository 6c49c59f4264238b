from pathlib import Path

import pytest

from danlu.core import assets

DIGITS = Path(__file__).parents[2] / "recipes" / "digits.yaml"


def test_doctor_looks_and_changes_nothing(danlu, tmp_path):
    said = danlu("doctor", "--store", tmp_path / "store")
    assert said.code == 0
    for told in ("processor", "memory", "disk", str(tmp_path / "store"), "torch"):
        assert told in said.out
    assert not (tmp_path / "store").exists()
    told = danlu("doctor", "--store", tmp_path, "--json").json
    assert {"machine", "store", "assets", "checks"} == told.keys()
    assert all(check["do"] or check["ok"] for check in told["checks"])


def test_what_is_missing_is_told_with_its_mend(danlu, tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "is_here", lambda asset: asset.name != "minilm")
    said = danlu("doctor", "--store", tmp_path)
    assert "look  not here: minilm\n      → danlu assets get minilm" in said.out


def test_a_damaged_registry_and_a_broken_plugin_are_told(danlu, digits_store, monkeypatch):
    from danlu.core import plugin

    (digits_store / "registry.db").write_bytes(b"no database" * 100)
    broken = plugin.Entry("methods", "odd", "odd:Odd", "entry point", "", "", extra="odd", error="ImportError: no odd")
    monkeypatch.setattr(plugin, "entries", lambda family=None: [broken])
    said = danlu("doctor", "--store", digits_store, "--json")
    assert (said.code, danlu("doctor", "--store", digits_store).code) == (4, 4)
    told = said.json
    faults = {check["what"]: check["do"] for check in told["checks"] if not check["ok"]}
    assert faults["methods/odd can't be used: ImportError: no odd"] == "pip install 'danlu[odd]'"
    assert any("database" in what or "registry" in what for what in faults)


def grown(path, content=None):
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" " if content is None else content)


def faults(danlu, store, *options):
    checks = danlu("doctor", *options, "--store", store, "--json").json["checks"]
    return {check["what"]: check["do"] for check in checks if not check["ok"] and str(store) in check["what"]}


def test_doctor_tells_of_damaged_artifacts_and_blobs(danlu, digits_store):
    assert faults(danlu, digits_store) == faults(danlu, digits_store, "--store-check") == {}
    assert (
        "every byte of the store is as it was written" in danlu("doctor", "--store-check", "--store", digits_store).out
    )
    one, other, third = sorted((digits_store / "artifacts").iterdir())[:3]
    grown(one / "manifest.json", b"{}")
    grown(next(path for path in sorted(other.rglob("*")) if path.is_file() and path.name != "manifest.json"))
    sly = next(path for path in sorted(third.rglob("*")) if path.is_file() and path.name != "manifest.json")
    grown(sly, bytes([sly.read_bytes()[0] ^ 1]) + sly.read_bytes()[1:])
    blobs = sorted(path for path in (digits_store / "blobs").rglob("*") if path.is_file() and len(path.name) == 64)
    grown(blobs[0])
    quick, full = faults(danlu, digits_store), faults(danlu, digits_store, "--store-check")
    assert len(quick) == 3
    assert quick.items() < full.items()
    assert [what for what in full.keys() - quick.keys() if str(third) in what]
    assert any(
        what.startswith(f"{one}: its manifest.json") and do.startswith(f"rm -r {one}") for what, do in quick.items()
    )
    assert any("of digits@1 is damaged or missing" in what for what in quick)


def test_clean_names_a_broken_artifact_and_goes_on(danlu, digits_store):
    broken = sorted((digits_store / "artifacts").iterdir())[0]
    grown(broken / "manifest.json", b"{}")
    orphan = digits_store / "work" / ("ab" * 32)
    orphan.mkdir()
    (orphan / "checkpoint").write_bytes(b"x" * 3_000_000)
    said = danlu("clean", "--store", digits_store)
    assert said.code == 0
    assert f"! left alone: {broken}: its manifest.json" in said.out
    assert "freed 3.0 MB" in said.out
    assert broken.is_dir()
    assert danlu("clean", "--store", digits_store, "--json").json["broken"][0]["path"] == str(broken)


def files(store):
    return {path for path in store.rglob("*") if path.is_file() and path.name not in ("clean", ".lock")}


def test_clean_shows_and_frees_what_nobody_needs(danlu, digits_store):
    orphan = digits_store / "blobs" / "ab" / ("ab" * 32)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"x" * 3_000_000)
    before = files(digits_store)
    dry = danlu("clean", "--dry-run", "--store", digits_store)
    assert "would free 3.0 MB" in dry.out
    assert "a file that no version needs" in dry.out
    assert files(digits_store) == before
    told = danlu("clean", "--store", digits_store, "--json").json
    assert (told["bytes"], [thing["path"] for thing in told["removed"]]) == (3_000_000, [str(orphan)])
    assert files(digits_store) == before - {orphan}
    assert "freed 0.0 MB" in danlu("clean", "--store", digits_store).out


def test_clean_frees_old_artifacts_and_a_version_goes_on_answering(danlu, digits_store, picture):
    for path in (digits_store / "runs").iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    said = danlu("clean", "--store", digits_store)
    assert "model of tuned" in said.out
    assert "dataset of data" in said.out
    assert not list((digits_store / "artifacts").iterdir())
    answer = danlu("predict", "digits", picture, "--store", digits_store, "--json").json["answers"][0]
    assert 0 < answer["confidence"] <= 1
    assert danlu("versions", "digits", "--card", "--store", digits_store).code == 0


def test_clean_of_nothing_makes_nothing(danlu, tmp_path):
    said = danlu("clean", "--store", tmp_path / "none")
    assert "freed 0.0 MB" in said.out
    assert not (tmp_path / "none").exists()


@pytest.fixture
def picture(tmp_path):
    from PIL import Image

    Image.new("L", (8, 8), 128).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"
