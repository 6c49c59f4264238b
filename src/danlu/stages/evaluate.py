"""Measure a model on the frozen test set, beside honest baselines, and write the report."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from danlu import bundle
from danlu.blocks import disturbed, judging, label_details, numbers, retrieval
from danlu.blocks.curves import samples
from danlu.blocks.dataset import DataSet, label_counts
from danlu.blocks.disturbed import Change, Disturbed
from danlu.blocks.intervals import DRAWS, Score, difference
from danlu.blocks.report import page
from danlu.blocks.report.inputs import filled, shown
from danlu.blocks.report.provenance import rests_on
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Answer, Backbone, Metric, Stage, Task
from danlu.core import plugin
from danlu.core.artifact import Store
from danlu.core.canonical import plain
from danlu.core.errors import RecipeError
from danlu.predictor import Predictor
from danlu.registry.facts import ancestors
from danlu.training.job import Job
from danlu.training.loop import fit
from danlu.training.randomness import Stream, reseed

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

_BASELINES = ("majority", "tfidf_lr", "tfidf_ridge", "nearest", "word_overlap")
_ORDERS = (1, 3)
"""Of the n-grams that a model which writes is compared with: how often a token comes, and after which two."""
_WORST = 20
_FILLED = 6
_FEW_ROWS, _FEW_OF_A_LABEL = 200, 20
_COMMON, _OFF = 0.8, 0.1


class Evaluate(Stage):
    """Metrics with 95 % intervals on the test rows, simple baselines trained and measured beside it, and a report.

    The model's default form is measured: the one that is served. Whether it beats a baseline is decided on the paired
    difference in the first metric: better when its whole interval is above zero.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "model": "model"}
    makes: ClassVar[str] = "scores"

    metrics: tuple[Metric, ...] | None = None
    """What is measured, the first being the headline; by default all metrics that fit the task."""
    baselines: tuple[Backbone, ...] | None = None
    """What the model is compared with; by default the majority class, for texts TF-IDF with logistic regression (where
    numbers are told, ridge), for texts from texts what was written from the nearest training text, for questions about
    a text what stands near their words, and for a model that goes on with a text n-grams of order 1 and 3 over its own
    tokens. A masked model has no baseline."""
    under: tuple[Change, ...] = ()
    """Changes of the test inputs under which all are measured once more, such as `[typos, {eda: {rate: 0.2}}]`: any
    operator that augments texts. Each row is changed in its place and keeps its true answer."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `scores.json`, `report.html` and `baselines/<name>/`.

        Raises DataError when the data was changed since it was frozen, or has labels that the model does not know.
        """
        data, forms = DataSet.open(inputs["dataset"].path), bundle.Forms.open(inputs["model"].path)
        data.check()
        under = disturbed.every(data.table("test"), data.task, self.under, self.seed)
        judge = _Judge(data, *judging.choose_metrics(self.metrics, data.task), under, self.seed, events)
        folder = forms.folder(forms.default)
        own = judge.judged(bundle.load(folder), folder, forms.default)
        primary = judging.primary(own.scores)
        baselines = {}
        for backbone in self.compared_with(data.task, folder):
            named = called(backbone)
            try:
                other = _train_baseline(backbone, data, out.path / "baselines" / named, self.seed, events)
            except RecipeError as fault:
                if self.baselines is not None:
                    raise
                events.note(f"no baseline {named}: {fault.what}")
                continue
            judged = judge.judged(bundle.load(other.folder), other.folder, named)
            baselines[named] = {
                **judged.plain(),
                "seconds": other.seconds,
                **_verdict(own.scores[primary], judged.scores[primary], judge.metrics[primary].better),
            }
        scores = {
            "task_name": data.task.name,
            "form": forms.default,
            "rows": len(judge.gold),
            "seed": self.seed,
            "draws": DRAWS,
            "primary": primary,
            **own.plain(),
            "baselines": baselines,
            "disturbed": {name: change.told() for name, change in under.items()},
            "beats_baselines": all(told["verdict"] == "better" for told in baselines.values()),
            **_details(data, own.answers, judge.inputs, judge.gold),
            "operators": data.info["operators"],
        }
        scores["cautions"] = cautions(scores)
        scores["warnings"] = [*unbeaten(scores), *scores["cautions"]]
        told = {"seed": self.seed, "form": forms.default, "rows": len(judge.gold), "draws": DRAWS}
        line = ancestors(inputs.values(), Store(out.store))
        scores["rests_on"], scores["trainings"] = rests_on(line, data.info, told), _trainings(line, out)
        _write(out, plain(scores))
        for text in scores["warnings"]:
            events.warn(text)
        for name, told in own.under.items():
            events.note(f"under {name}: {_under(told, primary)}")

    def compared_with(self, task: Task, folder: Path) -> list[Backbone]:
        """The baselines; one that is the model itself is left out."""
        itself = bundle.describe(folder).backbone.name
        if self.baselines is not None:
            return [backbone for backbone in self.baselines if backbone.name != itself]
        if task.head().per == "next" and itself != "ngram":
            return _ngrams(folder)
        return [one for one in judging.fitting("backbones", task.gives, _BASELINES) if one.name != itself]


