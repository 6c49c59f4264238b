"""The order of examples, and batches of like length."""

import threading

import numpy as np
import pytest
import torch
from training_toys import NoisyTagging, Tagging, Words, examples, job

from danlu.training import batches
from danlu.training.batches import Feed, sorted_batches
from danlu.training.job import lengths
from danlu.training.randomness import Stream, generator, reseed
from danlu.training.run import Run


def feed(task=None, n=31, size=6, accumulate=1, seed=0, among=None) -> Feed:
    return Feed(job(task, n=n, seed=seed), size=size, accumulate=accumulate, among=among)


@pytest.mark.parametrize("among", [None, 1, 2, 4, 6, 100])
def test_an_epoch_sees_every_example_once(among):
    one = feed(among=among)
    assert one.per_epoch == 6
    for epoch in range(3):
        steps = [one.chosen(epoch * 6 + place) for place in range(6)]
        assert sorted(k for step in steps for k in step) == list(range(31))
        assert sorted(len(step) for step in steps) == [1, 6, 6, 6, 6, 6]


@pytest.mark.parametrize("among", [None, 1, 2])
def test_the_order_is_a_function_of_seed_and_epoch_alone(among):
    steps = [feed(among=among).chosen(step) for step in range(18)]
    one = feed(among=among)
    assert [one.chosen(step) for step in reversed(range(18))] == steps[::-1]
    assert [feed(seed=1, among=among).chosen(step) for step in range(18)] != steps
    assert steps[:6] != steps[6:12]


def test_the_order_is_drawn_once_an_epoch(monkeypatch):
    one, drawn = feed(), []
    original = one._shuffled
    monkeypatch.setattr(one, "_shuffled", lambda epoch: drawn.append(epoch) or original(epoch))
    for step in range(18):
        one.chosen(step)
    assert drawn == [0, 1, 2]


def test_batches_hold_examples_of_like_length():
    one = job(n=200)
    sizes, grouped = lengths(one.train, one.processor), Feed(one, size=10, accumulate=1)
    spread = [np.ptp(sizes[grouped.chosen(step)]) for step in range(20)]
    assert max(spread) <= 2
    assert np.ptp(sizes) == 19


def test_lengths_are_alike_among_some_steps():
    one = job(n=200)
    sizes = lengths(one.train, one.processor)

    def spreads(among):
        found = Feed(one, size=10, accumulate=1, among=among)
        steps = [sizes[found.chosen(step)] for step in range(20)]
        assert all((np.diff(step) >= 0).all() for step in steps), "the shortest first"
        return float(np.mean([np.ptp(step) for step in steps]))

    assert spreads(None) < spreads(5) < 6 < 12 < spreads(1)
    assert spreads(20) == spreads(99) == spreads(None)


def test_a_task_says_among_how_many_steps(monkeypatch):
    monkeypatch.setattr(Tagging, "among", 2)
    run = Run(job(n=31), "fp32")
    assert run.feed.among == 2
    assert run.feed.chosen(0) == feed(size=run.settings.size, among=2).chosen(0)


def test_the_smaller_batch_is_not_always_the_longest():
    one = job(n=31)
    sizes = lengths(one.train, one.processor)
    smallest = [
        min((Feed(job(n=31, seed=s), size=6, accumulate=1).chosen(k) for k in range(6)), key=len) for s in range(20)
    ]
    assert len({int(sizes[step[0]]) for step in smallest}) > 3


def test_inputs_that_are_not_padded_are_only_shuffled():
    class Flat(Words):
        pad = {}

    one = job(n=30)
    one.processor = Flat()
    assert lengths(one.train, one.processor).tolist() == [0] * 30
    first = Feed(one, size=30, accumulate=1).chosen(0)
    assert first != sorted(first)


def test_a_step_is_cut_into_micro_batches():
    one = feed(accumulate=2)
    batches = one.batches(one.chosen(0), 0)
    assert [len(batch) for batch in batches] == [6, 6]
    assert one.batches([], 0) == []


