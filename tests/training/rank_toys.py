"""Trainings that several ranks share. As a program it is one rank: cases in, what each came to out, as JSON.

RANK=0 WORLD_SIZE=2 MASTER_ADDR=… MASTER_PORT=… python rank_toys.py FOLDER CASE…
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import training_toys as toys
from torch import nn

from danlu.blocks import table_gradients
from danlu.blocks.torch_form import TorchForm
from danlu.core.errors import DanluError
from danlu.core.launch import Place, environment
from danlu.training.job import Judge
from danlu.training.loop import fit
from danlu.training.ranks import joined, present


class Stop(Exception):
    """The end of a training before its time, in every rank."""


class Idle(toys.Tagger):
    """A tagger with a weight that no pass uses, and one that only long inputs use."""

    def __init__(self):
        super().__init__(dropout=0.0)
        self.unused, self.seldom = nn.Linear(2, 2), nn.Linear(3, 3)

    def forward(self, ids):
        said = super().forward(ids)
        return {"logits": self.seldom(said["logits"])} if ids.shape[1] > 12 else said


class Noise(toys.EMA):
    """Adds to the gradient what it draws."""

    def before_step(self, run):
        for weight in run.trained().values():
            weight.grad.add_(toys.torch.randn_like(weight) * 0.01)


class Draws(toys.EMA):
    """Chooses the examples itself."""

    def draw(self, chosen, run, rng):
        return chosen[:1]


class Deep(nn.Module):
    """Layers in a list, weights used twice, and a frozen one."""

    def __init__(self):
        super().__init__()
        toys.torch.manual_seed(0)
        self.embed, self.place = nn.Embedding(12, 6), nn.Linear(6, 6).requires_grad_(False)
        self.layers = nn.ModuleList(nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 6)) for _ in range(3))
        self.register_buffer("seen", toys.torch.zeros((), dtype=toys.torch.int64))

    def forward(self, ids):
        hidden = self.place(self.embed(ids))
        self.seen += ids.numel()
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        said = {"logits": hidden @ self.embed.weight[:3].T}
        return said | {"table": self.embed.weight} if self.training else said


def asked(module, device):
    """What a form of the module answers, as a number."""
    return float(TorchForm(module).forward({"ids": toys.np.array([[1, 2, 3]])})["logits"].sum())


def act(what):
    """A technique by which rank 1 does something in its fourth step."""

    def see(run):
        if run.ranks.rank == 1 and run.step == 3:
            what()

    return toys.Look(see)


def stop(run):
    if run.step == 4:
        raise Stop


def fail():
    raise ValueError("this row is broken")


def judged():
    """A number that no two processes agree on."""
    return Judge("mood", "higher", lambda module, device: float(os.getpid() % 1000))


def quiet(task=None, module=None, **options):
    return toys.job(task or toys.Tagging(), module or toys.Tagger(dropout=0.0), **{"steps": 8, "lr": 0.02} | options)


CASES = {
    "plain": quiet,
    "accumulate": lambda **k: quiet(accumulate=3, n=29, **k),
    "varied": lambda **k: quiet(toys.NoisyTagging(), n=20, **k),
    "few": lambda **k: quiet(n=5, batch_size=2, **k),
    "turns": lambda **k: quiet(toys.Adversaries(), still_pair(), **k),
    "beside": lambda **k: quiet(toys.BesideTagging(), **k),
    "idle": lambda **k: quiet(module=Idle(), **k),
    "techniques": lambda **k: quiet(techniques=(toys.EWC(), toys.EMA(), Noise()), **k),
    "dropped": lambda **k: quiet(module=toys.Tagger(dropout=0.5), **k),
    "watched": lambda **k: quiet(
        validation=toys.examples(toys.Tagging(), 10, skip=40), evaluate_every=2, patience=2, lr=0.5, **k
    ),
    "judged": lambda **k: quiet(validation=toys.examples(toys.Tagging(), 4), evaluate_every=2, judge=judged(), **k),
    "one": lambda **k: quiet(checkpoint_steps=1, **k),
    "two": lambda **k: quiet(module=toys.Tagger(dropout=0.5), checkpoint_steps=1, **k),
    "deep": lambda **k: quiet(
        module=Deep(),
        validation=toys.examples(toys.Tagging(), 4, skip=40),
        evaluate_every=2,
        judge=Judge("sum", "higher", asked),
        checkpoint_steps=1,
        **k,
    ),
    "deep 1": lambda **k: CASES["deep"](**k),
    "deep 2": lambda **k: CASES["deep"](**k),
    "averaged": lambda **k: quiet(techniques=(toys.EMA(),), **k),
    "columns": lambda **k: quiet(optimizer="adafactor", **k),
    "counting": lambda **k: quiet(module=toys.Counting(), **k),
    "private": lambda **k: quiet(techniques=(toys.DP2(),), **k),
    "draws": lambda **k: quiet(techniques=(Draws(),), **k),
    "seeds": lambda **k: quiet(seed=present().rank, **k),
    "dies": lambda **k: quiet(techniques=(act(lambda: os.kill(os.getpid(), signal.SIGKILL)),), **k),
    "hangs": lambda **k: quiet(techniques=(act(lambda: time.sleep(60)),), **k),
    "fails": lambda **k: quiet(techniques=(act(fail),), **k),
}


def still_pair():
    pair = toys.Pair()
    pair.tagger.drop.p = 0.0
    return pair


def come_to(case, folder):
    """What a case comes to: losses, weights' digest, looks. `two!` is stopped after four steps; both sorts resume."""
    name = case.rstrip("!")
    options = {"work": Path(folder) / name} if name in ("one", "two", "deep 1", "deep 2") else {}
    table_gradients.SMALLEST = 1 if name == "plain" else 2**20
    job = CASES[name](**options)
    job.ranks = present()
    see = stop if case.endswith("!") else lambda run: None
    if name.startswith("deep"):
        job.techniques = (toys.Hears(see),)
    elif not job.ranks.sharded:
        job.techniques = (*job.techniques, toys.LookAfter(see))
    try:
        fitted = fit(job)
    except (Stop, DanluError) as fault:
        return {"error": str(fault)}
    digest = hashlib.sha256()
    for weight in job.module.parameters():
        digest.update(weight.detach().numpy().tobytes())
    numbers = fitted.numbers
    return {
        "loss": [loss for _, loss in numbers["loss"]],
        "weights": [weight.detach().sum().item() for weight in job.module.parameters()],
        "sha256": digest.hexdigest(),
        "looks": numbers["validation"]["looks"],
        "resumed_at": fitted.resumed_at,
    }


def together(folder, *cases, world=2, timeout=60.0, rest=10.0, sharded=False, program=__file__):
    """Run the cases in so many ranks; returns what each said, None where it died or outlived the first by `rest` s."""
    env = environment(world, timeout) | {"DANLU_LAUNCHER": "0"} | ({"DANLU_SHARD": "1"} if sharded else {})
    command = [sys.executable, program, str(folder), *cases]
    ranks = [subprocess.Popen(command, env=env | {"RANK": str(k)}, stdout=subprocess.PIPE) for k in range(world)]
    try:
        said = [rank.communicate(timeout=240)[0] for rank in ranks[:1]]
        for rank in ranks[1:]:
            try:
                said.append(rank.communicate(timeout=rest)[0])
            except subprocess.TimeoutExpired:
                said.append(b"")
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    return [json.loads(text) if text.strip() else None for text in said]


if __name__ == "__main__":
    here = Place.here()
    assert here is not None
    with joined(here):
        found = {case: come_to(case, sys.argv[1]) for case in sys.argv[2:]}
        sys.stdout.write(json.dumps(found))
