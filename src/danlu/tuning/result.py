"""What a tune found: the winner's one look at the test rows, fronts, advice in words, the report and the recipe."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu import recipe as recipes
from danlu.blocks import pareto
from danlu.blocks.report.tune_page import tune_page
from danlu.contracts import Metric
from danlu.core import document
from danlu.core.artifact import Store
from danlu.core.canonical import plain
from danlu.core.errors import RecipeFaults
from danlu.core.events import Events
from danlu.core.files import disk_faults, write_atomic
from danlu.core.printable import printable
from danlu.tuning import space
from danlu.tuning.space import Space
from danlu.tuning.trial import Judge, Outcome

if TYPE_CHECKING:
    from danlu.tuning.search import Clock

_COSTS = {"seconds": "training time", "size_mb": "size", "latency_ms": "latency"}


@dataclass(frozen=True)
class Tuned:
    """What a tune found. `told` is all of it in JSON values, as `danlu tune --json` prints it."""

    told: Mapping[str, Any]

    @property
    def recipe(self) -> Path:
        """The recipe that was written: running it gives the reported figure."""
        return Path(self.told["recipe"])

    @property
    def report(self) -> Path:
        return Path(self.told["report"])

    @property
    def best(self) -> dict[str, Any]:
        """The winner, as one of `table`."""
        found: dict[str, Any] = next(t for t in self.told["trials"] if t["number"] == self.told["best"])
        return found

    @property
    def test(self) -> dict[str, Any]:
        """Metric → `{value, low, high}` on the test rows."""
        return dict(self.told["test"])

    def table(self) -> list[dict[str, Any]]:
        """Every trial and baseline, the best on the validation rows first."""
        return list(self.told["trials"])


def finish(
    here: Space, store: Store, judge: Judge, found: Sequence[Outcome], folder: Path, clock: Clock, events: Events
) -> Tuned:
    """Choose the winner by the validation rows, look at the test rows once, write report and recipe."""
    metric, better = judge.headline.name, judge.headline.better
    ranked = sorted(found, key=lambda one: rank(one, judge.headline))
    best = ranked[0]
    given, recipe, dropped = _winning(here, best)
    events.note(f"the winner is measured on the test rows, once: {best.what}")
    scores = _tested(recipe, here, store)
    path = _put(_text(given, here, best, dropped, metric), here)
    told: dict[str, Any] = plain(
        {
            "name": here.recipe.name,
            "store": store.path,
            "recipe": path,
            "report": folder / "report.html",
            "budget_seconds": clock.budget,
            "spent_seconds": round(clock.spent, 1),
            "metric": metric,
            "better": better,
            "rows": judge.data.info["rows"],
            "trials": [one.plain() for one in ranked],
            "best": best.number,
            "fronts": {cost: front(ranked, metric, better, cost) for cost in _COSTS},
            "test": {name: {k: s[k] for k in ("value", "low", "high")} for name, s in scores["metrics"].items()},
            "warnings": scores["warnings"],
            "left_out": list(here.left_out),
            "recommendation": recommended(ranked, metric, better),
        }
    )
    write_atomic(folder / "tune.json", json.dumps(told, ensure_ascii=False, indent=1) + "\n")
    write_atomic(folder / "report.html", tune_page(told))
    return Tuned(told)


def rank(one: Outcome, headline: Metric) -> tuple[bool, float, float]:
    """The best on the validation rows first, of equal ones the one that was trained in less time."""
    value, better = one.value(headline.name), headline.better
    if one.state != "done" or value is None:
        return True, 0.0, float(one.number)
    return False, -value if better == "higher" else value, one.seconds or 0.0


def front(outcomes: Sequence[Outcome], metric: str, better: str, cost: str) -> list[int]:
    """Numbers of the trials that none beats in quality without a higher cost, the cheapest first (Pareto's front)."""
    points = (
        (one.number, getattr(one, cost), float(value))
        for one in outcomes
        if one.state == "done" and (value := one.value(metric)) is not None and getattr(one, cost) is not None
    )
    return pareto.front(points, better)


# ---- in words --------------------------------------------------------------------------------------------------------


def recommended(ranked: Sequence[Outcome], metric: str, better: str) -> list[str]:
    """What to take, in sentences; what the validation rows can't tell apart is said so."""
    best = ranked[0]
    told = best.metrics[metric]
    said = [f"Take {best.what}: {metric} {_spread(told)} on the validation rows, the best of {len(ranked)}."]
    alike = [one for one in ranked[1:] if one.state == "done" and _within(one.value(metric), told, better)]
    if not alike:
        said.append("No other lies within its interval.")
        return said
    for cost, words in _COSTS.items():
        costly = getattr(best, cost)
        cheaper = [one for one in alike if costly and getattr(one, cost) and getattr(one, cost) < costly / 1.5]
        if cheaper:
            least = min(cheaper, key=lambda one: getattr(one, cost))
            said.append(
                f"Where {words} counts: {least.what} lies within its interval ({metric} {least.value(metric):.3f}) "
                f"at {costly / getattr(least, cost):.1f} times less {words}."
            )
    if len(said) == 1:
        said.append(f"{len(alike)} others lie within its interval, none of them clearly cheaper.")
    lowly = [one for one in alike if one.role == "baseline"]
    if lowly and best.role != "baseline":
        said.append(f"It is not clearly better than the baseline {lowly[0].what}: ask whether it is worth its cost.")
    return said


def _within(value: float | None, told: Mapping[str, Any], better: str) -> bool:
    if value is None or told["low"] is None:
        return False
    return bool(value >= told["low"] if better == "higher" else value <= told["high"])


def _spread(told: Mapping[str, Any]) -> str:
    if told["low"] is None:
        return f"{told['value']:.3f}"
    return f"{told['value']:.3f} ({told['low']:.3f} to {told['high']:.3f})"


# ---- the winner's recipe --------------------------------------------------------------------------------------------


def _winning(here: Space, best: Outcome) -> tuple[dict[str, Any], recipes.Recipe, list[str]]:
    """The recipe with the winner in it, as a mapping and checked, without the steps that do not fit it; their names.

    A recipe without an evaluate step gets one.
    """
    given, dropped = here.ask.given(), list[str]()
    given["steps"][here.step] = space.settled(here.trial(best.overrides).given["steps"][here.step])
    while True:
        if not any(step.get("do") == "evaluate" for step in given["steps"].values()):
            given["steps"]["score"] = {"do": "evaluate"}
        try:
            return given, here.ask.load(given), dropped
        except RecipeFaults as refused:
            at_fault = {fault.where.partition(".")[0] for fault in refused.faults} - {here.step, here.data}
            names = [name for name in given["steps"] if name in at_fault]
            if not names:
                raise
            dropped += names
            given["steps"] = {name: step for name, step in given["steps"].items() if name not in names}


def _tested(recipe: recipes.Recipe, here: Space, store: Store) -> dict[str, Any]:
    """The scores of the recipe's last evaluate step: the one look at the test rows. Nothing is published."""
    scoring = [step.name for step in recipe.steps if step.stage.name == "evaluate"][-1]
    plan = here.ask.load(space.part(replace(here.ask, recipe=recipe), scoring)).plan()
    made = replace(plan, name=f"{here.recipe.name}.tune", path=here.recipe.path).run(store)
    return made[scoring].json("scores.json")


def _text(given: Mapping[str, Any], here: Space, best: Outcome, dropped: Sequence[str], metric: str) -> str:
    """The recipe as a file, with a head that says where it is from."""
    source = here.recipe.path.name if here.recipe.path else here.recipe.name
    head = [f"Found by `danlu tune` for {source}: {best.what}.", f"On the validation rows: {_line(best, metric)}."]
    head += [f"Left out, since they do not go with it: {', '.join(dropped)}."] if dropped else []
    return "".join(f"# {printable(line)}\n" for line in head) + document.written(given)


def _line(best: Outcome, metric: str) -> str:
    return f"{metric} {_spread(best.metrics[metric])}"


def _put(text: str, here: Space) -> Path:
    """Write the recipe beside the one it is for; a file that is there, unless it says the same, is left alone."""
    stem = here.recipe.path.stem if here.recipe.path else here.recipe.name or "recipe"
    for number in count(1):
        path = here.ask.base / (f"{stem}.tuned.yaml" if number == 1 else f"{stem}.tuned-{number}.yaml")
        try:
            with disk_faults(path), path.open("x", encoding="utf-8") as file:
                file.write(text)
            break
        except FileExistsError:
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                break
    return path
