"""What metrics, trackers and stages promise: honest numbers, no influence, and facts that are data."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from danlu.contracts import Answer, Metric
from danlu.core.events import Event
from danlu.testing.partners import sample_table, task_for
from danlu.testing.subject import ConformanceError, Subject, check, require

_ROWS = 24

# ---- metrics ---------------------------------------------------------------------------------------------------------


@check("metrics")
def check_perfect_answers_are_best(subject: Subject) -> None:
    """The truth as an answer scores better than the truth of other rows, and no answer scores better than it."""
    if subject.plugin.of != "answers":
        return
    gold = _gold(subject)
    best = _value(subject.plugin, gold, gold)
    if best is None:
        return
    sign = 1 if subject.plugin.better == "higher" else -1
    for shift in (1, 2, 5):
        other = _value(subject.plugin, gold[shift:] + gold[:shift], gold)
        assert other is not None
        require(sign * best >= sign * other, f"perfect answers score {best:.4g}, worse ones {other:.4g}")
    worst = _value(subject.plugin, gold[1:] + gold[:1], gold)
    require(worst != best, f"wrong answers score {best:.4g}, as perfect ones do")


@check("metrics")
def check_a_weight_is_a_repetition(subject: Subject) -> None:
    """A row with weight 3 counts as three such rows, one with weight 0 as none: a bootstrap relies on it."""
    if subject.plugin.of != "answers":
        return
    gold = _gold(subject)
    answers = _partly_wrong(gold)
    times = np.random.default_rng(0).integers(0, 4, _ROWS)
    weighted = subject.plugin.value(subject.plugin.read(answers, gold), times.astype(np.float64))
    rows = [k for k in range(_ROWS) for _ in range(times[k])]
    repeated = subject.plugin.read([answers[k] for k in rows], [gold[k] for k in rows])
    plain = subject.plugin.value(repeated, np.ones(len(rows)))
    require(_close(weighted, plain), f"weights give {weighted}, the rows repeated give {plain}")


@check("metrics")
def check_the_order_of_rows_does_not_matter(subject: Subject) -> None:
    """The same rows in another order score the same, and reading changes no answer."""
    if subject.plugin.of != "answers":
        return
    gold = _gold(subject)
    answers = _partly_wrong(gold)
    kept = copy.deepcopy((answers, gold))
    order = np.random.default_rng(0).permutation(_ROWS)
    one, other = (
        subject.plugin.value(subject.plugin.read([answers[k] for k in rows], [gold[k] for k in rows]), np.ones(_ROWS))
        for rows in (range(_ROWS), order)
    )
    require(_close(one, other), f"in another order the same rows score {other}, not {one}")
    require((answers, gold) == kept, "read() changes the answers it is given")


@check("metrics")
def check_a_form_is_measured_from_outside(subject: Subject) -> None:
    """A metric of a form asks it and looks at its folder; numbers, among them `value`, or nothing come back."""
    if subject.plugin.of != "form":
        return
    asked: list[int] = []

    def ask(inputs: Sequence[Any]) -> list[Answer]:
        asked.append(len(inputs))
        return [{"label": "a"} for _ in inputs]

    folder = subject.new("form")
    folder.mkdir()
    (folder / "weights").write_bytes(b"0" * 1000)
    for inputs, place in ((["x"] * 40, folder), (["x"], None), ([], folder)):
        numbers = subject.plugin.measure(ask, inputs, place)
        require(not numbers or "value" in numbers, f"it measures {sorted(numbers)} and no `value`")
        wrong = {name: number for name, number in numbers.items() if not _is_number(number)}
        require(not wrong, f"what it measures must be finite numbers, not {wrong}")
    require((folder / "weights").read_bytes() == b"0" * 1000, "it changes the folder that it measures")


def _gold(subject: Subject) -> list[Answer]:
    """The true answers of a task's sample."""
    table = sample_table(task_for(subject), _ROWS)
    task = task_for(subject).resolve(table)
    return [task.gold(row) for row in table.to_pylist()]


def _partly_wrong(gold: list[Answer]) -> list[Answer]:
    """Every third row, and the last five, have the answer of the row before."""
    return [gold[k - 1] if k % 3 == 0 or k >= _ROWS - 5 else gold[k] for k in range(_ROWS)]


