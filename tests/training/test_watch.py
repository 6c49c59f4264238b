"""When to look, what was best, when to stop."""

import math

from danlu.training.watch import Watch


def test_it_looks_at_every_nth_step_and_at_the_end():
    watch = Watch(every=4, steps=10)
    assert [done for done in range(1, 11) if watch.due(done)] == [4, 8, 10]


def test_the_best_of_equals_is_the_earliest_and_nan_never_is():
    watch = Watch(every=1, steps=5, better="higher")
    assert [watch.add(step, value) for step, value in enumerate([math.nan, 0.5, 0.5, 0.7, 0.6])] == [
        False,
        True,
        False,
        True,
        False,
    ]
    assert watch.best == (3, 0.7)
    lower = Watch(every=1, steps=5)
    assert [lower.add(step, value) for step, value in enumerate([2.0, 1.0, 1.5])] == [True, True, False]


def test_patience_counts_looks_since_the_best():
    watch = Watch(every=1, steps=9, patience=2)
    for step, (value, stop) in enumerate([(1.0, False), (1.1, False), (0.9, False), (1.0, False), (1.0, True)]):
        watch.add(step + 1, value)
        assert watch.exhausted is stop
    assert not Watch(every=1, steps=9).exhausted


def test_history_survives_a_checkpoint():
    watch = Watch(every=1, steps=9, patience=2)
    watch.restore([[1, 0.5], [2, 0.6], [3, 0.7]], {})
    assert watch.best == (1, 0.5)
    assert watch.exhausted
