"""Two versions beside each other: what they answer to the same rows, what they cost, and what was done differently.

Both answer the same frozen rows, so every difference is a paired one: a bootstrap of the rows for each metric, and
McNemar's test on the rows that only one of them has right. Rows that either was trained on are left out and counted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from danlu import bundle
from danlu.blocks import judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.intervals import Score, difference
from danlu.blocks.mcnemar import mcnemar
from danlu.blocks.report.inputs import shown
from danlu.blocks.splits import row_keys
from danlu.contracts import Answer, Metric, Source, Task, iterate_rows
from danlu.core import plugin
from danlu.core.artifact import Store
from danlu.core.canonical import plain
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.predictor import Predictor
from danlu.registry.ancestry import dataset
from danlu.registry.lineage import dataset_manifest
from danlu.registry.store import Registry
from danlu.registry.versions import Version

_EXAMPLES, _LONGEST = 10, 160
_ENDINGS = {"tsv": "csv", "txt": "csv", "pq": "parquet", "ndjson": "jsonl"}
_CONDITION = re.compile(r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*([+-]?\d+(?:\.\d+)?)\s*")
_HOLDS = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


@dataclass(frozen=True)
class Side:
    """One of the two: its record, its default form ready to answer, and the data it was trained on where that is
    still there."""

    version: Version
    forms: bundle.Forms
    trained_on: DataSet | None

    @classmethod
    def open(cls, reference: str, store: Store) -> Side:
        """The version that a reference stands for, every byte of it checked."""
        registry = Registry(store.path)
        version = registry.resolve(reference)
        return cls(version, bundle.Forms.open(registry.open(version)), dataset(version, store))

    def load(self) -> Predictor:
        return bundle.load(self.forms.folder(self.forms.default))


@dataclass(frozen=True)
class Rows:
    """The rows that both are asked: a table, the task that reads it, and where it is from."""

    table: pa.Table
    task: Task
    source: str


def compare(first: Side, second: Side, rows: Rows, *, latency: bool, seed: int, events: Events) -> dict[str, Any]:
    """What `danlu compare` tells, in JSON values; every difference is `second - first`.

    Raises DataError when a row's true answer is unknown to one of them, or no row is left to compare on;
    RecipeError when they answer different questions.
    """
    asking = [(side, side.load()) for side in (first, second)]
    tasks = [predictor.task for _, predictor in asking]
    if tasks[0].gives != tasks[1].gives:
        what = f"{first.version.reference} is for {tasks[0].name}, {second.version.reference} for {tasks[1].name}"
        raise RecipeError(f"they answer different questions: {what}", do="compare versions of one task")
    kept, leaks = _without_learnt(rows, (first, second))
    told = list(iterate_rows(kept))
    gold = [rows.task.gold(row) for row in told]
    if any(answer is None for answer in gold):
        raise DataError(f"{gold.count(None)} rows have no true answer", where=rows.source, do="fill them in")
    inputs = [rows.task.ask(row) for row in told]
    metrics, of_form = judging.choose_metrics(None, rows.task)
    of_form = [metric for metric in of_form if latency or metric.name != "latency"]
    judged = [_judge(side, predictor, inputs, gold, (metrics, of_form), seed, events) for side, predictor in asking]
    result = {
        "first": judged[0].plain(),
        "second": judged[1].plain(),
        "data": {"source": rows.source, "rows": len(told), **leaks},
        "primary": judging.primary(judged[1].scores),
        "required": [name for name in second.version.metadata.get("required", {}) if name in judged[1].scores],
        "metrics": differences(metrics, *(one.scores for one in judged)),
        **_moved(rows.task, inputs, gold, *(one.answers for one in judged)),
        "changed": changes(first.version, second.version),
    }
    settled: dict[str, Any] = plain(result)
    return settled


@dataclass(frozen=True)
class _Judged:
    side: Side
    answers: list[Answer]
    scores: dict[str, Score]
    measured: dict[str, dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        version, form = self.side.version, self.side.forms.default
        metrics = {name: score.plain() for name, score in self.scores.items() if score.value is not None}
        told = {"reference": version.reference, "form": form, "metrics": metrics, **judging.in_short(self.measured)}
        return {**told, "version_mb": version.size / 1e6}


def _judge(
    side: Side,
    predictor: Any,
    inputs: list[Any],
    gold: list[Answer],
    metrics: tuple[Sequence[Metric], Sequence[Metric]],
    seed: int,
    events: Events,
) -> _Judged:
    judging.check_known(predictor.task, gold)
    answers = judging.ask_all(predictor, inputs, events, f"answering with {side.version.reference}")
    scores = judging.score_all(metrics[0], answers, gold, seed=seed)
    folder = side.forms.folder(side.forms.default)
    return _Judged(side, answers, scores, judging.measure_all(metrics[1], predictor, inputs, folder))


# ---- rows ------------------------------------------------------------------------------------------------------------


def test_rows(side: Side) -> Rows:
    """The test rows of the data set that a version was made with. Raises DataError when they are no longer there."""
    data = side.trained_on
    if data is None:
        what = f"the data set that {side.version.reference} was measured on is not in the store any more"
        raise DataError(what, do="name other rows: --data FILE, or run its recipe again")
    data.check()
    return Rows(data.table("test"), data.task, f"the test rows of {side.version.reference}")


def rows_of(given: str, side: Side, store: Store) -> Rows:
    """Rows that a person names: a data file, read by the source named for its ending, or a data set of the store.

    A file is read by the task of `side`, so it has the columns of the rows that one was trained on. Raises RecipeError
    for anything else.
    """
    path = Path(given)
    if not path.is_file():
        folder = path if path.is_dir() else store.open(given).path
        data = DataSet.open(folder)
        return Rows(data.table("test"), data.task, f"the test rows in {folder}")
    ending = path.suffix.removeprefix(".")
    name = next((e.name for e in plugin.entries("sources") if e.name == _ENDINGS.get(ending, ending)), None)
    if name is None:
        raise RecipeError(f"no source reads a file that ends in .{ending}", where=given, do="give a .csv file")
    source = Source.choose({name: str(path.absolute())})
    table = pa.Table.from_batches(source.rows())
    task = side.load().task
    columns = task.columns()
    if lost := [name for name in (*columns.ask, *columns.gold) if name not in table.column_names]:
        there = ", ".join(table.column_names)
        do = f"name its columns as in the data of {side.version.reference}"
        raise DataError(f"it has no column {lost[0]!r}, only {there}", where=given, do=do)
    return Rows(table, task, given)


def _without_learnt(rows: Rows, sides: Sequence[Side]) -> tuple[pa.Table, dict[str, Any]]:
    """The rows whose input neither was trained on, and how many of each one's training rows were among them."""
    keys = row_keys(rows.table, rows.task.columns().ask)
    learnt, told = set[bytes](), dict[str, int | None]()
    for side in sides:
        data = side.trained_on
        known = set(row_keys(data.table("train"), data.task.columns().ask)) & set(keys) if data else set[bytes]()
        told[side.version.reference] = sum(key in known for key in keys) if data else None
        learnt |= known
    kept = rows.table.filter(pa.array([key not in learnt for key in keys], pa.bool_()))
    if not kept.num_rows:
        do = "give other rows: --data FILE"
        raise DataError("every row was a training row of one of them", where=rows.source, do=do)
    same = len({str((dataset_manifest(side.version) or {}).get("digest")) for side in sides}) == 1
    return kept, {"trained_on_the_same": same, "learnt": told, "left_out": rows.table.num_rows - kept.num_rows}


