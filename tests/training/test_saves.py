"""Checkpoints are written beside the training: it goes on, and changes nothing of what is being written."""

import threading

import pytest
import torch
from test_checkpoint import same, state
from training_toys import EMA, LookAfter, NoisyTagging, Tagger, examples, job, listen, weights_sha256

from danlu.core.errors import MachineError
from danlu.core.events import Events
from danlu.training.checkpoint import Checkpoints, State
from danlu.training.loop import fit
from danlu.training.saves import Background

LONG = 20.0


@pytest.fixture
def gate(monkeypatch):
    """An event that every write waits for; what a write saw is in `gate.seen`."""
    real, event = Checkpoints.save, threading.Event()
    event.seen = []

    def save(self, given):
        event.seen.append((given.step, event.wait(LONG), threading.current_thread() is threading.main_thread()))
        real(self, given)

    monkeypatch.setattr(Checkpoints, "save", save)
    return event


def changed_while_written(folder, gate):
    checkpoints = Checkpoints(folder, "a", Events.silent())
    background, given = Background(checkpoints), state(1, 1)
    background.save(given)
    for tensor in (*given.weights.values(), *given.optimizer.values(), given.kept["0 ema"]["average"]["weight"]):
        tensor.fill_(99)
    given.notes["looks"].append([2, 0.2])
    given.kept["0 ema"]["list"].append(1)
    gate.set()
    background.wait()
    background.close()
    return same(checkpoints.latest(), state(1, 1))


def test_what_is_written_is_the_state_when_it_was_asked_for(tmp_path, gate):
    assert changed_while_written(tmp_path, gate)


def test_the_check_finds_a_state_that_is_not_copied(tmp_path, gate, monkeypatch):
    monkeypatch.setattr(State, "copied", lambda self: self)
    assert not changed_while_written(tmp_path, gate)


def test_steps_go_on_while_a_checkpoint_is_written(tmp_path, gate):
    """The checkpoint of step 2 is not written before step 3 has moved the weights."""
    look = LookAfter(lambda run: gate.set() if run.step == 3 else None)
    fit(job(steps=4, checkpoint_steps=2, work=tmp_path, techniques=(look,)))
    assert gate.seen == [(2, True, False), (4, True, False)]


def test_when_training_ends_all_is_written(tmp_path):
    one = job(steps=5, checkpoint_steps=1, work=tmp_path)
    fit(one)
    found = Checkpoints(tmp_path, one.identity(), Events.silent()).latest()
    assert found.step == 5
    assert torch.equal(found.weights["head.weight"], one.module.head.weight)


def test_a_disk_that_refuses_is_told_when_the_writer_is_heard(tmp_path, monkeypatch):
    def refuse(self, given):
        raise MachineError("no space is left", where=str(tmp_path))

    monkeypatch.setattr(Checkpoints, "save", refuse)
    events, heard = listen(Events)
    plain = job(steps=6)
    fit(plain)
    one = job(steps=6, checkpoint_steps=3, work=tmp_path, events=events)
    fit(one)
    warnings = [event.data["text"] for event in heard if event.kind == "warning"]
    assert [text.partition(",")[0] for text in warnings] == ["no checkpoint of step 3", "no checkpoint of step 6"]
    assert all("since step 0; the training goes on" in text for text in warnings)
    assert weights_sha256(one.module) == weights_sha256(plain.module)


def test_as_many_as_asked_for_are_kept_each_with_the_best(tmp_path):
    held = examples(NoisyTagging(), 5)
    options = {"steps": 9, "checkpoint_steps": 1, "keep_checkpoints": 4, "evaluate_every": 2}
    fit(job(NoisyTagging(), Tagger(), validation=held, work=tmp_path, techniques=(EMA(),), **options))
    kept = sorted(tmp_path.iterdir())
    assert [path.name for path in kept] == [f"step-{step:010d}" for step in (6, 7, 8, 9)]
    assert all(len(list(path.glob("best-*.safetensors"))) == 1 for path in kept)


def test_a_resume_keeps_those_there_are(tmp_path):
    for step in (1, 2, 3, 4):
        again = Checkpoints(tmp_path, "a", Events.silent(), keep=3)
        again.latest()
        again.save(state(step))
    assert sorted(path.name[-1] for path in tmp_path.iterdir()) == ["2", "3", "4"]
