"""What a training forgets of data sets that the model learnt earlier: how it answers their rows before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from danlu.blocks import earlier, judging
from danlu.blocks.dataset import DataSet
from danlu.blocks.splits import row_keys
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone, Metric, Processor
from danlu.predictor import Predictor
from danlu.training.job import Judge

if TYPE_CHECKING:
    from danlu.core.artifact import Draft
    from danlu.core.events import Events


@dataclass(frozen=True)
class Remembered:
    """Earlier data sets by name, and the split of theirs that is looked at."""

    sets: Mapping[str, DataSet]
    split: str
    asked: str
    """The option that names them."""

    @classmethod
    def open(cls, folders: Mapping[str, Path], split: str, asked: str) -> Remembered:
        """Raises DataError for what is no data set, and for frozen rows that were changed."""
        sets = {name: DataSet.open(folder) for name, folder in folders.items()}
        for found in sets.values() if split == "test" else ():
            found.check()
        return cls(sets, split, asked)

    def check(self, data: DataSet, events: Events) -> None:
        """Raise DataError for one of other labels than the data set of this training; warn of rows that are in both."""
        for found in self.sets.values():
            earlier.check_head(found.task.head(), data.task.head(), self.asked)
        learnt = set(row_keys(data.table("train"), data.task.columns().ask))
        for name, found in self.sets.items():
            asked = row_keys(found.table(self.split), found.task.columns().ask)
            if shared := sum(key in learnt for key in asked):
                events.warn(
                    f"{shared:,} of {len(asked):,} {self.split} rows of {name} are training rows of this step as well, "
                    "so more of it was forgotten than the figure tells"
                )

    def judges(self, watch: Metric | None, backbone: Backbone, processor: Processor) -> Forgetting:
        """How well each is answered, by `watch` or else by what its task is judged by first."""
        return Forgetting(self.split, {
            name: judge(watch or judging.choose_metrics(None, found.task)[0][0], found, self.split, backbone, processor)
            for name, found in self.sets.items()
        })  # fmt: skip


@dataclass(frozen=True)
class Forgetting:
    """Judges of a module's answers to earlier rows, by the name of their data set."""

    split: str
    judges: Mapping[str, Judge]

    def measure(self, module: nn.Module) -> dict[str, float]:
        """The figure of each; `module` is on the CPU."""
        return {name: one.measure(module, torch.device("cpu")) for name, one in self.judges.items()}

    def tell(self, known: Mapping[str, float], module: nn.Module, out: Draft, events: Events) -> None:
        """`numbers["forgetting"]`: the figures before and after, and what was lost of each data set."""
        told: dict[str, dict[str, Any]] = {}
        for name, after in self.measure(module).items():
            one, before = self.judges[name], known[name]
            lost = before - after if one.better == "higher" else after - before
            told[name] = {"metric": one.name, "split": self.split, "before": before, "after": after, "lost": lost}
            events.note(f"{one.name} on the {self.split} rows of {name}: {before:.4f} before, {after:.4f} after")
        out.numbers["forgetting"] = told


def judge(metric: Metric, data: DataSet, split: str, backbone: Backbone, processor: Processor) -> Judge:
    """A metric of a module's answers to the rows of a split."""
    inputs, gold = data.judged(split)

    def measure(module: nn.Module, device: torch.device) -> float:
        answers = Predictor(TorchForm(module, backbone, str(device)), data.task, processor)(inputs)
        value = metric.value(metric.read(answers, gold), np.ones(len(gold)))
        return float(value["value"] if isinstance(value, dict) else value)

    return Judge(metric.name, metric.better, measure)