def called(backbone: Backbone) -> str:
    """A baseline's name; n-grams have their order in it, since there is more than one."""
    order = getattr(backbone, "order", None)
    return backbone.name if order is None else f"{backbone.name}_{order}"


@dataclass(frozen=True)
class _Judged:
    """What one model answered, and what that is worth."""

    answers: list[Answer]
    scores: dict[str, Score]
    measured: dict[str, dict[str, Any]]
    under: dict[str, dict[str, Any]]
    """Change → `{metrics, lost}`: the scores under it, and how far they are from those of the rows as they are."""

    def plain(self) -> dict[str, Any]:
        metrics = {name: told.plain() for name, told in self.scores.items()}
        return {"metrics": metrics | self.measured, "under": self.under, **judging.in_short(self.measured)}


class _Judge:
    """The test rows, and how models are measured on them: all of them alike."""

    def __init__(
        self,
        data: DataSet,
        metrics: Sequence[Metric],
        of_form: Sequence[Metric],
        under: Mapping[str, Disturbed],
        seed: int,
        events: Events,
    ) -> None:
        self.inputs, self.gold = data.judged("test")
        self.under = under
        self.metrics, self.of_form = {metric.name: metric for metric in metrics}, of_form
        self.seed, self.events = seed, events

    def judged(self, predictor: Predictor, folder: Path, name: str) -> _Judged:
        judging.check_known(predictor.task, self.gold)
        answers, scores = self._scored(predictor, self.inputs, f"answering with {name}")
        under = {}
        for change, told in self.under.items():
            _, found = self._scored(predictor, told.inputs, f"answering with {name} under {change}")
            lost = {metric: difference(found[metric], clean) for metric, clean in scores.items()}
            under[change] = {"metrics": {metric: one.plain() for metric, one in found.items()}, "lost": lost}
        return _Judged(answers, scores, judging.measure_all(self.of_form, predictor, self.inputs, folder), under)

    def _scored(self, predictor: Predictor, inputs: list[Any], what: str) -> tuple[list[Answer], dict[str, Score]]:
        answers = judging.ask_all(predictor, inputs, self.events, what)
        return answers, judging.score_all(list(self.metrics.values()), answers, self.gold, seed=self.seed)


@dataclass(frozen=True)
class _Trained:
    folder: Path
    seconds: float


def _train_baseline(backbone: Backbone, data: DataSet, folder: Path, seed: int, events: Events) -> _Trained:
    """A baseline trained on the same training rows, as a bundle."""
    began = time.monotonic()
    events.progress(f"training {backbone.name}", 0, None)
    task, rows, own = data.task, data.rows("train"), backbone.folder()
    reseed(seed, Stream.START)
    processor = backbone.processor(own) if own else backbone.learn(task.material(row) for row in rows)
    module, _ = backbone.start(task.head(), processor)
    examples = [example for row in rows for example in task.examples(row, processor)]
    fit(Job(module, task, processor, examples, backbone=backbone, seed=seed))
    task = judging.tuned(Predictor(TorchForm(module, backbone), task, processor), task, data)
    bundle.save(folder, backbone=backbone, task=task, processor=processor, module=module)
    return _Trained(folder, round(time.monotonic() - began, 3))


def _ngrams(folder: Path) -> list[Backbone]:
    """Kneser–Ney n-grams over the model's own tokens, without which perplexities could not be compared.

    None where the model has no tokenizer that another can take.
    """
    if not (folder / "tokenizer.json").is_file():
        return []
    counting, taken = plugin.load("backbones", "ngram"), plugin.load("tokenizers", "taken")
    return [counting(order=order, tokenizer=taken(model=str(folder))) for order in _ORDERS]


