import json
import logging
import threading
import time

import numpy as np
import pytest

from danlu.core.canonical import to_json
from danlu.core.events import Event, EventLog, Events


def kinds(heard):
    return [(event.step, event.kind) for event in heard]


def test_events_are_heard_in_order_with_their_step():
    heard = []
    events = Events([heard.append])
    events.emit("run_started", id="1")
    tuned = events.step_events("tuned")
    tuned.note("hello")
    tuned.warn("careful")
    tuned.numbers(step=3, loss=0.5)
    assert kinds(heard) == [("", "run_started"), ("tuned", "note"), ("tuned", "warning"), ("tuned", "numbers")]
    assert heard[1].data == {"text": "hello"}
    assert heard[3].data == {"step": 3, "loss": 0.5}
    assert heard[0].at <= heard[3].at


def test_progress_is_thinned_but_the_first_and_the_last_are_told():
    heard = []
    events = Events([heard.append], "tuned")
    for k in range(1, 1001):
        events.progress("training", k, 1000, "steps", loss=0.1)
    done = [event.data["done"] for event in heard]
    assert done[0] == 1
    assert done[-1] == 1000
    assert len(done) < 100
    assert heard[0].data == {"what": "training", "done": 1, "total": 1000, "unit": "steps", "loss": 0.1}


def test_things_that_progress_at_once_do_not_silence_each_other():
    heard = []
    events = Events([heard.append])
    for step in ("a", "b"):
        events.step_events(step).progress("x", 1, None)
        events.step_events(step).progress("y", 1, None)
    assert len(heard) == 4


def test_a_listener_that_fails_is_told_once_and_dropped_and_the_run_goes_on():
    heard, calls = [], []

    def broken(event):
        calls.append(event)
        raise ValueError("no disk")

    events = Events([broken, heard.append])
    events.note("one")
    events.note("two")
    assert len(calls) == 1
    assert [event.data["text"] for event in heard if event.kind == "note"] == ["one", "two"]
    (warning,) = [event for event in heard if event.kind == "warning"]
    assert "broken failed and is heard no more: ValueError: no disk" in warning.data["text"]


def test_the_last_listener_to_fail_is_told_in_the_log(caplog):
    def broken(event):
        raise ValueError("gone")

    with caplog.at_level(logging.WARNING):
        Events([broken]).note("x")
    assert "ValueError: gone" in caplog.text


def test_a_listener_may_interrupt():
    def stop(event):
        raise KeyboardInterrupt("now")

    with pytest.raises(KeyboardInterrupt, match="now"):
        Events([stop]).note("x")


def test_heard_by_listens_for_a_while():
    heard = []
    events = Events.silent()
    with events.heard_by(heard.append):
        events.step_events("a").note("in")
    events.note("out")
    assert kinds(heard) == [("a", "note")]


def test_one_listener_is_called_from_one_thread_at_a_time():
    inside, overlaps, heard = [], [], []

    def listener(event):
        overlaps.extend(inside)
        inside.append(event)
        time.sleep(0.0001)
        heard.append(event)
        inside.remove(event)

    events = Events([listener])
    threads = [threading.Thread(target=lambda: [events.note("x") for _ in range(50)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(heard) == 400
    assert overlaps == []


def test_the_log_is_json_lines_whatever_is_said(tmp_path):
    log = EventLog(tmp_path / "deep" / "events.jsonl")
    log.on(
        Event(
            1.5, "a", "numbers", {"loss": np.float32(0.5), "nan": float("nan"), "list": np.arange(2), "text": "ä\ud800"}
        )
    )
    log.on(Event(2.0, "", "note", {"where": tmp_path, "set": {2, 1}}))
    log.close()
    first, second = (json.loads(line) for line in (tmp_path / "deep" / "events.jsonl").read_text("utf-8").splitlines())
    assert first == {
        "at": 1.5,
        "step": "a",
        "kind": "numbers",
        "data": {"loss": 0.5, "nan": None, "list": [0, 1], "text": "ä\ud800"},
    }
    assert second["data"] == {"where": str(tmp_path), "set": [1, 2]}


def test_equal_values_give_equal_json():
    assert to_json({"b": 1, "a": (1, 2)}) == to_json({"a": [1, 2], "b": np.int64(1)}) == b'{"a":[1,2],"b":1}'
