"""Checkpoints: whole or not at all, damaged ones passed over, another training's refused."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from training_toys import listen

from danlu.core.errors import MachineError, RecipeError
from danlu.core.events import Events
from danlu.training import checkpoint
from danlu.training.checkpoint import Checkpoints, State


def state(step: int, best_step: int | None = None) -> State:
    tensors = {"weight": torch.full((3, 4), float(step)), "half": torch.ones(2, dtype=torch.bfloat16) * step}
    kept = {
        "0 ema": {"average": {"weight": torch.full((2,), float(step))}, "starts": step, "list": [1.5, None, "x", True]},
        "1 empty": {},
    }
    best = {} if best_step is None else {"weight": torch.full((3, 4), float(best_step))}
    notes = {"looks": [[step, 0.1]], "nan": float("inf")}
    return State(step, notes, tensors, {"model/weight/step": torch.tensor(float(step))}, kept, best_step, best)


def same(a: State, b: State) -> bool:
    def equal(x, y):
        if isinstance(x, torch.Tensor):
            return torch.equal(x, y) and x.dtype == y.dtype
        if isinstance(x, dict):
            return x.keys() == y.keys() and all(equal(x[key], y[key]) for key in x)
        return x == y

    return all(equal(getattr(a, name), getattr(b, name)) for name in State.__dataclass_fields__)


def checkpoints(folder: Path, identity: str = "a") -> tuple[Checkpoints, list]:
    events, heard = listen(Events)
    return Checkpoints(folder, identity, events), heard


def test_there_and_back(tmp_path):
    one, _ = checkpoints(tmp_path)
    assert one.latest() is None
    one.save(state(3, best_step=2))
    assert same(checkpoints(tmp_path)[0].latest(), state(3, best_step=2))


def test_the_last_two_are_kept_each_with_the_best(tmp_path):
    one, _ = checkpoints(tmp_path)
    for step, best in ((1, None), (2, 2), (9, 2), (10, 2)):
        one.save(state(step, best))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000009", "step-0000000010"]
    best = [next(path.glob("best-0000000002.*")) for path in tmp_path.iterdir()]
    assert best[0].stat().st_ino == best[1].stat().st_ino
    assert same(checkpoints(tmp_path)[0].latest(), state(10, 2))


def test_a_better_one_replaces_the_best(tmp_path):
    one, _ = checkpoints(tmp_path)
    one.save(state(1, 1))
    one.save(state(2, 2))
    assert torch.equal(one.latest().best["weight"], torch.full((3, 4), 2.0))


def damage_tensor(folder):
    path = folder / "optimizer.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        damage_tensor,
        lambda folder: (folder / "weights.safetensors").unlink(),
        lambda folder: (folder / "checkpoint.json").unlink(),
        lambda folder: (folder / "checkpoint.json").write_text("{"),
        lambda folder: (folder / "checkpoint.json").write_text("[]"),
        lambda folder: (folder / "kept.safetensors").write_bytes(b""),
    ],
)
def test_a_damaged_one_is_passed_over_with_a_warning(tmp_path, damage):
    one, _ = checkpoints(tmp_path)
    one.save(state(1))
    one.save(state(2))
    damage(tmp_path / "step-0000000002")
    two, heard = checkpoints(tmp_path)
    assert same(two.latest(), state(1))
    assert [event.kind for event in heard] == ["warning"]
    assert "step-0000000002 is damaged" in heard[0].data["text"]
    two.save(state(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-0000000001", "step-0000000003"]
    assert same(checkpoints(tmp_path)[0].latest(), state(3))


def test_a_damaged_one_of_the_same_step_is_written_again(tmp_path):
    one, _ = checkpoints(tmp_path)
    one.save(state(1))
    one.save(state(2))
    damage_tensor(tmp_path / "step-0000000002")
    two, _ = checkpoints(tmp_path)
    two.latest()
    two.save(state(2))
    assert same(checkpoints(tmp_path)[0].latest(), state(2))


def test_when_all_are_damaged_the_training_begins_anew(tmp_path):
    one, _ = checkpoints(tmp_path)
    one.save(state(1))
    damage_tensor(tmp_path / "step-0000000001")
    assert checkpoints(tmp_path)[0].latest() is None


def test_one_of_another_training_is_refused(tmp_path):
    checkpoints(tmp_path, "a")[0].save(state(1))
    with pytest.raises(RecipeError, match="it holds checkpoints of another training"):
        checkpoints(tmp_path, "b")[0].latest()


def test_leftovers_of_a_kill_are_swept(tmp_path):
    (tmp_path / ".tmp-dead").mkdir()
    (tmp_path / ".tmp-dead" / "weights.safetensors").write_bytes(b"half")
    checkpoints(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_techniques_may_keep_one_tensor_twice_and_nothing_that_is_not_data(tmp_path):
    one, _ = checkpoints(tmp_path)
    shared = torch.ones(3)
    twice = state(1)
    twice.kept = {"0 a": {"x": shared, "y": shared, "view": shared[:2]}}
    one.save(twice)
    assert same(one.latest(), twice)
    wrong = state(2)
    wrong.kept = {"0 a": {"hook": [print]}}
    with pytest.raises(TypeError, match="kept/0 a/hook/0 is a builtin_function_or_method"):
        one.save(wrong)
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]


def test_everything_is_on_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """fsync of the files, then rename, then fsync of the parent."""
    said = []
    real_fsync, real_rename = os.fsync, Path.rename
    monkeypatch.setattr(
        os, "fsync", lambda fd: said.append(("fsync", Path(f"/proc/self/fd/{fd}").readlink().name)) or real_fsync(fd)
    )
    monkeypatch.setattr(
        Path, "rename", lambda self, to: said.append(("rename", Path(to).name)) or real_rename(self, to)
    )
    checkpoints(tmp_path)[0].save(state(1))
    rename = said.index(("rename", "step-0000000001"))
    synced = {name for what, name in said[:rename] if what == "fsync"}
    assert synced >= {"weights.safetensors", "optimizer.safetensors", "kept.safetensors", "checkpoint.json"}
    assert said[rename + 1 :] == [("fsync", tmp_path.name)]


def test_a_full_disk_is_told_and_leaves_the_one_before(tmp_path, monkeypatch):
    one, _ = checkpoints(tmp_path)
    one.save(state(1))

    def full(tensors, path):
        Path(path).write_bytes(b"half")
        raise checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(MachineError, match="No space left on device"):
        one.save(state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]
    assert same(one.latest(), state(1))


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("mount"), reason="only root may mount a small disk")
def test_a_disk_that_is_really_full(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        one, _ = checkpoints(tmp_path)
        one.save(state(1))
        large = state(2)
        large.weights = {"weight": torch.zeros(200_000)}
        with pytest.raises(MachineError, match="could not write: No space left on device"):
            one.save(large)
        assert [path.name for path in tmp_path.iterdir()] == ["step-0000000001"]
        assert same(one.latest(), state(1))
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_what_is_written_is_json_and_safetensors(tmp_path):
    checkpoints(tmp_path)[0].save(state(1, 1))
    folder = tmp_path / "step-0000000001"
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}
    record = json.loads((folder / "checkpoint.json").read_text())
    assert record["files"].keys() == {path.name for path in folder.iterdir()} - {"checkpoint.json"}
