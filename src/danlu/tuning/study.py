"""The memory of a tune: what was tried, kept by Optuna in a journal that outlives a kill.

Candidates come from a tree-structured Parzen estimator (TPE; Bergstra et al., 2011), after those that are worth a first
look. A trial whose look at the validation rows is worse than the median of the others at the same look by more than
chance is pruned (median stopping rule, Golovin et al., 2017, with room for what few rows can't tell apart).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from danlu.core.errors import RecipeError
from danlu.core.files import disk_faults, locked, make_dirs
from danlu.core.plugin import lazy
from danlu.tuning.space import Space
from danlu.tuning.trial import Outcome

optuna = lazy("optuna", extra="tune")
journals = lazy("optuna.storages.journal", extra="tune")

_RANDOM = 8
"""Finished trials before TPE's model is asked; the first candidates are among them."""
_COMPARED = 2
"""Others that must have come to a look before a trial can be pruned at it."""
_SURE = 1.64
"""Standard errors below the median: what a trial that is as good as the median falls short of once in twenty."""
_OUTCOME, _SPENT = "outcome", "seconds"


@contextmanager
def opened(folder: Path, space: Space, better: str, seed: int, rows: int) -> Iterator[Study]:
    """The study in a folder, made when missing; `rows` are those that trials are looked at by.

    Raises RecipeError when another process tunes in it.
    """
    make_dirs(folder)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with _alone(folder), disk_faults(folder):
        storage = optuna.storages.JournalStorage(journals.JournalFileBackend(str(folder / "journal.log")))
        direction = "maximize" if better == "higher" else "minimize"
        found = optuna.create_study(
            storage=storage, study_name="tune", direction=direction, load_if_exists=True,
            pruner=optuna.pruners.NopPruner(),
        )  # fmt: skip
        found.sampler = optuna.samplers.TPESampler(
            n_startup_trials=_RANDOM, seed=seed + len(found.trials), constant_liar=True
        )  # those under way count as bad until they are known, so that what runs at once differs
        yield Study(found, space, rows)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    try:
        with locked(folder / "lock", wait=False):
            yield
    except BlockingIOError:
        what = "another process is tuning this recipe in this store"
        raise RecipeError(what, where=str(folder), do="wait for it, or use --store") from None


class Study:
    """Candidates to try, and what became of those before."""

    def __init__(self, study: Any, space: Space, rows: int) -> None:
        self._study, self._space, self._rows = study, space, rows
        self._begin()

    def _begin(self) -> None:
        """Queue the first candidates once; those that a kill or the end of the time cut off come before all others."""
        running = [t for t in self._study.trials if t.state == optuna.trial.TrialState.RUNNING]
        self._cut_off = [optuna.trial.Trial(self._study, t._trial_id) for t in running]
        if "begun" not in self._study.user_attrs:
            for params in self._space.first() if self._space.backbones else ():
                self._study.enqueue_trial(params)
            self._study.set_user_attr("begun", True)

    @property
    def spent(self) -> float:
        """Seconds that were spent on it so far."""
        return float(self._study.user_attrs.get(_SPENT, 0.0))

    def spend(self, seconds: float) -> None:
        self._study.set_user_attr(_SPENT, round(seconds, 3))

    def outcomes(self) -> list[Outcome]:
        """What is known, in the order in which it was found; each candidate once."""
        told = [t.user_attrs[_OUTCOME] for t in self._study.trials if _OUTCOME in t.user_attrs]
        found = [Outcome.read(json.loads(text)) for text in told]
        return list({one.overrides: one for one in found}.values())

    def known(self, overrides: list[str]) -> Outcome | None:
        """The outcome of the same candidate, where it was tried before."""
        return next((one for one in self.outcomes() if list(one.overrides) == overrides), None)

    def add(self, outcome: Outcome, value: float | None) -> None:
        """Note what was measured outside the search: a baseline."""
        states = optuna.trial.TrialState
        state = states.FAIL if value is None else states.COMPLETE
        told = {_OUTCOME: json.dumps(outcome.plain())}
        self._study.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=told))

    def ask(self) -> tuple[Any, dict[str, Any]]:
        """The next trial, and its parameters."""
        trial = self._cut_off.pop(0) if self._cut_off else self._study.ask()
        return trial, self._space.suggest(trial)

    def look(self, trial: Any, number: int, value: float) -> bool:
        """Note a look at the validation rows; whether the trial should go on."""
        if number not in self._study.trials[trial.number].intermediate_values:  # else told before it was cut off
            trial.report(value, number)
        ended = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        others = [t.intermediate_values[number] for t in ended if number in t.intermediate_values]
        higher = self._study.direction == optuna.study.StudyDirection.MAXIMIZE
        return len(others) < _COMPARED or not is_behind(value, statistics.median(others), higher, self._rows)

    def tell(self, trial: Any, outcome: Outcome, value: float | None) -> None:
        """Note what became of a trial."""
        trial.set_user_attr(_OUTCOME, json.dumps(outcome.plain()))
        states = optuna.trial.TrialState
        if outcome.state == "done" and value is not None:
            self._study.tell(trial, value)
        else:
            self._study.tell(trial, state=states.PRUNED if outcome.state == "pruned" else states.FAIL)


def is_behind(value: float, median: float, higher: bool, rows: int) -> bool:
    """Whether a value is worse than the median of others by more than chance among so many rows.

    Chance is that of a share, such as accuracy: √(p (1 − p) / rows), which is also the most of any mean of numbers from
    0 to 1. Of a metric without these bounds nothing is known, and every shortfall counts.
    """
    short = median - value if higher else value - median
    room = _SURE * math.sqrt(median * (1 - median) / rows) if higher and 0 <= median <= 1 and rows else 0.0
    return not short <= room
