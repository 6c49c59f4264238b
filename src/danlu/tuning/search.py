"""Tune a recipe within a budget: baselines first, then candidates one after another, at the end one look at the test.

Everything is a run of ordinary steps in the recipe's own store. So a tune that was killed or stopped goes on with what
is there, a training with its last checkpoint, and the winner is not trained again when its recipe is run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from danlu.blocks.dataset import DataSet
from danlu.blocks.language import detect_language
from danlu.core import machine, plugin
from danlu.core.artifact import Store
from danlu.core.canonical import to_json
from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.core.files import sha256_bytes
from danlu.training.dry import spoken
from danlu.tuning import result, share, space, study, trial
from danlu.tuning.jobs import SAME, Jobs
from danlu.tuning.result import Tuned
from danlu.tuning.space import Ask, Space
from danlu.tuning.trial import Halted, Judge, Outcome, Watcher

_LANGUAGE_ROWS = 500
_JOBS_A_CORE = 4
"""Each job is a process with libraries and a model of its own; far more than there are cores fill memory only."""


@dataclass
class Clock:
    """The budget: seconds in all, and those of earlier sessions of the same tune."""

    budget: float
    earlier: float = 0.0

    def __post_init__(self) -> None:
        self._began = time.monotonic()

    @property
    def spent(self) -> float:
        return self.earlier + time.monotonic() - self._began

    def left(self) -> float:
        return self.budget - self.spent


def tune(
    ask: Ask, store: Store, *, minutes: float, trials: int | None, events: Events, jobs: int | None = None
) -> Tuned:
    """Search, `jobs` candidates at once (unless given, as many as suit the machine, which a note tells); judge the
    winner on the test rows, and write report and recipe.

    On `events`: `trial` with each outcome, `first_table` after the baselines, `progress` of the budget. Raises
    RecipeError where there is nothing to tune, for no job or far more than cores, or a budget too small for one trial.
    """
    if jobs is not None:
        _check_jobs(jobs)
    clock = Clock(60 * minutes)
    here, dataset = _prepared(ask, store)
    judge = trial.judge_of(here, DataSet.open(dataset.path))
    here = _watched(here, judge)
    if jobs is None:
        jobs, why = share.suited(here, trials)
        events.note(why)
    identity = [dataset.digest, here.recipe.seed, here.own_plain(), judge.headline.name, plugin.code_identity()]
    folder = store.path / "tunes" / sha256_bytes(to_json(identity))[:16]
    looked = int(judge.data.info["rows"]["validation"])
    with study.opened(folder, here, judge.headline.better, here.recipe.seed, looked) as kept:
        clock.earlier = kept.spent
        searching = Search(here, store, judge, kept, clock, events)
        try:
            searching.baselines()
            if jobs > 1:
                Jobs(searching, dataset.path, folder, jobs).candidates(trials)
            else:
                searching.candidates(trials)
        finally:
            kept.spend(clock.spent)
        found = kept.outcomes()
        _enough(found, searching, minutes)
        return result.finish(here, store, judge, found, folder, clock, events)


def _check_jobs(jobs: int) -> None:
    cores = machine.cpu_threads()
    if not 1 <= jobs <= _JOBS_A_CORE * cores:
        what = (
            f"{jobs:,} candidates at once do not suit {cores} cores: each is a process, of 1 to {_JOBS_A_CORE} a core"
        )
        raise RecipeError(what, where="--jobs", do=f"--jobs {cores}")


def _prepared(ask: Ask, store: Store) -> tuple[Space, Any]:
    """The space of a recipe and its data set. Raises RecipeError for a recipe without validation rows."""
    first = space.of(ask)
    plan = replace(ask.load(space.part(ask, first.data)).plan(), name=f"{ask.recipe.name}.tune", path=ask.recipe.path)
    dataset = plan.run(store)[first.data]
    data = DataSet.open(dataset.path)
    if not data.info["rows"]["validation"]:
        do = f"{first.data}.split='{{validation: 0.1, test: 0.2}}'"
        raise RecipeError("there are no validation rows to judge by", where=first.data, do=do)
    texts = [data.task.ask(row) for row, _ in zip(data.each("train"), range(_LANGUAGE_ROWS))]
    language = detect_language(texts).code if all(isinstance(text, str) for text in texts) else ""
    counts = dataset.numbers.get("trained_labels", {})
    return space.of(ask, language, {label: rows for label, rows in counts.items() if label}), dataset


def _watched(here: Space, judge: Judge) -> Space:
    """The space in which every training watches the headline, so that trials can be compared while they train."""
    return here if here.own["watch"] else replace(here, watch=judge.headline.name)


def _enough(found: list[Outcome], searching: Search, minutes: float) -> None:
    """Raise RecipeError when no candidate came to its end for want of time, or because all of them failed."""
    trials = [one for one in found if one.role == "trial"]
    if any(one.state == "done" for one in trials) or not searching.here.backbones:
        return
    if searching.too_long:
        seconds = min(searching.too_long)
        what = f"{minutes:g} minutes are too few: one trial takes about {spoken(seconds)} on this machine"
        more = 2 * (searching.clock.spent + seconds) / 60
        raise RecipeError(what, where="--minutes", do=f"--minutes {max(1, round(more + 0.5))}, or fewer epochs")
    if trials:
        raise RecipeError(f"every trial failed, the last one so: {trials[-1].note}", do="danlu check, danlu run")
    raise RecipeError("no time was left for a trial after the baselines", where="--minutes", do="give more minutes")


class Search:
    """One session of a tune."""

    def __init__(
        self, here: Space, store: Store, judge: Judge, kept: study.Study, clock: Clock, events: Events
    ) -> None:
        self.here, self.store, self.judge, self.kept = here, store, judge, kept
        self.clock, self.events = clock, events
        self.too_long: list[float] = []
        self.rows = int(judge.data.info["rows"]["train"])

    def baselines(self) -> None:
        """Every baseline that is not known yet, then the first table."""
        for name in self.here.baselines:
            overrides = self.here.baseline(name)
            if self.kept.known(overrides) is None and self.clock.left() > 0:
                try:
                    outcome = self._tried("baseline", name, overrides, None)
                except Halted as halted:
                    self.events.emit("too_long", what=name, seconds=halted.seconds)
                    continue
                self.kept.add(outcome, outcome.value(self.judge.headline.name))
                self.tell(outcome)
        known = sorted(self.kept.outcomes(), key=lambda one: result.rank(one, self.judge.headline))
        self.events.emit("first_table", metric=self.judge.headline.name, trials=[one.plain() for one in known])

    def candidates(self, most: int | None) -> None:
        """Candidates until the time is up, `most` trials are known, or nothing new is found."""
        same = 0
        while same < SAME and self.goes_on(most):
            asked, params = self.kept.ask()
            overrides, what = self.here.overrides(params, self.rows), self.here.words(params)
            outcome = self.kept.known(overrides)
            same = same + 1 if outcome else 0
            if outcome is None:
                try:
                    outcome = self._tried("trial", what, overrides, partial(self.kept.look, asked))
                except Halted as halted:
                    self.halted(what, halted.seconds)
                    continue
                self.tell(outcome)
            self.keep(asked, outcome)

    # ---- what becomes of candidates ----------------------------------------------------------------------------------

    def goes_on(self, most: int | None, under_way: int = 0) -> bool:
        """Whether another candidate may begin beside those that are under way."""
        known = [one for one in self.kept.outcomes() if one.role == "trial"]
        room = most is None or len(known) + under_way < most
        return bool(self.here.backbones) and room and self.clock.left() > 0 and not self._none_fits()

    def halted(self, what: str, seconds: float) -> None:
        """A candidate would take longer than is left; it is kept for a larger budget."""
        self.too_long.append(seconds)
        self.events.emit("too_long", what=what, seconds=seconds)

    def keep(self, asked: Any, outcome: Outcome) -> None:
        """Note what became of what Optuna asked."""
        self.kept.tell(asked, outcome, outcome.value(self.judge.headline.name))

    def number(self) -> int:
        """That of the next outcome, from 1."""
        return len(self.kept.outcomes()) + 1

    def _none_fits(self) -> bool:
        """Whether what was foreseen of the last trials says that no other will fit either."""
        return len(self.too_long) > len(self.here.first())

    def _tried(self, role: str, what: str, overrides: list[str], look: Callable[[int, float], bool] | None) -> Outcome:
        number = self.number()
        self.progress(what, 0, 0)
        counts = not look and what not in space.LEARNT  # such a baseline takes what it takes
        left = (lambda: math.inf) if counts else self.clock.left
        watcher = Watcher(self.here.step, left, look, partial(self.progress, what))
        try:
            made = trial.run(self.here.plan(overrides), self.store, self.judge, watcher)
        finally:
            self.kept.spend(self.clock.spent)
        return Outcome(number, role, what, tuple(overrides), **made)

    def progress(self, what: str, done: float, total: float) -> None:
        """Tell how far a candidate is."""
        self.events.progress("tune", self.clock.spent, self.clock.budget, "s", trial=what, step=done, steps=total)

    def tell(self, outcome: Outcome) -> None:
        """Tell an outcome."""
        self.events.emit("trial", **outcome.plain(), left=max(0.0, self.clock.left()))
