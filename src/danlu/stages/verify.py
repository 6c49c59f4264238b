"""Prove that every form of a model gives the answers that were measured, the served one included."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu import bundle
from danlu.blocks import judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.intervals import Score, difference
from danlu.blocks.parity import Agreement, agreement
from danlu.blocks.report.inputs import shown
from danlu.bundle import Forms, FormSpec
from danlu.contracts import Answer, Metric, Stage, Task
from danlu.core.canonical import plain
from danlu.core.errors import GateError
from danlu.serving.server import served
from danlu.serving.wire import Client, Limits

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

HTTP = "http"
"""The name of the form that is the default one, asked over HTTP."""
_EXACT = 1e-4
_COMPARED = ("distance_max", "distance_p99", "changed", "changed_share", "changed_per_label")
_ALONE = 32
"""How many rows are asked one by one over HTTP; the other requests hold as many as the server takes."""

_SAMPLE = 4
"""How many inputs are kept with their answers."""


class Verify(Stage):
    """Ask every form of the model, and the default one over HTTP, for every row of the frozen test set.

    An exact form (merged, exported, served) may be at most its tolerance away from the form it was made from on any
    row, and change no label; where two labels tie within 1e-6, either is right. A lossy form (compressed) may be
    further away on one row in a hundred, change at most `max_changed` of the labels, and cost no more than the budget
    it was made under. If any form disagrees, the run stops and shows the rows that differ most.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "model": "model"}
    makes: ClassVar[str] = "parity"

    metrics: tuple[Metric, ...] | None = None
    """What is measured of every form; by default all metrics that fit the task."""
    max_changed: float = Field(default=0.01, ge=0, le=1)
    """Share of the labels that a lossy form may change; one row is always allowed."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `parity.json`. Raises GateError when a form disagrees, DataError when the data was changed."""
        data, forms = DataSet.open(inputs["dataset"].path), Forms.open(inputs["model"].path)
        data.check()
        rows = _Rows(*data.judged("test"))
        metrics, of_form = judging.choose_metrics(self.metrics, data.task)
        budget = _budget(inputs["model"].path)
        asked: dict[str, list[Answer]] = {}
        scored: dict[str, dict[str, Score]] = {}
        found: dict[str, dict[str, Any]] = {}
        for name, spec, folder in _all_forms(forms):
            place = folder or forms.folder(forms.default)
            singly = name == HTTP and not forms.spec(forms.default).exact
            if singly:
                with _asking(name, place, batch_size=1) as ask:
                    asked[name] = _answers(name, ask, rows, events)
            with _asking(name, place) as ask:
                asked[name] = asked[name] if singly else _answers(name, ask, rows, events)
                measured = judging.measure_all(of_form, ask, rows.inputs, folder)
                sample = _sample(data.task, ask)  # of the last one, which is the served form
            scored[name] = judging.score_all(metrics, asked[name], rows.gold, seed=self.seed)
            before = _one_by_one(place, rows, events) if singly else asked.get(spec.of or "", [])
            against = agreement(data.task, before, asked[name]) if spec.of else None
            costs = _costs(metrics, scored[spec.of], scored[name]) if spec.of else {}
            found[name] = {
                "of": spec.of,
                "exact": spec.exact,
                "tolerance": spec.tolerance,
                **_told(against, data, rows),
                "metrics": {n: s.plain() for n, s in scored[name].items()} | measured,
                "drop": costs,
                **judging.in_short(measured),
                "faults": self.faults(spec, against, costs, budget),
            }
            found[name]["passed"] = not found[name]["faults"]
        told = {"rows": len(rows.gold), "default": forms.default, "seed": self.seed}
        parity = plain({**told, "forms": found, "sample": sample})
        text = json.dumps(parity, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        (out.path / "parity.json").write_text(text, encoding="utf-8", errors="backslashreplace")
        out.numbers |= _in_short(parity)
        if not all(told["passed"] for told in parity["forms"].values()):
            raise _disagreement(parity)

    def faults(
        self,
        spec: FormSpec,
        against: Agreement | None,
        costs: Mapping[str, Mapping[str, Any]],
        budget: Mapping[str, float],
    ) -> list[str]:
        """What a form does not keep of its promises, in words."""
        if against is None:
            return []
        greatest, p99, moved = against.greatest, against.p99, int(against.changed.sum())
        found = []
        if spec.exact:
            if not greatest <= spec.tolerance:
                found.append(f"an answer lies {greatest:.2g} away, {spec.tolerance:.2g} is allowed")
            if moved:
                found.append(f"{moved} labels changed, an exact form changes none")
            return found
        if not p99 <= spec.tolerance:
            found.append(f"one answer in a hundred lies {p99:.2g} away or more, {spec.tolerance:.2g} is allowed")
        if moved > max(1, self.max_changed * len(against.changed)):
            found.append(f"{against.changed_share:.2%} of the labels changed, {self.max_changed:.2%} are allowed")
        for name, allowed in budget.items():
            drop = costs.get(name, {}).get("value")
            if drop is not None and drop > allowed:
                found.append(f"{name} falls by {drop:.4f} on the test rows, {allowed:g} is allowed")
        return found


@dataclass(frozen=True)
class _Rows:
    inputs: list[Any]
    gold: list[Answer]


def _all_forms(forms: Forms) -> Iterator[tuple[str, FormSpec, Path | None]]:
    """Every form with what it promises and its folder, then the served one."""
    for name in forms.names:
        yield name, forms.spec(name), forms.folder(name)
    yield HTTP, FormSpec(of=forms.default, exact=True, tolerance=_EXACT), None


@contextmanager
def _asking(name: str, folder: Path, batch_size: int = 32) -> Iterator[judging.Ask]:
    """How a form is asked: by a predictor, or over HTTP."""
    predictor = bundle.load(folder, batch_size=batch_size)
    if name != HTTP:
        yield predictor
        return
    with served(predictor) as url, closing(Client(url, predictor.task)) as client:
        yield client


def _one_by_one(folder: Path, rows: _Rows, events: Events) -> list[Answer]:
    """The answers of a lossy form in batches of one, for HTTP to be compared with in batches of one.

    A server makes other batches, sums in them differ by 1e-7, and where that crosses a rounding edge a quantised number
    moves by a whole step (seen: an answer 0.0007 away), which would hide what the way over HTTP itself changes.
    """
    return judging.ask_all(bundle.load(folder, batch_size=1), rows.inputs, events, "answering one by one")


def _answers(name: str, ask: judging.Ask, rows: _Rows, events: Events) -> list[Answer]:
    """Over HTTP the first rows are asked one by one, the others many at a time: both must give the same."""
    what = f"answering over {name}" if name == HTTP else f"answering with {name}"
    if name != HTTP:
        return judging.ask_all(ask, rows.inputs, events, what)
    answers: list[Answer] = []
    while len(answers) < len(rows.inputs):
        events.progress(what, len(answers), len(rows.inputs), "rows")
        size = 1 if len(answers) < _ALONE else Limits().inputs
        answers += ask(rows.inputs[len(answers) : len(answers) + size])
    events.progress(what, len(answers), len(answers), "rows")
    return answers


def _sample(task: Task, ask: judging.Ask) -> list[dict[str, Any]]:
    """Some inputs that belong to nobody, and their answers: what a server asks a version before it lets it answer."""
    inputs = [task.ask(row) for row in task.sample(_SAMPLE)]
    return [{"input": task.to_json(x), "answer": answer} for x, answer in zip(inputs, ask(inputs), strict=True)]


def _budget(model: Path) -> dict[str, float]:
    """What the compression that made the model was allowed to cost; empty where none was."""
    path = model / "budget.json"
    budget: dict[str, float] = json.loads(path.read_bytes())["max_drop"] if path.is_file() else {}
    return budget


def _costs(metrics: Sequence[Metric], before: Mapping[str, Score], after: Mapping[str, Score]) -> dict[str, Any]:
    """Metric → by how much it got worse, `{value, low, high}`, paired."""
    costs = {}
    for metric in metrics:
        pair = before[metric.name], after[metric.name]
        if pair[0].value is not None:
            costs[metric.name] = difference(*(pair if metric.better == "higher" else pair[::-1]))
    return costs


def _told(against: Agreement | None, data: DataSet, rows: _Rows) -> dict[str, Any]:
    if against is None:
        return {**dict.fromkeys(_COMPARED), "worst": []}
    worst = [{**row, "input": shown(data.task, rows.inputs[row["row"]])} for row in against.worst()]
    return {**against.plain(), "worst": worst}


def _in_short(parity: Mapping[str, Any]) -> dict[str, Any]:
    """For the manifest: how far the exact forms and the lossy ones are away at most, and every form's metrics."""
    compared = {name: told for name, told in parity["forms"].items() if told["of"]}
    exact = [told["distance_max"] for told in compared.values() if told["exact"]]
    lossy = [told["distance_p99"] for told in compared.values() if not told["exact"]]
    values = {
        name: {metric: score["value"] for metric, score in told["metrics"].items() if score["value"] is not None}
        for name, told in parity["forms"].items()
    }
    return {
        "rows": parity["rows"],
        "exact_distance_max": max(exact, default=None),
        "lossy_distance_p99": max(lossy, default=None),
        "labels_changed": sum(told["changed"] for told in compared.values()),
        "forms": values,
    }


def _disagreement(parity: Mapping[str, Any]) -> GateError:
    failed = {name: told for name, told in parity["forms"].items() if not told["passed"]}
    lines = [f"  {name} (made from {told['of']}): {'; '.join(told['faults'])}" for name, told in failed.items()]
    first = next(iter(failed.values()))
    lines.append("  the rows that differ most:")
    for row in first["worst"][:5]:
        lines.append(f"    row {row['row']}: distance {row['distance']:.3g}, {row['before']} → {row['after']}")
    what = f"{len(failed)} of {len(parity['forms'])} forms do not give the answers that were measured:\n" + "\n".join(
        lines
    )
    do = (
        "a compressed form: train longer (a surer model changes fewer labels), compress less, or allow more, "
        "knowingly: `max_changed`, `max_drop`; an exact form: this is a bug, tell us"
    )
    return GateError(what, do=do)
