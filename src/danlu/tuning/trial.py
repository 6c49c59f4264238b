"""One trial: an ordinary run of a few steps, watched while it trains, and judged on the validation rows alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from danlu import bundle
from danlu.blocks import judging
from danlu.blocks.dataset import DataSet
from danlu.contracts import Metric
from danlu.core.artifact import Artifact, Store, remove
from danlu.core.errors import DanluError
from danlu.core.events import Event, Events
from danlu.core.plan import Plan
from danlu.tuning.space import LOOKS, Space

_SURE = 3.0
"""Seconds of training after which its speed is believed."""
_SLACK = 1.1
"""A training is stopped for want of time when it is foreseen to end this much too late."""


class Halted(KeyboardInterrupt):
    """A trial was ended from outside, as Ctrl-C would: the run is recorded as interrupted. `seconds` is what the whole
    trial would have taken, where time was short; 0 where it was pruned."""

    def __init__(self, why: str, seconds: float = 0.0) -> None:
        super().__init__(why)
        self.why, self.seconds = why, seconds


@dataclass(frozen=True)
class Outcome:
    """What became of a trial. Quality is that on the validation rows; sizes, times and weights are the model's own."""

    number: int
    role: str
    """`baseline` or `trial`."""
    what: str
    """What was tried, in words."""
    overrides: tuple[str, ...]
    state: str
    """`done`, `pruned`, `failed` or `too long`."""
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seconds: float | None = None
    """Of the training step."""
    memory_mb: float | None = None
    """Estimated before it began: weights, gradients, optimizer state and activations."""
    size_mb: float | None = None
    latency_ms: float | None = None
    parameters: int | None = None
    trained_parameters: int | None = None
    note: str = ""

    def value(self, metric: str) -> float | None:
        found = self.metrics.get(metric, {}).get("value")
        return None if found is None else float(found)

    def plain(self) -> dict[str, Any]:
        """As JSON; `read` is the inverse."""
        return asdict(self) | {"overrides": list(self.overrides)}

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> Outcome:
        return cls(**{**told, "overrides": tuple(told["overrides"])})


@dataclass(frozen=True)
class Judge:
    """How every trial is measured: the metrics, the headline among them, and the rows."""

    data: DataSet
    metrics: Sequence[Metric]
    of_form: Sequence[Metric]
    seed: int

    @property
    def headline(self) -> Metric:
        return self.metrics[0]

    def measured(self, model: Artifact) -> dict[str, Any]:
        """Metrics with intervals, size and latency of the form that would be served."""
        forms = bundle.Forms.open(model.path)
        folder = forms.folder(forms.default)
        predictor = bundle.load(folder)
        inputs, gold = self.data.judged("validation")
        judging.check_known(predictor.task, gold)
        answers = judging.ask_all(predictor, inputs, Events.silent(), "answering")
        scores = judging.score_all(self.metrics, answers, gold, seed=self.seed)
        told = judging.in_short(judging.measure_all(self.of_form, predictor, inputs, folder))
        return {
            "metrics": {name: score.plain() for name, score in scores.items()},
            "size_mb": told["size_mb"],
            "latency_ms": next(iter(told["latency_ms"].values()), None),
            **_spent(model),
        }


def judge_of(here: Space, data: DataSet) -> Judge:
    """What the recipe's evaluate step measures; the headline is what its training watches, where that is named."""
    scoring = [step for step in here.recipe.steps if step.stage.name == "evaluate"]
    chosen = scoring[-1].stage.make(scoring[-1].name).metrics if scoring else None
    metrics, of_form = judging.choose_metrics(chosen, data.task)
    watched = here.own["watch"].make("watch") if here.own["watch"] else None
    if watched and watched.of == "answers":
        metrics = [watched, *(metric for metric in metrics if metric.name != watched.name)]
    single = next((m for m in metrics if m.name not in ("confusion",)), metrics[0])
    return Judge(data, [single, *(m for m in metrics if m is not single)], of_form, here.recipe.seed)


def _spent(model: Artifact) -> dict[str, Any]:
    numbers = model.numbers
    parts = {k: v for k, v in numbers.get("memory_estimate_mb", {}).items() if k != "free"}
    return {
        "seconds": float(model.manifest["seconds"]),
        "memory_mb": round(sum(parts.values()), 1) if parts else None,
        "parameters": numbers.get("parameters"),
        "trained_parameters": numbers.get("trained_parameters"),
    }


class Watcher:
    """Listens to a trial: reports its looks at the validation rows, and ends it when it is pruned or out of time."""

    def __init__(
        self, step: str, left: Callable[[], float], look: Callable[[int, float], bool] | None, tell: Callable[..., None]
    ) -> None:
        self.step, self.left, self.look, self.tell = step, left, look, tell
        self.key = ""
        self._total = 0.0
        self._began: tuple[float, float] | None = None

    def on(self, event: Event) -> None:
        if event.step != self.step:
            return
        if event.kind == "step_started":
            self.key = str(event.data["key"])
        elif event.kind == "progress" and event.data["what"] == "train":
            self._progress(float(event.data["done"]), float(event.data["total"]))
        elif event.kind == "numbers":
            looks = [number for name, number in event.data.items() if name.startswith("validation_")]
            if looks and self.look:
                number = round(LOOKS * float(event.data["step"]) / (self._total or float(event.data["step"])))
                if not self.look(number, float(looks[0])):
                    raise Halted(f"behind the others at look {number} at the validation rows")

    def _progress(self, done: float, total: float) -> None:
        now, self._total = time.monotonic(), total
        self.tell(done, total)
        if self._began is None:
            self._began = now, done
            return
        spent, steps = now - self._began[0], done - self._began[1]
        if spent >= _SURE and steps and (total - done) * spent / steps > _SLACK * self.left():
            raise Halted("it would take longer than is left", total * spent / steps)


def run(plan: Plan, store: Store, judge: Judge, watcher: Watcher) -> dict[str, Any]:
    """Run a trial and measure it; returns the fields of an `Outcome`.

    What Danlu refuses is an outcome too, `failed`. Raises Halted where time is short, and KeyboardInterrupt as it
    comes; the training's checkpoint stays, so that it goes on from there. That of a pruned one goes.
    """
    try:
        made = plan.run(store, Events([watcher.on]))
        return {"state": "done", **judge.measured(made[watcher.step])}
    except Halted as halted:
        if halted.seconds:
            raise
        remove(store.path / "work" / watcher.key)
        return {"state": "pruned", "note": halted.why}
    except DanluError as error:
        return {"state": "failed", "note": error.what}
