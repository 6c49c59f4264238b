"""Several trained models beside each other: quality with 95 % intervals, and what each one cost.

Models that are judged on the same rows, one by one, are compared pair by pair with the first of them; for others there
is no difference to tell, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from danlu import bundle
from danlu.blocks import disturbed, judging, pareto
from danlu.blocks.dataset import DataSet
from danlu.blocks.disturbed import Disturbed
from danlu.blocks.intervals import Score
from danlu.blocks.splits import key_array
from danlu.contracts import Answer, Metric, Operator
from danlu.core import runs
from danlu.core.artifact import Artifact, Store
from danlu.core.canonical import plain
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.core.plan import Step
from danlu.core.plugin import did_you_mean
from danlu.registry import over_seeds
from danlu.registry.ancestry import dataset
from danlu.registry.comparison import differences
from danlu.registry.store import Registry

Split = Literal["test", "validation"]

COSTS = ("seconds", "size_mb", "latency_ms")
"""What quality is drawn against."""


@dataclass(frozen=True)
class Candidate:
    """A trained model with its data set, and what is known of its training."""

    name: str
    forms: bundle.Forms
    data: DataSet
    manifest: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of_artifact(cls, name: str, model: Artifact, store: Store) -> Candidate:
        """The model that a step made. Raises DataError when its data set was cleaned away."""
        found = model.parents(store).get("dataset")
        if found is None:
            raise DataError(f"the data set of {name} is not in the store any more", do="run its recipe again")
        model.verify()
        return cls(name, bundle.Forms.open(model.path), DataSet.open(found.path), model.manifest)

    @classmethod
    def of_version(cls, reference: str, store: Store) -> Candidate:
        """A published version. Raises as `of_artifact` does."""
        registry = Registry(store.path)
        version = registry.resolve(reference)
        data = dataset(version, store)
        if data is None:
            what = f"the data set of {version.reference} is not in the store any more"
            raise DataError(what, do="run its recipe again")
        trained = [m for m in version.manifests if m["kind"] == "model" and "trained_parameters" in m["numbers"]]
        told = trained[-1] if trained else {"settings": {}, "numbers": {}, "seconds": None}
        return cls(version.reference, bundle.Forms.open(registry.open(version)), data, told)

    @property
    def method(self) -> str:
        """What was trained, such as `pretrained lora, fgm`, techniques last; empty where that is not known."""
        settings = self.manifest["settings"]
        trained = " ".join(_name(settings[slot]) for slot in ("backbone", "method") if settings.get(slot))
        return ", ".join([trained, *map(_name, settings.get("techniques") or ())])

    def costs(self) -> dict[str, Any]:
        """What its training took, and bytes: of all its files, and of the weights which its frozen base has not."""
        numbers, trained = self.manifest["numbers"], self.forms.folder(self.forms.names[0])
        parts = [size for part, size in numbers.get("memory_estimate_mb", {}).items() if part != "free"]
        weights = bundle.describe(trained).weights
        own = [trained / one.file for one in weights if one.after or len(weights) == 1]
        return {
            "parameters": numbers.get("parameters"),
            "trained_parameters": numbers.get("trained_parameters"),
            "trained_share": numbers.get("trained_share"),
            "seconds": numbers.get("seconds", self.manifest["seconds"]),
            "memory_mb": round(sum(parts), 1) if parts else None,
            "own_mb": sum(file.stat().st_size for file in own) / 1e6,
        }


def _name(chosen: Any) -> str:
    return chosen if isinstance(chosen, str) else next(iter(chosen), "")


def check_steps(steps: Sequence[Step], wanted: Sequence[str], against: str | None = None) -> None:
    """Raise RecipeError, before a recipe is run, for a step that will make no model.

    With `against` nothing but this recipe is compared: raises for too few models, and for one that is not among them.
    """
    models = [step.name for step in steps if step.kind == "model"]
    _check_wanted(wanted, models)
    if against is not None:
        _reference(list(dict.fromkeys(wanted)) or models, against)


def _check_wanted(wanted: Sequence[str], models: list[str]) -> None:
    for step in wanted:
        if step not in models:
            what = f"no step {step!r} makes a model{did_you_mean(step, models)}"
            raise RecipeError(what, where="--steps", do=f"one of: {', '.join(models) or 'none does'}")


def of_steps(made: Mapping[str, Artifact], wanted: Sequence[str], store: Store, prefix: str = "") -> list[Candidate]:
    """The models among what the steps of a run made; with `wanted` those of the steps it names, in its order.

    Raises RecipeError for a step that made no model, naming those that did.
    """
    models = {step: artifact for step, artifact in made.items() if artifact.kind == "model"}
    _check_wanted(wanted, list(models))
    return [Candidate.of_artifact(prefix + step, models[step], store) for step in wanted or models]


def of_run(run: runs.Run, wanted: Sequence[str], store: Store, prefix: str = "") -> list[Candidate]:
    """The models of a run that ended, those which are still in the store; see `of_steps`."""
    found = {name: store.find(str(step.get("key") or "")) for name, step in run.steps.items()}
    return of_steps({name: artifact for name, artifact in found.items() if artifact}, wanted, store, prefix)


# ---- comparing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """The rows of a split with their true answers, and a key of each, in their order."""

    inputs: list[Any]
    gold: list[Answer]
    keys: Any
    under: dict[str, Disturbed]

    @classmethod
    def of(cls, data: DataSet, split: Split, changes: Sequence[Operator], seed: int) -> _Rows:
        data.check()
        inputs, gold = data.judged(split)
        columns, table = data.task.columns(), data.table(split)
        under = disturbed.every(table, data.task, changes, seed)
        return cls(inputs, gold, key_array(table, [*columns.ask, *columns.gold], exact=True), under)


@dataclass(frozen=True)
class _Judged:
    """The scores of a model on its rows, those under each change of them, and what its form costs."""

    scores: dict[str, Score]
    under: dict[str, dict[str, Score]]
    costs: dict[str, Any]


def compare(
    found: Sequence[Candidate],
    *,
    split: Split,
    against: str,
    latency: bool,
    seed: int,
    events: Events,
    under: Sequence[Operator] = (),
) -> dict[str, Any]:
    """The table in JSON values: `{on, metric, better, against, models, seeds, under, fronts}`; differences are model
    minus `against`.

    A model is `{name, method, form, rows, metrics, differences, under, parameters, trained_parameters, trained_share,
    seconds, memory_mb, own_mb, size_mb, latency_ms}`; `differences` is None where it is judged on other rows than
    `against`, the first model unless named. `under` are changes of the inputs under which all are judged again: a model
    tells `{change: {metrics, differences}}`. `seeds` has those that differ in their seed alone as one, `{models, seeds,
    values, metrics, differences}`, with means; it is empty where no two do.
    Raises RecipeError for fewer than two models, for models of different tasks, and for a change that changes nothing.
    """
    reference = found[_reference([one.name for one in found], against)]
    rows: dict[Path, _Rows] = {}
    for one in found:
        if one.data.folder not in rows:
            rows[one.data.folder] = _Rows.of(one.data, split, under, seed)
    gives, name = reference.data.task.gives, reference.data.task.name
    if other := next((one for one in found if one.data.task.gives != gives), None):
        what = (
            f"they answer different questions: {reference.name} is for {name}, {other.name} for {other.data.task.name}"
        )
        raise RecipeError(what, do="--steps names those to compare")
    metrics, of_form = judging.choose_metrics(None, reference.data.task)
    of_form = [metric for metric in of_form if latency or metric.name != "latency"]
    judged = {one.name: _judged(one, rows[one.data.folder], (metrics, of_form), seed, events) for one in found}
    own, same = judged[reference.name], rows[reference.data.folder].keys
    primary = judging.primary(own.scores)

    def beside(one: Candidate, mine: Mapping[str, Score], theirs: Mapping[str, Score]) -> dict[str, Any]:
        alike = np.array_equal(rows[one.data.folder].keys, same)
        return {
            "metrics": {name: score.plain() for name, score in mine.items() if score.value is not None},
            "differences": differences(metrics, theirs, mine) if alike else None,
        }

    models = [
        {
            "name": one.name, "method": one.method, "form": one.forms.default, "rows": len(rows[one.data.folder].gold),
            **beside(one, judged[one.name].scores, own.scores),
            "under": {name: beside(one, scores, own.under[name]) for name, scores in judged[one.name].under.items()},
            **one.costs(), **judged[one.name].costs,
        }
        for one in found
    ]  # fmt: skip
    better = next(metric.better for metric in metrics if metric.name == primary)
    shown = {name: change.told() for name, change in rows[reference.data.folder].under.items()}
    told = {"on": split, "metric": primary, "better": better, "against": reference.name, "models": models}
    told["seeds"] = _over_seeds(found, judged, rows, reference.name, beside)
    fronts = {cost: _front(models, primary, better, cost) for cost in COSTS}
    settled: dict[str, Any] = plain({**told, "under": shown, "fronts": fronts})
    return settled


def _over_seeds(
    found: Sequence[Candidate],
    judged: Mapping[str, _Judged],
    rows: Mapping[Path, _Rows],
    against: str,
    beside: Callable[[Candidate, Mapping[str, Score], Mapping[str, Score]], dict[str, Any]],
) -> list[dict[str, Any]]:
    """The models in groups that differ in their seed alone; none where no group has several."""
    named = {one.name: one for one in found}
    groups = over_seeds.groups({one.name: one.manifest for one in found})
    if all(len(names) == 1 for names in groups):
        return []

    def means(names: Sequence[str]) -> dict[str, Score]:
        count = len(rows[named[names[0]].data.folder].gold)
        each = [judged[name].scores for name in names]
        return {metric: over_seeds.mean([scores[metric] for scores in each], count) for metric in each[0]}

    theirs = means(next(names for names in groups if against in names))
    return [
        {
            "models": names,
            "seeds": [over_seeds.seed_of(named[name].manifest) for name in names],
            "values": {metric: [judged[name].scores[metric].value for name in names] for metric in theirs},
            **beside(named[names[0]], means(names), theirs),
        }
        for names in groups
    ]


def _reference(names: list[str], against: str) -> int:
    """The place of the one that the others are compared with."""
    if len(names) < 2:
        what = f"there is nothing to compare {names[0]} with" if names else "there is no model in it"
        raise RecipeError(what, do="name a run with several models, or several runs; `danlu runs` lists them")
    if against and against not in names:
        what = f"{against!r} is none of them{did_you_mean(against, names)}"
        raise RecipeError(what, where="--against", do=f"one of: {', '.join(names)}")
    return names.index(against) if against else 0


def _judged(
    one: Candidate, rows: _Rows, metrics: tuple[Sequence[Metric], Sequence[Metric]], seed: int, events: Events
) -> _Judged:
    folder = one.forms.folder(one.forms.default)
    predictor = bundle.load(folder)
    judging.check_known(predictor.task, rows.gold)

    def scored(inputs: Sequence[Any], what: str) -> dict[str, Score]:
        answers = judging.ask_all(predictor, inputs, events, f"answering with {one.name}{what}")
        return judging.score_all(metrics[0], answers, rows.gold, seed=seed)

    told = judging.in_short(judging.measure_all(metrics[1], predictor, rows.inputs, folder))
    costs = {"size_mb": told["size_mb"], "latency_ms": next(iter(told["latency_ms"].values()), None)}
    under = {name: scored(change.inputs, f" under {name}") for name, change in rows.under.items()}
    return _Judged(scored(rows.inputs, ""), under, costs)


def _front(models: Sequence[Mapping[str, Any]], metric: str, better: str, cost: str) -> list[int]:
    points = ((k, one[cost], one["metrics"].get(metric, {}).get("value")) for k, one in enumerate(models))
    return pareto.front(((k, x, y) for k, x, y in points if x is not None and y is not None), better)