def _value(metric: Metric, answers: Sequence[Answer], gold: Sequence[Answer]) -> float | None:
    """The headline number; None for a metric that has none, such as a matrix."""
    found: Any = metric.value(metric.read(answers, gold), np.ones(len(gold)))
    number = found.get("value") if isinstance(found, Mapping) else found
    return None if number is None else float(number)


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_close(a[name], b[name]) for name in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float | int | np.ndarray) and isinstance(b, float | int | np.ndarray):
        return bool(np.allclose(a, b, rtol=1e-9, atol=1e-12, equal_nan=True))
    return bool(a == b)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


# ---- trackers --------------------------------------------------------------------------------------------------------


def _events() -> list[Event]:
    """A run as it may come, with what is odd: unknown kinds, no data, no step, numbers that are none."""
    told: list[tuple[str, str, dict[str, Any]]] = [
        ("", "run_started", {"id": "1", "name": "try", "store": "here", "steps": {"data": "prepare"}}),
        ("data", "step_started", {"stage": "prepare", "key": "0" * 64}),
        ("data", "progress", {"what": "reading", "done": 1, "total": None, "unit": ""}),
        ("data", "progress", {"what": "reading", "done": 3, "total": 2, "unit": "rows", "loss": math.nan}),
        ("other", "progress", {"what": "never started", "done": 0, "total": 0, "unit": "rows"}),
        ("data", "numbers", {"loss": math.inf, "lr": -1e-30, "nested": {"a": [1, None]}, "text": "字\n\x1b[31m"}),
        ("data", "no_such_kind", {"deep": {"deeper": [{"k": b"bytes"}]}}),
        ("", "note", {"text": ""}),
        ("data", "warning", {"text": "x" * 5000}),
        ("data", "step_done", {"digest": "0" * 64, "seconds": 0.0, "numbers": {}, "notes": []}),
        ("data", "step_reused", {"stage": "prepare", "key": "0" * 64, "numbers": {"rows": 3}, "seconds": 1e9}),
        ("score", "step_failed", {"status": "failed", "error": "[bold]not markup[/", "seconds": 1.0}),
        ("", "run_done", {"status": "failed", "seconds": 2.0}),
    ]
    return [Event(1e9 + k, step, kind, data) for k, (step, kind, data) in enumerate(told)]


@check("trackers")
def check_a_tracker_survives_odd_events(subject: Subject) -> None:
    """It takes whatever comes, in whatever order, also after `close`, and closing twice is no fault."""
    for order in (_events(), _events()[::-1]):
        for event in order:
            try:
                subject.plugin.on(event)
            except Exception as error:
                raise ConformanceError(f"the event {event.kind!r} raises {type(error).__name__}: {error}") from error
        for _ in range(2):
            try:
                subject.plugin.close()
            except Exception as error:
                raise ConformanceError(f"close() raises {type(error).__name__}: {error}") from error


@check("trackers")
def check_a_tracker_changes_nothing(subject: Subject) -> None:
    """Events and its own settings are what they were after it heard them."""
    events, settings = _events(), subject.plugin.model_dump()
    kept = copy.deepcopy(events)
    for event in events:
        subject.plugin.on(event)
    subject.plugin.close()
    require(repr(events) == repr(kept), "it changes the data of an event, which others hear after it")
    require(subject.plugin.model_dump() == settings, "it changes its own settings")


# ---- stages ----------------------------------------------------------------------------------------------------------


@check("stages")
def check_needs_and_makes_are_data(subject: Subject) -> None:
    """The index knows what a stage needs and makes, so that a recipe is planned without importing it."""
    facts, kind = subject.entry().facts, type(subject.plugin)
    require(isinstance(facts.get("makes"), str) and facts["makes"].isidentifier(), f"makes is {facts.get('makes')!r}")
    needs = facts.get("needs")
    require(isinstance(needs, Mapping), f"needs is {needs!r}, not names of inputs and kinds of artifacts")
    for name, wanted in dict(needs or {}).items():
        kind_of = wanted.removesuffix("?").removesuffix("?") if isinstance(wanted, str) else ""
        sound = name.isidentifier() and kind_of.isidentifier()
        require(sound, f"needs {name!r}: {wanted!r} is no input and kind of artifact")
    sound = isinstance(kind.version, int) and kind.version >= 1
    require(sound, f"version is {kind.version!r}, not a whole number from 1")
