"""`danlu run` in two processes: by torchrun too, and after a rank was killed or hung, it comes to the same weights."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from danlu.core.artifact import Artifact

HARM = Path(__file__).with_name("harm.py")
TORCHRUN = [
    sys.executable,
    *["-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "-m", "danlu.cli.main"],
]
RECIPE = """
name: moods
steps:
  data:
    do: prepare
    source: {synthetic: {kind: text, size: 60}}
    task: text_classification
  tuned:
    do: finetune
    backbone: {gru: {size: tiny}}
    techniques: [harm]
    steps: 12
    batch_size: 8
    checkpoint_steps: 1
    precision: fp32
"""


def trained(store):
    """The digest of the weights in a store."""
    made = [Artifact.read(path) for path in (store / "artifacts").iterdir()]
    model = next(one for one in made if one.kind == "model")
    files = sorted((model.path / "trained").rglob("*.safetensors"))
    return model, b"".join(file.read_bytes() for file in files)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """Run the recipe in two processes in a store of its own; returns exit code, standard error and the store."""
    folder = tmp_path_factory.mktemp("ranks")
    (folder / "moods.yaml").write_text(RECIPE)

    def started(store, *options, by=(sys.executable, "-m", "danlu.cli.main"), harm=""):
        place = folder / store
        own = {"HARM": f"{harm} {folder / store}.harm"} if harm else {}
        command = [*by, "run", "moods.yaml", "--store", str(place), "--import", str(HARM), "-q", *options]
        done = subprocess.run(command, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=250)
        return done.returncode, done.stderr, place

    return started


@pytest.fixture(scope="module")
def whole(started):
    """The weights of a training that nothing happened to, by torchrun."""
    code, said, store = started("whole", by=TORCHRUN)
    assert code == 0, said
    model, weights = trained(store)
    assert model.numbers["ranks"] == 2
    return weights


def test_a_killed_rank_is_told_and_all_start_again_from_the_last_checkpoint(started, whole):
    code, said, store = started("killed", "--nproc", "2", harm="1 6 kill")
    assert code == 0, said
    assert "! rank 1 was killed by SIGKILL; all ranks start again" in said
    model, weights = trained(store)
    assert any(note.startswith(("resumed at step 5", "resumed at step 6")) for note in model.manifest["notes"])
    assert weights == whole


@pytest.mark.proof
def test_torchrun_starts_the_ranks_again_too(started, whole):
    code, said, store = started("again", by=(*TORCHRUN[:-2], "--max-restarts=1", *TORCHRUN[-2:]), harm="1 6 kill")
    assert code == 0, said
    assert trained(store)[1] == whole


@pytest.mark.proof
def test_a_rank_that_hangs_is_named_and_the_next_run_goes_on(started, whole):
    code, said, _ = started("hung", "--nproc", "2", "--timeout", "15", harm="1 6 hang")
    assert (code, "rank 1 hangs: the others waited 15 s for it" in said) == (4, True)
    code, said, store = started("hung", "--nproc", "2")
    assert code == 0, said
    assert trained(store)[1] == whole


@pytest.mark.proof
def test_a_rank_killed_once_too_often_ends_the_run(started):
    code, said, _ = started("ended", "--nproc", "2", "--restarts", "0", harm="1 6 kill")
    assert (code, "rank 1 has died" in said or "rank 1 was killed by SIGKILL" in said) == (4, True)


def _kill_rank_1(run, store):
    """Wait for the first checkpoint, then end rank 1 as the system would."""
    while run.poll() is None and not any(store.glob("**/step-*/checkpoint.json")):
        time.sleep(0.02)
    for child in psutil.Process(run.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if child.environ().get("RANK") == "1":
                child.kill()


@pytest.mark.proof
def test_a_killed_rank_of_a_shared_model_comes_to_the_same_weights(tmp_path):
    """No technique can end a rank here: what works after a step is refused where each holds a share of the weights."""
    plain = RECIPE.replace("    techniques: [harm]\n", "").replace("steps: 12", "steps: 60")
    (tmp_path / "moods.yaml").write_text(plain)
    found, told = {}, {}
    for name in ("whole", "killed"):
        store = tmp_path / name
        command = [sys.executable, "-m", "danlu.cli.main", "run", "moods.yaml", "--store", str(store), "-q"]
        run = subprocess.Popen(
            [*command, "--nproc", "2", "--shard"],
            cwd=tmp_path,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        if name == "killed":
            _kill_rank_1(run, store)
        told[name] = run.communicate(timeout=250)[1]
        assert run.returncode == 0, told[name]
        found[name] = trained(store)
    assert "! rank 1 was killed by SIGKILL; all ranks start again" in told["killed"]
    assert any(note.startswith("resumed at step") for note in found["killed"][0].manifest["notes"])
    assert found["killed"][1] == found["whole"][1]


def test_shares_need_several_processes(danlu):
    said = danlu("run", "moods.yaml", "--shard")
    assert (said.code, "--shard shares a model among processes, and this is one" in said.err) == (2, True)


def test_what_processes_cannot_share_is_refused_before_they_start(danlu, tmp_path):
    path = tmp_path / "moods.yaml"
    path.write_text(RECIPE.replace("[harm]", "[gradual_unfreezing]").replace("steps: 12", "steps: 2"))
    store, two = ("--store", str(tmp_path / "store")), ("--nproc", "2")
    for command in ("run", "plan", "check"):
        said = danlu(command, str(path), *store, *two)
        assert (said.code, "gradual_unfreezing replaces the draw of a step, which 2 ranks share" in said.err) == (
            2,
            True,
        )
    assert not (tmp_path / "store" / "artifacts").exists()
    assert danlu("run", str(path), *store, "-q").code == 0
    assert danlu("plan", str(path), *store, *two).code == 0, "what is there is not trained again"
