import pytest

from danlu.plugins.metrics import latency
from danlu.plugins.metrics.latency import Latency
from danlu.plugins.metrics.size import Size


@pytest.fixture
def clock(monkeypatch):
    """A clock that only moves when the model is asked."""
    now = [0.0]
    monkeypatch.setattr(latency.time, "perf_counter", lambda: now[0])
    return now


def test_milliseconds_per_input_at_each_batch_size(clock):
    sizes = []

    def ask(batch):
        sizes.append(len(batch))
        clock[0] += 0.004 + 0.001 * len(batch)
        return []

    numbers = Latency(batch_sizes=(1, 32), rounds=2, calls=8).measure(ask, ["x"] * 5, None)
    assert numbers == pytest.approx({"value": 5, "1": 5, "1_p95": 5, "32": 36 / 32, "32_p95": 36 / 32})
    assert sizes == [1] * 24 + [32] * 6, (
        "one round of warm-up and two timed ones; fewer inputs than a batch are repeated"
    )


def test_the_first_slow_round_does_not_count(clock):
    asked = []

    def ask(batch):
        asked.append(batch)
        clock[0] += 1.0 if len(asked) <= 4 else 0.002
        return []

    numbers = Latency(batch_sizes=(1,), rounds=1, calls=4).measure(ask, list("abcd"), None)
    assert numbers["1_p95"] == pytest.approx(2)
    assert asked[:4] == [["a"], ["b"], ["c"], ["d"]]


def test_a_model_that_takes_seconds_is_asked_less_often(clock):
    asked = []

    def ask(batch):
        asked.append(len(batch))
        clock[0] += 2.0 * len(batch)
        return []

    numbers = Latency(batch_sizes=(1, 32)).measure(ask, ["x"], None)
    assert numbers == pytest.approx({"value": 2000, "1": 2000, "1_p95": 2000, "32": 2000, "32_p95": 2000})
    assert asked == [1] * (3 + 5) + [32] * (1 + 2), "five seconds of warm-up and ten of time, two calls at least"


def test_without_inputs_there_is_nothing_to_say():
    assert Latency().measure(lambda batch: [], [], None) == {}


def test_size_counts_every_file_below_the_folder(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "weights").write_bytes(bytes(1_500_000))
    (tmp_path / "deep" / "words").write_bytes(bytes(500_000))
    assert Size().measure(lambda batch: [], [], tmp_path) == {"value": 2.0}
    assert Size().measure(lambda batch: [], [], None) == {}
