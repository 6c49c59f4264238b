"""Is a training that was killed (-9) the same as one that was not, and does every checkpoint survive a kill?

    python benchmarks/resume_exact.py                        30 steps, 200 saves
    python benchmarks/resume_exact.py --steps 6 --saves 10   the short form that the tests run
    python benchmarks/resume_exact.py --steps 50 --ranks 2   in two processes, of which now one, now the other kills
                                                             itself; both go on in new ones

1. A small transformer with dropout, masked inputs, an averaging technique and looks at a validation set is trained in a
   process that kills itself in step k, for every k; another process goes on for 20 steps more. After each of its steps
   the SHA-256 of weights, optimizer and random numbers, and the losses, must be those of an uninterrupted training; at
   the end the weights too.
   Checkpoints are written beside the training, so the last one may be that of the step before.
2. A process saves checkpoint after checkpoint beside itself, changes all tensors while they are being written, and is
   killed at a random moment, again and again. Every checkpoint that it had reported must be found, whole, and no tensor
   in it may be of a later step.

Planted faults (`--plant`) show that the check can fail: `reseed` leaves the reseeding out, `optimizer` does not restore
the optimizer, `rename` writes checkpoints straight under their final name, `copy` writes from the tensors that change.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from danlu.contracts import Columns, Example, Head, Task, Technique
from danlu.core.errors import DanluError
from danlu.core.events import Events
from danlu.core.launch import Place, environment
from danlu.training import checkpoint, loop, optim
from danlu.training.checkpoint import Checkpoints, State
from danlu.training.job import Job
from danlu.training.ranks import joined, present
from danlu.training.saves import Background
from danlu.training.settings import TrainSettings

AFTER = 20  # steps after the last kill
LOSSES: list[str] = []
SEEN: dict[int, list[Any]] = {}


class Ids:
    """A processor of lists of ids."""

    pad: ClassVar[dict[str, float]] = {"ids": 0}

    def inputs(self, x: Any) -> dict[str, Any]:
        return {"ids": np.array(x, dtype=np.int64)}


class Sums(Task):
    """Whether the sum of some numbers is odd; one number of each training example is masked at random."""

    def columns(self):
        return Columns(("ids",), ("odd",))

    def ask(self, row):
        return row["ids"]

    def gold(self, row):
        return row["odd"]

    def row(self, x, answer):
        return {"ids": x, "odd": answer}

    def examples(self, row, processor):
        return [Example(processor.inputs(row["ids"]), {"odd": np.int64(row["odd"])})]

    def vary(self, example, rng):
        ids = example.inputs["ids"].copy()
        ids[rng.integers(len(ids))] = 1
        return Example({"ids": ids}, example.targets)

    def head(self):
        return Head("input", 2)

    def loss(self, outputs, batch):
        return -outputs["logits"].log_softmax(-1).gather(-1, batch.targets["odd"][:, None])[:, 0]

    def encode(self, x, processor):
        return [Example(processor.inputs(x))]

    def decode(self, x, examples, outputs, processor):
        return int(outputs[0]["logits"].argmax())

    def sample(self, n):
        rng = np.random.default_rng(0)
        rows = [rng.integers(2, 30, size=rng.integers(3, 24)).tolist() for _ in range(n)]
        return [{"ids": ids, "odd": sum(ids) % 2} for ids in rows]


class Encoder(nn.Module):
    """Two transformer layers of width 32, with dropout."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(30, 32, padding_idx=0)
        layer = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.2, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(32, 2)

    def forward(self, ids):
        hidden = self.layers(self.embed(ids), src_key_padding_mask=ids == 0)
        return {"logits": self.head(hidden.mean(1))}


class Average(Technique):
    """An exponential average of the weights, kept at the end."""

    def start(self, run):
        run.kept(self)["average"] = {name: w.detach().clone() for name, w in run.trained().items()}

    def after_step(self, run):
        for name, weight in run.trained().items():
            run.kept(self)["average"][name].lerp_(weight.detach(), 0.1)

    def finish(self, run):
        with torch.no_grad():
            for name, weight in run.trained().items():
                weight.copy_(run.kept(self)["average"][name])


class Killer(Technique):
    """Notes what a step led to, draws random numbers that nobody expects, and kills the process (-9)."""

    def loss(self, loss, run):
        LOSSES.append(loss.sum().item().hex())
        return loss

    def after_step(self, run):
        SEEN[run.step] = [state_sha256(run.state()), *LOSSES]
        LOSSES.clear()
        torch.rand(3), np.random.rand(3), random.random()
        if f"{run.step} {run.ranks.rank}" == os.environ.get("KILL_IN_STEP"):
            os.kill(os.getpid(), signal.SIGKILL)


def state_sha256(state: State) -> str:
    """Over weights, optimizer and what techniques keep, with the names, and the random numbers to come."""
    kept = {f"{part}/{name}": t for part, own in state.kept.items() for name, t in own.get("average", {}).items()}
    digest = hashlib.sha256(repr((random.getstate(), np.random.get_state()[1].tolist())).encode())
    digest.update(torch.get_rng_state().numpy().tobytes())
    for group in (state.weights, state.optimizer, kept):
        for name, tensor in sorted(group.items()):
            digest.update(name.encode() + tensor.detach().numpy().tobytes())
    return digest.hexdigest()


def job(steps: int, folder: Path | None) -> Job:
    task, processor = Sums(), Ids()
    rows = task.sample(120)
    train, held = ([e for row in part for e in task.examples(row, processor)] for part in (rows[:100], rows[100:]))
    settings = TrainSettings(
        precision="fp32", steps=steps, batch_size=8, accumulate=2, lr=0.003, checkpoint_steps=1, evaluate_every=4
    )
    parts = (Average(), Killer())
    return Job(Encoder(), task, processor, train, held, settings, techniques=parts, work=folder, ranks=present())