def test_what_varies_is_a_function_of_seed_step_and_place():
    one = feed(NoisyTagging())
    first, again, later = (one.batches([3, 4, 5], step)[0].inputs["ids"] for step in (2, 2, 3))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, later)
    np.testing.assert_array_equal(one.batches([3], 2)[0].inputs["ids"][0], first[0][: one._sizes[3]])


def test_sorted_batches_hold_all_examples_as_they_are():
    task = NoisyTagging()
    batches = list(sorted_batches(examples(task, 20), task, Words(), 8))
    assert [len(batch) for batch in batches] == [8, 8, 4]
    widths = [batch.inputs["ids"].shape[1] for batch in batches]
    assert widths == sorted(widths)
    plain = list(sorted_batches(examples(Tagging(), 20), Tagging(), Words(), 8))
    np.testing.assert_array_equal(batches[0].inputs["ids"], plain[0].inputs["ids"])


def test_reseeding_covers_torch_numpy_and_random():
    import random

    def draw():
        return torch.rand(2).tolist(), np.random.rand(2).tolist(), random.random()

    reseed(0, Stream.STEP, 5)
    first = draw()
    reseed(0, Stream.STEP, 5)
    assert draw() == first
    reseed(0, Stream.STEP, 6)
    assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_streams_have_nothing_in_common():
    drawn = [generator(0, stream, 1).random() for stream in Stream]
    assert len(set(drawn)) == len(Stream)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_any_seed_will_do(seed):
    reseed(seed, Stream.STEP, 0)
    assert 0 <= generator(seed, Stream.VARY, 0, 0).random() < 1


def arrays(batches):
    return [array.tolist() for batch in batches for array in (*batch.inputs.values(), *batch.targets.values())]


def threaded(monkeypatch, **options):
    """A feed that makes batches ahead from its second step on."""
    monkeypatch.setattr(batches, "WORTH", -1.0)
    monkeypatch.setattr(batches, "_LOOK", 1)
    return feed(NoisyTagging(), **options)


def test_batches_made_ahead_are_those_made_when_asked_for(monkeypatch):
    plain = [arrays(feed(NoisyTagging()).batches(feed().chosen(step), step)) for step in range(14)]
    one, where = threaded(monkeypatch), []
    made = one.made
    monkeypatch.setattr(one, "made", lambda *key: where.append(threading.current_thread().name[:4]) or made(*key))
    assert [arrays(one.batches(one.chosen(step), step)) for step in range(14)] == plain
    assert where[0] == "Main"
    assert where.count("feed") >= 10
    again = threaded(monkeypatch)
    assert [arrays(again.batches(again.chosen(step), step)) for step in range(7, 14)] == plain[7:], "a resume"


def test_what_was_drawn_otherwise_is_made_anew(monkeypatch):
    one = threaded(monkeypatch)
    for step, chosen in enumerate(([0, 1], [2], [5, 6], [], [3, 4])):
        expected = arrays(feed(NoisyTagging()).batches(chosen, step))
        assert arrays(one.batches(chosen, step)) == expected


def test_a_fault_while_making_ahead_comes_at_its_step(monkeypatch):
    one = threaded(monkeypatch)
    made = one.made

    def faulty(chosen, step):
        if step == 3:
            raise ValueError("step 3 is broken")
        return made(chosen, step)

    monkeypatch.setattr(one, "made", faulty)
    for step in range(3):
        one.batches(one.chosen(step), step)
    with pytest.raises(ValueError, match="step 3 is broken"):
        one.batches(one.chosen(3), 3)


def test_cheap_batches_are_made_when_asked_for(monkeypatch):
    monkeypatch.setattr(batches, "WORTH", 1.0)
    one = feed(NoisyTagging())
    for step in range(20):
        one.batches(one.chosen(step), step)
    assert one._ahead is None
