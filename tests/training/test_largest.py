"""`batch_size: auto`: what fits by the estimate and by trying; the same after a kill; one update's size is kept."""

import pytest
from training_toys import LookAfter, Tagger, job, listen, weights_sha256

from danlu.blocks import memory as bytes_of
from danlu.core.errors import MachineError, RecipeError
from danlu.core.events import Events
from danlu.training import largest
from danlu.training.largest import find
from danlu.training.loop import fit
from danlu.training.settings import TrainSettings


class Hungry(Tagger):
    """Has memory for so many examples, and gives out as torch's CPU allocator does."""

    most = 6

    def forward(self, ids):
        if len(ids) > self.most:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 byte")
        return super().forward(ids)


class Stop(Exception):
    pass


def stop(run):
    if run.step == 3:
        raise Stop


@pytest.mark.parametrize(("most", "size"), [(1, 1), (6, 4), (16, 16), (99, 16)])
def test_the_largest_power_of_two_that_goes_through(most, size, monkeypatch):
    monkeypatch.setattr(Hungry, "most", max(2, most) if most == 1 else most)
    if most == 1:
        monkeypatch.setattr(largest, "_estimated", lambda run: 1)
    assert find(job(module=Hungry(), n=30, batch_size="auto"), "fp32") == (size, 1)


def test_the_estimate_bounds_what_is_tried(monkeypatch):
    monkeypatch.setattr(bytes_of, "free_bytes", lambda device: 30_000)
    size, _ = find(job(n=30, batch_size="auto"), "fp32")
    assert size < 16


@pytest.mark.parametrize(("most", "found"), [(6, (4, 6)), (99, (12, 2)), (3, (2, 12))])
def test_an_update_keeps_its_examples(most, found, monkeypatch):
    monkeypatch.setattr(Hungry, "most", most)
    monkeypatch.setattr(largest, "_tried", lambda run, at_most: (min(most, 16), 0.1))
    size, accumulate = find(job(module=Hungry(), n=30, batch_size="auto", per_update=24), "fp32")
    assert size * accumulate == 24
    assert size == max(k for k in (1, 2, 3, 4, 6, 8, 12, 24) if k <= min(most, 16))


def test_nothing_that_fits_is_told(monkeypatch):
    monkeypatch.setattr(largest, "_tried", lambda run, at_most: (0, 0.0))
    with pytest.raises(MachineError, match="not one example fits into memory"):
        find(job(batch_size="auto"), "fp32")


def test_finding_leaves_no_trace_and_the_training_is_that_of_the_number(monkeypatch):
    monkeypatch.setattr(Hungry, "most", 8)
    events, heard = listen(Events)
    found, named = job(module=Hungry(), batch_size="auto", events=events), job(module=Hungry(), batch_size=8)
    numbers = fit(found).numbers
    fit(named)
    assert (numbers["batch_size"], numbers["accumulate"]) == (8, 1)
    assert weights_sha256(found.module) == weights_sha256(named.module)
    assert any("batches of 8: the largest that fit" in str(event) for event in heard)


def test_a_resume_takes_the_number_of_before(tmp_path, monkeypatch):
    monkeypatch.setattr(Hungry, "most", 8)
    options = {"batch_size": "auto", "checkpoint_steps": 1, "steps": 6}

    def one(see, work):
        return job(module=Hungry(), techniques=(LookAfter(see),), work=work, **options)

    with pytest.raises(Stop):
        fit(one(stop, tmp_path))
    whole = one(lambda run: None, None)
    fit(whole)
    monkeypatch.setattr(largest, "find", lambda *_: pytest.fail("found again"))
    again = one(lambda run: None, tmp_path)
    assert fit(again).resumed_at == 3
    assert weights_sha256(again.module) == weights_sha256(whole.module)


def test_another_error_of_the_model_is_no_lack_of_memory(monkeypatch):
    def broken(self, ids):
        raise RuntimeError("shapes do not match")

    one = job(batch_size="auto")
    monkeypatch.setattr(largest, "_estimated", lambda run: 4)
    monkeypatch.setattr(Tagger, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        find(one, "fp32")


def test_per_update_alone_is_refused():
    with pytest.raises(RecipeError, match="per_update needs batch_size=auto"):
        TrainSettings(per_update=64).check()
