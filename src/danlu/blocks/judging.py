"""What the stages that judge a model share: which metrics, how answers are asked for, what is measured of a form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from danlu.blocks.dataset import DataSet
from danlu.blocks.intervals import Score, score
from danlu.contracts import Answer, Metric, Task, labels_of
from danlu.core import plugin
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events

Ask = Callable[[Sequence[Any]], list[Answer]]

_AT_ONCE = 512


def fitting(family: str, gives: Mapping[str, str], names: Sequence[str] = ()) -> list[Any]:
    """Our own plug-ins of a family that want nothing but what is given, with their defaults; only those of `names`."""
    entries = [
        e for e in plugin.entries(family) if e.origin == "danlu" and not e.error and (not names or e.name in names)
    ]
    return [
        plugin.load(family, entry.name)()
        for entry in entries
        if all(gives.get(fact, wanted[0]) in wanted for fact, wanted in entry.wants.items())
    ]


def choose_metrics(chosen: Sequence[Metric] | None, task: Task) -> tuple[list[Metric], list[Metric]]:
    """Metrics of answers, and of a form: those that were chosen, and where none of a kind was, all that fit the task.

    Raises RecipeError when two have one name.
    """
    names = [metric.name for metric in chosen or ()]
    if twice := {name for name in names if names.count(name) > 1}:
        raise RecipeError(f"{min(twice)} is named twice, and a score has one name", where="metrics")
    fit: list[Metric] = fitting("metrics", task.gives)
    of_kind = {
        kind: [m for m in chosen or () if m.of == kind] or [m for m in fit if m.of == kind]
        for kind in ("answers", "form")
    }
    if not of_kind["answers"]:
        raise RecipeError(f"no metric judges the answers of {task.name}", where="metrics", do="danlu list metrics")
    return of_kind["answers"], of_kind["form"]


def ask_all(ask: Ask, inputs: Sequence[Any], events: Events, what: str) -> list[Answer]:
    """The answers to all inputs, with progress."""
    answers: list[Answer] = []
    for start in range(0, len(inputs), _AT_ONCE):
        events.progress(what, start, len(inputs), "rows")
        answers += ask(inputs[start : start + _AT_ONCE])
    events.progress(what, len(inputs), len(inputs), "rows")
    return answers


def score_all(
    metrics: Sequence[Metric], answers: Sequence[Answer], gold: Sequence[Answer], *, seed: int
) -> dict[str, Score]:
    """Metric → its score with an interval; equal seeds on the same rows make scores comparable pair by pair."""
    return {metric.name: score(metric, answers, gold, seed=seed) for metric in metrics}


def primary(scores: Mapping[str, Score]) -> str:
    """The first metric that has a single number. Raises RecipeError when none has."""
    name = next((name for name, told in scores.items() if told.value is not None), None)
    if name is None:
        raise RecipeError("no metric gives a single number to judge by", where="metrics", do="add accuracy, or another")
    return name


def measure_all(
    metrics: Sequence[Metric], ask: Ask, inputs: Sequence[Any], folder: Path | None
) -> dict[str, dict[str, Any]]:
    """Metric → `{value, low, high, parts}` for the numbers of a form; what cannot be measured is left out."""
    found = {}
    for metric in metrics:
        numbers = metric.measure(ask, inputs, folder)
        if numbers:
            parts = {name: number for name, number in numbers.items() if name != "value"}
            found[metric.name] = {"value": numbers["value"], "low": None, "high": None, "parts": parts}
    return found


def in_short(measured: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """`{size_mb, latency_ms: {batch size: ms}}`, as tables and cards show them; None and empty where not measured."""
    size, latency = measured.get("size"), measured.get("latency")
    return {"size_mb": size["value"] if size else None, "latency_ms": dict(latency["parts"]) if latency else {}}


def tuned(ask: Ask, task: Task, data: DataSet) -> Task:
    """The task with what it settles after training, on the validation rows; as it is where it settles nothing."""
    if type(task).tune is Task.tune:
        return task
    inputs, gold = data.judged("validation")
    return task.tune(ask(inputs), gold)


def check_known(task: Task, gold: Sequence[Answer]) -> None:
    """Raise DataError when a true answer has a label that the model cannot give."""
    known = set(task.head().labels)
    strange = sorted({label for answer in gold for label in labels_of(answer)} - known) if known else []
    if strange:
        what = f"{len(strange)} labels of the data are unknown to the model: {', '.join(strange[:5])}"
        raise DataError(what, do="judge it on data of the same task, or train it on this data")


def size_mb(folder: Path) -> float:
    """Megabytes (10⁶ bytes) of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