def train(steps: int, folder: Path | None) -> dict[str, Any]:
    one = job(steps, folder)
    fitted = loop.fit(one)
    digest = hashlib.sha256(b"".join(t.numpy().tobytes() for t in one.module.state_dict().values()))
    return {"sha256": digest.hexdigest(), "resumed_at": fitted.resumed_at, "steps": list(SEEN.items())}


def in_children(work: Callable[[], dict[str, Any]], ranks: int) -> tuple[list[int], dict[str, Any]]:
    """Run in as many forks; returns the signals they died of (0: none) and the answer of the first. The parent never
    runs autograd, which does not survive a fork."""
    env = environment(ranks, 60.0)
    read, write = os.pipe()
    children = []
    for rank in range(ranks):
        children.append(os.fork())
        if children[-1] == 0:
            status = 1
            try:
                place = Place.here(env | {"RANK": str(rank), "DANLU_LAUNCHER": "0"})
                with joined(place) if place else nullcontext():
                    said = json.dumps(work()).encode()
                os.write(write, said if rank == 0 else b"")
                status = 0
            except DanluError:
                pass  # another rank was killed
            finally:
                os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    ended = [os.waitpid(child, 0)[1] for child in children]
    return [os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0 for status in ended], json.loads(told or "{}")


def kill_at_each_step(steps: int, ranks: int) -> dict[str, Any]:
    _, whole = in_children(lambda: train(steps + AFTER, None), ranks)
    found = []
    for step in range(steps):
        victim = step % ranks
        with tempfile.TemporaryDirectory() as folder:
            os.environ["KILL_IN_STEP"] = f"{step} {victim}"
            died, _ = in_children(lambda: train(steps + AFTER, Path(folder)), ranks)
            del os.environ["KILL_IN_STEP"]
            _, again = in_children(lambda: train(steps + AFTER, Path(folder)), ranks)
        at = again.get("resumed_at") or 0
        right = died[victim] == signal.SIGKILL and at in (max(0, step - 1), step)
        found.append(right and again["sha256"] == whole["sha256"] and again["steps"] == whole["steps"][at:])
    different = [k for k, same in enumerate(found) if not same]
    return {"steps": steps, "ranks": ranks, "equal": sum(found), "different": different}


def save_for_ever(folder: Path, acknowledged: int) -> dict[str, Any]:
    checkpoints = Checkpoints(folder, "endless", Events.silent())
    saved = checkpoints.latest()
    step = saved.step if saved else 0
    first = step + 1
    weight, background = torch.empty(250, 1000), Background(checkpoints)
    while True:
        step += 1
        weight.fill_(float(step))
        tensors = {"weight": weight}
        best = step - step % 3
        state = State(step, {"step": step}, tensors, tensors, {"0 a": {"b": weight}}, best, {"weight": weight.clone()})
        background.save(state)
        if step > first:  # the one before is then written
            os.pwrite(acknowledged, str(step - 1).encode(), 0)


def whole(state: State | None, step: int) -> bool:
    """Whether the checkpoint found is at least the last one reported, and everything in it is of one step."""
    if state is None or not step <= state.step <= step + 2:
        return False
    tensors = [state.weights["weight"], state.optimizer["weight"], state.kept["0 a"]["b"]]
    return state.notes == {"step": state.step} and all(bool((t == state.step).all()) for t in tensors)


def kill_while_saving(kills: int) -> dict[str, Any]:
    rng, lost, damaged, inside = random.Random(0), [], 0, 0
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryFile() as note:
        folder = Path(name)
        for k in range(kills):
            before = int(os.pread(note.fileno(), 20, 0) or 0)
            child = os.fork()
            if child == 0:
                try:
                    save_for_ever(folder, note.fileno())
                finally:
                    os._exit(1)
            while int(os.pread(note.fileno(), 20, 0) or 0) < before + 2:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            inside += any(folder.glob(".tmp-*"))
            warnings: list[Any] = []
            found = Checkpoints(folder, "endless", Events([warnings.append])).latest()
            damaged += len(warnings)
            if not whole(found, int(os.pread(note.fileno(), 20, 0))):
                lost.append(k)
    return {"kills": kills, "inside_a_save": inside, "damaged": damaged, "lost": lost}


def plant(fault: str) -> None:
    """Break what the check is about."""
    if fault == "reseed":
        loop.reseed = lambda *_: None
    if fault == "optimizer":
        optim.restore = lambda *_: None
    if fault == "copy":
        State.copied = lambda state: state
    if fault == "rename":
        remove = shutil.rmtree
        checkpoint.temp_beside = lambda final: remove(final, ignore_errors=True) or final
        checkpoint.publish_dir = lambda temp, final: None
        checkpoint.shutil = type("Keeping", (), {"rmtree": staticmethod(lambda *_, **__: None)})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--saves", type=int, default=200)
    parser.add_argument("--plant", choices=["reseed", "optimizer", "rename", "copy"])
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    given = parser.parse_args()
    plant(given.plant or "")
    torch.set_num_threads(1)  # a pool of threads does not survive a fork
    result = {"resume": kill_at_each_step(given.steps, given.ranks), "saves": kill_while_saving(given.saves)}
    resume, saves = result["resume"], result["saves"]
    equal = f"{resume['equal']} equal, bit for bit"
    print(f"{given.ranks} ranks, one killed in each of {resume['steps']} steps and gone on: {equal}")
    lost = f"{len(saves['lost'])} lost, {saves['damaged']} damaged"
    print(f"{saves['kills']} kills while saving ({saves['inside_a_save']} inside a save): {lost}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=1))
    good = resume["equal"] == resume["steps"] and not saves["lost"] and not saves["damaged"]
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
