"""The estimate of a training's memory, and the warning before it begins."""

import gc
import weakref

import pytest
import torch
from torch import nn
from training_toys import Counting, Tagger, Tagging, job, listen, weights_sha256

from danlu.core import plugin
from danlu.core.events import Events
from danlu.training import memory
from danlu.training.groups import groups
from danlu.training.loop import fit
from danlu.training.run import Run


def test_the_estimate_knows_weights_gradients_and_state():
    module = Tagger()
    trained = 4 * sum(w.numel() for w in module.parameters())
    found = memory.estimate(Run(job(module=module), "fp32"))
    assert (found["weights"], found["gradients"], found["optimizer"]) == (trained + 8, trained, 2 * trained)
    assert found["free"] > 10**6


def test_activations_grow_with_the_batch_and_end_with_the_examples():
    def activations(size):
        return memory.estimate(Run(job(batch_size=size), "fp32"))["activations"]

    assert activations(8) == pytest.approx(4 * activations(2), rel=0.01)
    assert activations(30) == activations(3000)
    assert activations(2) > 4 * 2 * 20 * (8 + 16), "the longest has 20 places, of 8 and 16 numbers in the layers"


def test_a_model_that_counts_keeps_nothing():
    found = memory.estimate(Run(job(module=Counting()), "fp32"))
    assert (found["gradients"], found["optimizer"], found["activations"]) == (0, 0, 0)


@pytest.mark.parametrize("free", [100, 10**12])
def test_what_does_not_fit_is_said_before_training(free, monkeypatch):
    monkeypatch.setattr(memory.memory, "free_bytes", lambda device: free)
    events, heard = listen(Events)
    fit(job(events=events))
    said = [k for k, event in enumerate(heard) if "hardly fit" in event.data.get("text", "")]
    steps = [k for k, event in enumerate(heard) if event.kind == "progress"]
    assert bool(said) == (free == 100)
    if said:
        assert said[0] < steps[0]
        assert "batch_size=3 accumulate=2" in heard[said[0]].data["text"]


def test_the_estimate_leaves_no_trace(monkeypatch):
    one, other = job(), job()
    fit(one)
    monkeypatch.setattr(memory, "tell", lambda run: {})
    fit(other)
    assert weights_sha256(one.module) == weights_sha256(other.module)


def test_numbers_hold_it():
    told = fit(job()).numbers["memory_estimate_mb"]
    assert set(told) == {"weights", "gradients", "optimizer", "activations", "free"}


@pytest.mark.parametrize("name", [entry.name for entry in plugin.entries("optimizers")])
def test_optimizers_keep_as_many_numbers_as_they_say(name):
    model = nn.Sequential(nn.Linear(300, 300, bias=False), nn.Linear(300, 2, bias=False))
    chosen = plugin.load("optimizers", name)()
    optimizer = chosen.build(groups(model, dict(model.named_parameters()), lr=0.1, weight_decay=0.0))
    for weight in model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    kept = sum(t.numel() for t in optimizer.state[model[0].weight].values() if isinstance(t, torch.Tensor))
    assert kept / 90_000 == pytest.approx(chosen.state_per_weight, abs=0.01)


def test_the_task_is_asked_for_the_longest_examples():
    seen = []

    class Seen(Tagging):
        def collate(self, examples, processor):
            seen.append([int(e.count) for e in examples])
            return super().collate(examples, processor)

    memory.estimate(Run(job(Seen()), "fp32"))
    assert seen == [[20, 19]]


def test_after_a_training_only_the_model_is_left_and_no_sweep_is_waited_for(monkeypatch):
    """In a ring of references moments and gradients, three times the weights, stayed until the collector came by."""
    seen = []
    begin = Run.__init__

    def noted(run, *given):
        begin(run, *given)
        seen.append(weakref.ref(run))
        seen.extend(weakref.ref(optimizer) for optimizer in run.optimizers.values())

    monkeypatch.setattr(Run, "__init__", noted)
    module = Tagger()
    gc.collect()
    gc.disable()
    try:
        fit(job(module=module))
        assert len(seen) >= 2
        assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()
    assert all(weight.grad is None for weight in module.parameters())