def _verdict(own: Score, other: Score, better: str) -> dict[str, Any]:
    """The paired difference, and whether its whole interval is on the good side, on the bad one, or on neither."""
    gap = difference(own, other)
    sign = 1 if better == "higher" else -1
    ends = sorted(sign * end for end in (gap["low"], gap["high"]) if end is not None)
    verdict = "better" if ends and ends[0] > 0 else "worse" if ends and ends[-1] < 0 else "no clear difference"
    return {"difference": gap, "verdict": verdict}


def _details(data: DataSet, answers: list[Answer], inputs: list[Any], gold: list[Answer]) -> dict[str, Any]:
    """What the report shows of answers of this kind; nothing for a kind that has no drawing yet."""
    kind = data.task.gives.get("answer")
    if kind == "number" and numbers.readable(answers):
        found = numbers.details(answers, gold, _WORST)
        worst = [{**row, "input": shown(data.task, inputs[row["row"]])} for row in found["worst"]]
        return {"numbers": {**found, "worst": worst}}
    if kind == "ranking":
        return {"rankings": retrieval.details(inputs, answers, gold, _WORST)}
    if kind == "picture":
        return {"filled": filled(answers, gold, _FILLED)}
    if kind not in ("label", "labels"):
        return {}
    found = label_details.details(answers, gold, label_counts([data.table("train")], data.task))
    worst = label_details.worst(answers, gold, _WORST)
    return {**found, "worst": [{**row, "input": shown(data.task, inputs[row["row"]])} for row in worst]}


def _trainings(line: Sequence[Artifact], out: Draft) -> list[dict[str, Any]]:
    """How the models that these scores rest on were trained: `{step, numbers, samples}`, the earliest first."""
    return [
        {"step": a.manifest["step"], "numbers": a.numbers, "samples": samples(str(out.store), a.key)}
        for a in line
        if a.kind == "model" and a.numbers.get("loss")
    ]


def unbeaten(scores: Mapping[str, Any]) -> list[str]:
    """The baselines that the model does not beat, a sentence each."""
    what = f"the difference in {scores['primary']} is"
    return [
        f"The model is not better than the baseline {name}: {what} {_gap(row['difference'])}."
        for name, row in scores["baselines"].items()
        if row["verdict"] != "better"
    ]


def cautions(scores: Mapping[str, Any]) -> list[str]:
    """What may mislead a reader of these scores, in sentences; the gravest first."""
    primary, told = scores["primary"], scores["metrics"][scores["primary"]]
    found = []
    if scores["rows"] < _FEW_ROWS and told["low"] is not None:
        found.append(
            f"The test set has only {scores['rows']} rows, so {primary} may as well be {told['low']:.3f} "
            f"or {told['high']:.3f}."
        )
    few = [row["label"] for row in scores.get("labels", ()) if row["rows"] < _FEW_OF_A_LABEL]
    if few:
        found.append(
            f"Fewer than {_FEW_OF_A_LABEL} test rows each: {', '.join(few[:8])}{' …' if len(few) > 8 else ''}."
        )
    common = max(scores.get("labels", ()), key=lambda row: row["rows"], default=None)
    if common and common["rows"] > _COMMON * scores["rows"]:
        share = common["rows"] / scores["rows"]
        found.append(
            f"{share:.0%} of the test rows are {common['label']}, so accuracy says little; look at F1 instead."
        )
    off = scores.get("calibration", {}).get("error", 0.0)
    if off > _OFF:
        found.append(f"Its confidence is off by {100 * off:.0f} points on average: do not read it as a probability.")
    return found


def _under(told: Mapping[str, Any], primary: str) -> str:
    """How the headline is under a change of the inputs, and how far from that of the rows as they are."""
    return (
        f"{primary} {told['metrics'][primary]['value']:.3f}, {_gap(told['lost'][primary])} against the rows as they are"
    )


def _gap(gap: Mapping[str, Any]) -> str:
    if gap["low"] is None:
        return "not known"
    return f"{gap['value']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"


def _write(out: Draft, scores: dict[str, Any]) -> None:
    text = json.dumps(scores, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
    (out.path / "scores.json").write_text(text, encoding="utf-8", errors="backslashreplace")
    (out.path / "report.html").write_text(page(scores), encoding="utf-8")
    out.numbers |= {name: told["value"] for name, told in scores["metrics"].items() if told["value"] is not None}
    out.numbers["beats_baselines"] = scores["beats_baselines"]
    out.notes += scores["warnings"]
