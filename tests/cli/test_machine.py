import json
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core import assets, machine

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


@pytest.fixture
def calm(monkeypatch):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "cpu_threads", lambda: 4096)


def waiting(danlu, store):
    """What doctor finds wrong with threads, and the values in force."""
    told = danlu("doctor", "--store", store, "--json").json
    wrong = {check["what"]: check["do"] for check in told["checks"] if not check["ok"]}
    about = {what: do for what, do in wrong.items() if "OMP" in what or "torch takes" in what}
    assert bool(about) != ("waiting threads leave their cores to other programs" in [c["what"] for c in told["checks"]])
    return about, told["machine"]["threads_env"]


@pytest.mark.usefixtures("calm")
def test_doctor_tells_how_threads_wait(danlu, tmp_path, monkeypatch):
    in_force = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "4096"}
    assert waiting(danlu, tmp_path) == ({}, in_force)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    said = danlu("doctor", "--store", tmp_path).out
    assert "threads, torch takes 3" in said
    assert "OMP_WAIT_POLICY=PASSIVE, GOMP_SPINCOUNT=1000" in said
    monkeypatch.setenv("GOMP_SPINCOUNT", "0")
    assert waiting(danlu, tmp_path) == ({}, in_force | {"GOMP_SPINCOUNT": "0"})


BEFORE_TORCH = """
import json, os, sys
from importlib.machinery import ModuleSpec

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "ONEDNN_PRIMITIVE_CACHE_CAPACITY")

class Asked(BaseException):
    pass

class Torch:
    def find_spec(self, name, path=None, target=None):
        return ModuleSpec(name, self) if name == "torch" else None

    def create_module(self, spec):
        raise Asked

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Torch())
import danlu
from danlu.cli import main

recipe, store = sys.argv[1:]
ways = {
    "run": lambda: danlu.run(recipe, store=store, trackers=()),
    "advise": lambda: danlu.advise(recipe),
    "tune": lambda: danlu.tune(recipe, store=store),
    "load": lambda: danlu.load("no/such/folder"),
    "danlu run": lambda: main.run(["run", recipe, "--store", store]),
    "danlu compare": lambda: main.run(["compare", "no@1", "no@2", "--store", store]),
    "danlu reproduce": lambda: main.run(["reproduce", "no@1", "--store", store]),
    "danlu serve": lambda: main.run(["serve", "no", "--port", "0", "--store", store]),
}
told = {}
for way, go in ways.items():
    for name in NAMES:
        os.environ.pop(name, None)
    try:
        end = go()
    except (Asked, Exception) as error:
        end = type(error).__name__
    told[way] = [end, *map(os.environ.get, NAMES)]
assert "torch" not in sys.modules
print(json.dumps(told))
"""


def test_threads_are_told_how_to_wait_before_torch_is_asked_for(tmp_path):
    """In a process where torch is a module that only tells when it is asked for."""
    done = subprocess.run(
        [sys.executable, "-c", BEFORE_TORCH, DIGITS, tmp_path / "store"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {way: rest for way, (_, *rest) in told.items() if rest != ["PASSIVE", "1000", "4096"]} == {}
    assert [told[way][0] for way in ("run", "advise", "tune", "danlu run")] == ["Asked"] * 4


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("OMP_WAIT_POLICY", "active", "OMP_WAIT_POLICY=active: waiting threads keep their cores"),
        ("OMP_WAIT_POLICY", "sleepy", "OMP_WAIT_POLICY='sleepy' is neither PASSIVE nor ACTIVE"),
        ("GOMP_SPINCOUNT", "infinity", "GOMP_SPINCOUNT=infinity: threads that wait spin for long"),
        ("GOMP_SPINCOUNT", "10k", "GOMP_SPINCOUNT=10k: threads that wait spin for long"),
        ("GOMP_SPINCOUNT", "many", "GOMP_SPINCOUNT='many' is no number"),
        ("OMP_NUM_THREADS", "5000", "torch takes 5000 threads, and this process may run 4096"),
    ],
)
def test_doctor_warns_of_settings_that_cost_time(danlu, tmp_path, monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    found, _ = waiting(danlu, tmp_path)
    assert len(found) == 1
    assert next(iter(found)).startswith(told)
    assert name in next(iter(found.values()))


def test_doctor_tells_of_the_loops_in_c(danlu, tmp_path, monkeypatch):
    def told():
        checks = danlu("doctor", "--store", tmp_path, "--json").json["checks"]
        return [(check["ok"], check["do"]) for check in checks if "loops in C" in check["what"]]

    monkeypatch.delenv(machine.LOOPS_SWITCH, raising=False)
    monkeypatch.setattr(machine, "cpu_flags", lambda: ["avx512", "bf16"])
    monkeypatch.setattr(machine, "loops", lambda: "the library")
    assert told() == [(True, "")]
    monkeypatch.setenv(machine.LOOPS_SWITCH, "torch")
    assert told() == [(False, "unset DANLU_LOOPS")]
    monkeypatch.delenv(machine.LOOPS_SWITCH)
    monkeypatch.setattr(machine, "loops", lambda: None)
    assert told() == [(False, "install a C compiler (gcc or clang), then install danlu again with pip")]
    monkeypatch.setattr(machine, "cpu_flags", lambda: ["avx2"])
    assert told() == []


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
