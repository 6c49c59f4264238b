import io
import json
import re

import pytest
from rich.console import Console as Screen

from danlu.core import plugin
from danlu.core.events import Event, Events
from danlu.plugins.trackers import console
from danlu.plugins.trackers.console import duration, in_words, number


def conforming(folder):
    return {"jsonl": {"path": str(folder / "e.jsonl")}}


@pytest.fixture
def screen(monkeypatch):
    """What a person would see; `alive` is a terminal, else a log."""

    def make(*, alive, encoding="utf-8"):
        file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
        made = Screen(file=file, force_terminal=alive, width=100, highlight=False, color_system=None)
        monkeypatch.setattr(console, "screen", lambda: made)

        def shown():
            file.flush()
            return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", file.buffer.getvalue().decode(encoding)).replace("\r", "\n")

        return shown

    return make


def tell(tracker, *, fail=""):
    """A run as the plan tells it."""
    events = Events([tracker.on])
    events.emit(
        "run_started", id="2025-1", name="garden", store="/x/.danlu", steps={"data": "prepare", "tuned": "finetune"}
    )
    events.step_events("data").emit("step_reused", stage="prepare", key="k", numbers={"rows": 10662}, seconds=3.21)
    tuned = events.step_events("tuned")
    tuned.emit("step_started", stage="finetune", key="k")
    tuned.note("bf16 is used [here]")
    tuned.warn("the labels are uneven [bold]")
    for k in range(1, 41):
        tuned.progress("training", k, 40, "steps", lr=0.1)
        tuned.numbers(step=k, loss=1 / k)
    tuned.progress("validating", 3, None)
    if fail:
        tuned.emit("step_failed", status=fail, error="x", seconds=75.0)
    else:
        tuned.emit(
            "step_done", digest="d", seconds=75.0, numbers={"accuracy": 0.86815, "f1": {"a": 1}, "rows": 2}, notes=[]
        )
    events.emit("run_done", status=fail or "done", seconds=80.0)
    tracker.close()


@pytest.mark.parametrize("alive", [True, False])
def test_a_run_is_told_step_by_step(screen, alive):
    shown = screen(alive=alive)
    tell(console.Console())
    text = shown()
    assert "garden  run 2025-1, store /x/.danlu" in text
    assert "↺ data   prepare   reused (3.2 s saved)  rows 10,662" in text
    assert "bf16 is used [here]" in text
    assert "! tuned: the labels are uneven [bold]" in text
    assert "✓ tuned  finetune  1 min 15 s  accuracy 0.868  rows 2" in text
    assert "done in 1 min 20 s  steps: 1 run, 1 reused" in text


def test_a_terminal_shows_progress_speed_and_numbers(screen, monkeypatch):
    shown = screen(alive=True)
    tracker = console.Console()
    events = Events([tracker.on])
    events.emit("run_started", id="1", name="g", store="/x", steps={"tuned": "finetune"})
    tuned = events.step_events("tuned")
    tuned.emit("step_started", stage="finetune", key="k")
    tuned.progress("training", 300, 600, "steps", loss=0.31234)
    tracker._face.bars.refresh()
    assert re.search(r"tuned training .*300/600 steps .*loss 0.312", shown())
    tracker.close()


@pytest.mark.parametrize(
    ("status", "line"),
    [
        ("failed", "✗ tuned  finetune  failed after 1 min 15 s"),
        ("interrupted", "■ tuned  finetune  interrupted after 1 min 15 s; the next run goes on where it stopped"),
    ],
)
@pytest.mark.parametrize("quiet", [True, False])
def test_a_failure_is_always_told(screen, status, line, quiet):
    shown = screen(alive=False)
    tell(console.Console(quiet=quiet), fail=status)
    assert line in shown()
    assert "done in" not in shown()


def test_quiet_tells_only_warnings_and_failures(screen):
    shown = screen(alive=True)
    tell(console.Console(quiet=True))
    assert shown() == "! tuned: the labels are uneven [bold]\n"


def test_a_log_has_plain_lines_of_progress_now_and_then(screen, monkeypatch):
    shown = screen(alive=False)
    clock = iter(range(0, 10_000, 4))
    monkeypatch.setattr(console.time, "monotonic", lambda: float(next(clock)))
    tracker = console.Console()
    tracker.on(Event(0, "", "run_started", {"id": "1", "name": "g", "store": "/x", "steps": {"tuned": "finetune"}}))
    tracker.on(Event(0, "tuned", "step_started", {"stage": "finetune"}))
    for k in range(10, 110, 10):
        tracker.on(
            Event(0, "tuned", "progress", {"what": "training", "done": k, "total": 200, "unit": "steps", "loss": 0.25})
        )
    lines = [line for line in shown().splitlines() if "training" in line]
    assert lines == [
        "  tuned  finetune  training 30/200 steps, 2.5/s, 1 min 08 s left  loss 0.25",
        "  tuned  finetune  training 60/200 steps, 2.5/s, 56 s left  loss 0.25",
        "  tuned  finetune  training 90/200 steps, 2.5/s, 44 s left  loss 0.25",
    ]


def test_a_terminal_without_unicode_is_served_too(screen):
    shown = screen(alive=True, encoding="ascii")
    tell(console.Console())
    assert "r data   prepare   reused (3.2 s saved)" in shown()


def test_nothing_goes_to_standard_output(capsys):
    tell(console.Console())
    out, err = capsys.readouterr()
    assert out == ""
    assert "✓ tuned" in err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (0.44, "0.4 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (75, "1 min 15 s"), (3599.9, "1 h 00 min"), (7500, "2 h 05 min")],
)  # fmt: skip
def test_durations(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [(1066, "1,066"), (0.86815, "0.868"), (3e-05, "3e-05"), (12345.6, "12,346"), (40.0, "40"), (float("inf"), "inf"), (float("nan"), "nan")],
)  # fmt: skip
def test_numbers(value, words):
    assert number(value) == words


def test_only_plain_numbers_are_told():
    assert in_words({"a": 1, "b": {"c": 2}, "d": "x", "e": True, "f": None, "g": 0.5}) == "a 1  g 0.5"
    assert in_words({"flop_per_s": 2.5e11, "matmul_flop_per_s": 7e11, "parameters": 3}) == "parameters 3"


def test_events_are_written_as_lines_of_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = plugin.load("trackers", "jsonl")(path="out/events.jsonl")
    tell(tracker)
    tracker.on(Event(1.0, "", "note", {"text": "again"}))
    tracker.close()
    lines = [json.loads(line) for line in (tmp_path / "out" / "events.jsonl").read_text().splitlines()]
    assert [lines[0]["kind"], lines[-2]["kind"], lines[-1]["data"]] == ["run_started", "run_done", {"text": "again"}]
    assert set(lines[0]) == {"at", "step", "kind", "data"}