# ---- answers ---------------------------------------------------------------------------------------------------------


def differences(
    metrics: Sequence[Metric], before: Mapping[str, Score], after: Mapping[str, Score]
) -> dict[str, dict[str, Any]]:
    """Metric → the paired difference, and whether its whole interval is on the good side, the bad one, or neither."""
    found = {}
    for metric in metrics:
        if before[metric.name].value is None or after[metric.name].value is None:
            continue
        gap = difference(after[metric.name], before[metric.name])
        ends = [end if metric.better == "higher" else -end for end in (gap["low"], gap["high"]) if end is not None]
        verdict = "better" if ends and min(ends) > 0 else "worse" if ends and max(ends) < 0 else "no clear difference"
        found[metric.name] = {**gap, "better": metric.better, "verdict": verdict}
    return found


def _moved(
    task: Task, inputs: list[Any], gold: list[Answer], before: list[Answer], after: list[Answer]
) -> dict[str, Any]:
    """Rows that only one of them has right, with examples; nothing for answers that are neither right nor wrong."""
    if not all(_decision(answer) is not None for answer in gold):
        return {"gained": None, "lost": None, "mcnemar": None}
    right = [[_decision(a) == _decision(g) for a, g in zip(answers, gold, strict=True)] for answers in (before, after)]
    gained = [k for k in range(len(gold)) if right[1][k] and not right[0][k]]
    lost = [k for k in range(len(gold)) if right[0][k] and not right[1][k]]

    def told(places: list[int]) -> dict[str, Any]:
        examples = [
            {
                "input": _short(task, inputs[k]),
                "gold": _decision(gold[k]),
                "before": _decision(before[k]),
                "after": _decision(after[k]),
            }
            for k in places[:_EXAMPLES]
        ]
        return {"rows": len(places), "examples": examples}

    return {"gained": told(gained), "lost": told(lost), "mcnemar": mcnemar(len(lost), len(gained))}


