"""Make a smaller form of a model, and keep it only if it stays good enough."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from danlu import bundle
from danlu.blocks import judging, merging
from danlu.blocks.dataset import DataSet
from danlu.blocks.intervals import difference
from danlu.bundle import Forms, FormSpec
from danlu.contracts import Answer, Arrays, Compressor, Metric, Runtime, Settings, Stage, slot
from danlu.core import plugin
from danlu.core.canonical import plain, to_json
from danlu.core.errors import DataError, GateError, RecipeError
from danlu.core.settings import AnswerMetricName

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

BUDGET = "budget.json"
_HEARD = 128
"""Validation rows whose passes through the model are recorded, for the export and for calibration."""
_SAMPLE = 32
"""Rows of the task's own sample that are recorded too: their lengths vary, whatever the data is like."""


class Budget(Settings):
    """What a compression may cost."""

    max_drop: dict[AnswerMetricName, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Metric → by how much it may get worse on the validation rows, such as `{accuracy: 0.005}`."""


class Compress(Stage):
    """Export the trained model, compress it, and measure on the validation rows what that cost.

    The result has all forms there were, the exported and the compressed one, which becomes the default. Parts of a
    method that can go into the weights (`lora`) are merged first. A budget that is missed stops the run: nothing is
    kept.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "model": "model"}
    makes: ClassVar[str] = "model"

    by: tuple[Compressor, ...] = slot(("int8",))
    """What makes it smaller, in this order; the new form is named after them."""
    runtime: Runtime = slot("onnx")
    """What the model is exported to and compressed in; with `torch` the module itself is compressed."""
    budget: Budget = Budget()
    """What the compression may cost at most."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write the forms, `forms.json` and `budget.json`.

        Raises GateError when the budget is missed, RecipeError when a compressor has nothing to do or the model cannot
        be exported, DataError when the data was changed.
        """
        if not self.by:
            raise RecipeError("no compressor is named", where="by", do="by=[int8], or leave the step out")
        data, forms = DataSet.open(inputs["dataset"].path), Forms.open(inputs["model"].path)
        data.check()
        metrics = self.budgeted(data)
        source = trained_form(forms)
        names, specs = self.new_forms(forms, source)
        forms.copy_to(out.path, forms.names)
        rows, gold = data.judged("validation")
        predictor = bundle.load(forms.folder(source))
        events.progress("exporting", 0, len(names), "forms")
        calls = heard(predictor, rows)
        self.make_forms(out.path, merging.plain(forms.folder(source), out.work / "plain"), names, calls, events)
        shutil.rmtree(out.work / "plain", ignore_errors=True)  # else it would stay where the budget is missed
        made = Forms.write(out.path, forms.specs | specs, default=names[-1])
        answers = {
            name: judging.ask_all(one, rows, events, f"answering with {name}")
            for name, one in ((source, predictor), (names[-1], bundle.load(made.folder(names[-1]))))
        }
        costs = self.costs(metrics, answers[source], answers[names[-1]], gold)
        told = {"max_drop": dict(self.budget.max_drop), "rows": len(rows), "form": names[-1], "metrics": costs}
        (out.path / BUDGET).write_bytes(to_json(told, indent=1) + b"\n")
        sizes = {name: judging.size_mb(made.folder(name)) for name in made.names}
        drops = {f"{name}_drop": cost["drop"] for name, cost in costs.items()}
        short = {"mb_before": sizes[source], "mb_after": sizes[names[-1]], **drops}
        out.numbers |= plain({**short, "metrics": costs, "size_mb": sizes})
        self.check_budget(costs, names[-1], len(rows))

    def new_forms(self, forms: Forms, source: str) -> tuple[list[str], dict[str, FormSpec]]:
        """The names of the forms to make, the compressed one last, and what they promise."""
        compressed = "_".join(re.sub(r"\W+", "_", compressor.name.rpartition(":")[2]) for compressor in self.by)
        lossy = FormSpec(of=source, exact=False, tolerance=max(compressor.tolerance for compressor in self.by))
        specs = {compressed: lossy}
        if not self.replays:
            specs = {self.runtime.name: FormSpec(of=source, exact=True, tolerance=self.runtime.tolerance)} | specs
        if there := specs.keys() & set(forms.names):
            raise RecipeError(f"the model has a form {min(there)} already", do="compress the model of an earlier step")
        return list(specs), specs

    @property
    def replays(self) -> bool:
        """Whether the runtime runs the module itself, so that there is nothing to export."""
        return self.runtime.name == "torch"

    def make_forms(self, out: Path, source: Path, names: Sequence[str], calls: list[Arrays], events: Events) -> None:
        if self.replays:
            self.compress_module(source, out / names[-1], calls)
        else:
            module, *_ = bundle.load_module(source)
            exported = out / names[0]
            bundle.save_form(
                exported, of=source, runtime=self.runtime, write=lambda f: self.runtime.export(module, calls, f)
            )
            events.progress("compressing", 1, len(names), "forms")
            self.compress_export(exported, out / names[-1], source=source, calls=calls)
        events.progress("compressing", len(names), len(names), "forms")

    def compress_export(self, exported: Path, out: Path, *, source: Path, calls: list[Arrays]) -> None:
        def write(folder: Path) -> None:
            before = exported
            for k, compressor in enumerate(self.by, 1):
                after = folder if k == len(self.by) else folder / f".step{k}"
                after.mkdir(exist_ok=True)
                compressor.compress_form(before, calls, after)
                if before != exported:
                    shutil.rmtree(before)
                before = after

        bundle.save_form(out, of=source, runtime=self.runtime, compressed=self.by, write=write)

    def compress_module(self, source: Path, out: Path, calls: list[Arrays]) -> None:
        if parts := bundle.describe(source).parts:
            what = f"parts of the method {parts[0].name} stay beside the weights, which cannot be compressed with them"
            raise RecipeError(what, where="runtime", do="runtime=onnx, or method=full")
        module, backbone, task, processor = bundle.load_module(source)
        for compressor in self.by:
            module = compressor.compress(module, calls)
        bundle.save(out, backbone=backbone, task=task, processor=processor, module=module, parts=self.by)

    def budgeted(self, data: DataSet) -> list[Metric]:
        """The metrics of the budget; all that judge answers of this kind, if any does, where it names none."""
        chosen = [plugin.load("metrics", name)() for name in self.budget.max_drop]
        fit: list[Metric] = judging.fitting("metrics", data.task.gives)
        metrics = chosen or [metric for metric in fit if metric.of == "answers"]
        if wrong := [metric.name for metric in chosen if metric.of != "answers"]:
            what = f"{wrong[0]} is no metric of answers, so a compression cannot make it worse on some rows"
            raise RecipeError(what, where="budget.max_drop", do="name accuracy, f1 or another metric of answers")
        return metrics

    def costs(
        self, metrics: Sequence[Metric], before: Sequence[Answer], after: Sequence[Answer], gold: Sequence[Answer]
    ) -> dict[str, dict[str, Any]]:
        """Metric → `{before, after, drop, low, high}`; a drop is how much worse it got, with its paired interval."""
        costs = {}
        for metric in metrics:
            one, other = (
                judging.score_all([metric], side, gold, seed=self.seed)[metric.name] for side in (before, after)
            )
            if one.value is not None and other.value is not None:
                sign = 1 if metric.better == "higher" else -1
                gap = difference(one, other)
                ends = sorted(sign * end for end in (gap["low"], gap["high"]) if end is not None) or (None, None)
                drop = sign * (one.value - other.value)
                costs[metric.name] = {
                    "before": one.value,
                    "after": other.value,
                    "drop": drop,
                    "low": ends[0],
                    "high": ends[-1],
                }
        return costs

    def check_budget(self, costs: Mapping[str, Mapping[str, Any]], form: str, rows: int) -> None:
        """Raise GateError, telling every metric that fell too far."""
        missed = [
            f"{name} falls by {told['drop']:.4f} ({told['before']:.4f} → {told['after']:.4f}), {allowed:g} is allowed"
            for name, allowed in self.budget.max_drop.items()
            if not (told := costs[name])["drop"] <= allowed
        ]
        if missed:
            what = f"the form {form} costs more than the budget on the {rows:,} validation rows: {'; '.join(missed)}"
            do = "train longer, compress less (danlu show int8: `smallest`), or allow more, knowingly: budget.max_drop"
            raise GateError(what, do=do)


def trained_form(forms: Forms) -> str:
    """The last exact form that holds a torch module: the merged one where there is one, else the trained one."""
    found = [n for n in forms.names if forms.spec(n).exact and bundle.describe(forms.folder(n)).weights]
    if not found:
        raise DataError("the model has no torch form to compress", where=str(forms.path), do="train it again")
    return found[-1]


def heard(predictor: Any, rows: Sequence[Any]) -> list[Arrays]:
    """What the model is asked for some rows and for the task's own sample: batches whose lengths vary."""
    task = predictor.task
    with predictor.listen() as calls:
        predictor([*rows[:_HEARD], *(task.ask(row) for row in task.sample(_SAMPLE))])
        predictor([task.ask(row) for row in task.sample(2)])
    return list(calls)
