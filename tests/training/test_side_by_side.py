"""Which trainings learn in halves, and that they learn, come again bit for bit, and go on after a kill."""

from typing import ClassVar

import numpy as np
import pytest
import torch
from training_toys import DP, EMA, EWC, Look, LookAfter, OnlyHead, Tagging, Words, job, weights_sha256

from danlu.blocks import hf
from danlu.blocks.halves import Halves
from danlu.contracts import Example, Head
from danlu.training.loop import fit

# heads of 16, which the loops in C know
SIZES = {"vocab_size": 12, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20}


class Texts(Words):
    pad: ClassVar[dict[str, float]] = {"input_ids": 0, "attention_mask": 0}

    def inputs(self, x):
        return {"input_ids": np.array(x, dtype=np.int64), "attention_mask": np.ones(len(x), dtype=np.int64)}


class TextTagging(Tagging):
    """The tags of `Tagging`, for an encoder of transformers."""


class Contrastive(TextTagging):
    gives: ClassVar[dict[str, str]] = {"loss": "contrastive"}


class Whole(OnlyHead):
    """Wraps the model, and trains all of it."""

    def wrap(self, model):
        return model


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def cut(monkeypatch):
    """How many examples each batch had that was learnt in halves."""
    sizes, learn = [], Halves.learn
    monkeypatch.setattr(Halves, "learn", lambda own, batch, *rest: sizes.append(len(batch)) or learn(own, batch, *rest))
    return sizes


def encoder(kind="bert"):
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 40, "pad_token_id": 0}
    return hf.from_scratch(kind, Head("position", 3, ("a", "b", "c")), 0, dropout=0.1, **sizes)


def training(task=None, kind="bert", n=40, **options):
    task = task or TextTagging()
    rows = task.sample(n)
    train = [Example(Texts().inputs(r["ids"]), {"tag": np.array(r["tags"])}, len(r["ids"])) for r in rows]
    options = {"precision": "bf16", "batch_size": 10, "steps": 8, "train": train} | options
    made = job(task, encoder(kind), **options)
    made.processor = Texts()
    return made


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_a_training_of_an_encoder_is_in_halves_and_learns(kind, cut):
    made = training(kind=kind, steps=60, epochs=None, techniques=[EMA(decay=0.1)])
    fitted = fit(made)
    assert cut == [10] * 60
    first, last = (loss for _, loss in (fitted.numbers["loss"][0], fitted.numbers["loss"][-1]))
    assert last < first / 2


def test_small_batches_are_whole(cut):
    fit(training(n=25, epochs=2, steps=None))
    assert cut == [10] * 4, "of 25 examples five are left, too few to be cut"


def test_batches_of_an_update_add_up(cut):
    fit(training(batch_size=10, accumulate=2, steps=3))
    assert cut == [10] * 6


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "fp32"},
        {"task": Contrastive()},
        {"method": Whole()},
        {"checkpointing": True},
        {"techniques": [EWC()]},
        {"techniques": [DP()]},
        {"kind": "modernbert"},
    ],
    ids=["fp32", "contrastive", "wrapped", "checkpointing", "loss", "backward", "another-kind"],
)
def test_what_looks_at_a_pass_or_changes_it_is_learnt_whole(options, cut):
    fit(training(**options))
    assert cut == []


def test_one_thread_learns_whole(cut):
    torch.set_num_threads(1)
    fit(training())
    assert cut == []


def test_it_comes_again_bit_for_bit_and_goes_on_after_a_kill(cut, tmp_path):
    class Stop(Exception):
        pass

    def stop(run):
        if run.step == 4:
            raise Stop

    def made(see=lambda run: None, **options):
        return training(techniques=[LookAfter(see)], steps=9, epochs=None, checkpoint_steps=1, **options)

    once, again, killed = made(), made(), made(stop, work=tmp_path)
    fit(once), fit(again)
    with pytest.raises(Stop):
        fit(killed)
    resumed = made(work=tmp_path)
    assert fit(resumed).resumed_at == 4
    assert weights_sha256(once.module) == weights_sha256(again.module) == weights_sha256(resumed.module)
    assert len(cut) == 9 + 9 + 5 + 5


def test_gradients_are_those_of_the_batch_as_a_technique_sees_them(cut):
    norms = {}
    for threads in (1, 2):
        torch.set_num_threads(threads)
        norms[threads] = []
        module = training().module
        for part in module.modules():
            if isinstance(part, torch.nn.Dropout):
                part.p = 0.0
        found = training(
            techniques=[Look(lambda run, k=threads: norms[k].append(float(run.model.classifier.weight.grad.norm())))]
        )
        found.module = module
        fit(found)
    assert len(cut) == 8
    assert norms[2] == pytest.approx(norms[1], rel=0.05)