def _decision(answer: Answer) -> Any:
    """What is right or wrong in an answer: its label, or its set of labels; None for one without."""
    if not isinstance(answer, Mapping):
        return None
    return answer["label"] if "label" in answer else sorted(answer["labels"]) if "labels" in answer else None


def _short(task: Task, x: Any) -> str:
    text = " ".join(shown(task, x).get("text", "(a picture)").split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


# ---- what was done differently ---------------------------------------------------------------------------------------


def changes(first: Version, second: Version) -> dict[str, Any]:
    """`{settings, data, libraries}`: name → [before, after] of what differs; None stands for what was not there."""
    return {
        "settings": _differing(dict(_settings(first)), dict(_settings(second))),
        "data": _differing(dict(_data(first)), dict(_data(second))),
        "libraries": _differing(dict(_libraries(first)), dict(_libraries(second))),
    }


def _differing(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = list(dict.fromkeys([*before, *after]))
    return {name: [before.get(name), after.get(name)] for name in names if before.get(name) != after.get(name)}


def _settings(version: Version) -> Iterator[tuple[str, Any]]:
    for manifest in version.manifests:
        yield f"{manifest['step']}.do", manifest["stage"]
        yield from flat(manifest["settings"], manifest["step"])
    yield from ((f"required {name}", bound) for name, bound in version.metadata.get("required", {}).items())


def flat(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Settings as `tuned.method.lora.rank`; what is not a mapping with something in it is one value."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from flat(inner, f"{where}.{name}")
    else:
        yield where, value if not isinstance(value, Mapping | list) else json.dumps(value, ensure_ascii=False)


def _data(version: Version) -> Iterator[tuple[str, Any]]:
    data = version.metadata.get("data", {})
    yield "source", data.get("source")
    yield "rows of the source (digest)", data.get("fingerprint")
    for split, told in data.get("splits", {}).items():
        yield f"{split} rows", told.get("rows")
        yield f"{split} digest", told.get("digest")


def _libraries(version: Version) -> Iterator[tuple[str, Any]]:
    yield from version.metadata.get("libraries", {}).items()
    for name in ("python", "cpu", "threads"):
        yield name, version.metadata.get("machine", {}).get(name)


# ---- gates -----------------------------------------------------------------------------------------------------------


def missed_gates(told: Mapping[str, Any], conditions: Sequence[str]) -> list[str]:
    """What is so of what `--fail-if` asks not to be so, in words; empty where nothing is.

    `worse`: the whole paired interval of the main metric, or of one the second version's recipe requires, is on the
    bad side. `accuracy < -0.01`: so much is the difference. Raises RecipeError for anything else.
    """
    names = list(dict.fromkeys([told["primary"], *told["required"]]))
    missed = []
    for condition in conditions:
        if condition.strip() == "worse":
            missed += [_worded(name, told) for name in names if told["metrics"][name]["verdict"] == "worse"]
            continue
        name, sign, bound = _read(condition, told["metrics"])
        if _HOLDS[sign](told["metrics"][name]["value"], bound):
            missed.append(f"{_worded(name, told)}, which is {sign} {bound:g}")
    return missed


def _read(condition: str, metrics: Mapping[str, Any]) -> tuple[str, str, float]:
    match = _CONDITION.fullmatch(condition)
    if not match or match[1] not in metrics:
        do = f"--fail-if worse, or --fail-if 'accuracy < -0.01'; the metrics are: {', '.join(metrics)}"
        raise RecipeError(f"{condition!r} is no condition on a difference", where="--fail-if", do=do)
    return match[1], match[2], float(match[3])


def _worded(name: str, told: Mapping[str, Any]) -> str:
    gap = told["metrics"][name]
    return f"{name} differs by {gap['value']:+.4f} ({gap['low']:+.4f} to {gap['high']:+.4f})"
