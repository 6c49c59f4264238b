"""Broken sources, operators and tasks, and plug-ins that break what every family promises; see `broken`."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict, Field, field_serializer

from danlu.contracts import Counts, Delta, Example, Method, Operator, Source
from danlu.core import plugin
from danlu.plugins.tasks.text_classification import TextClassification

_ticks = itertools.count()

# ---- every family ----------------------------------------------------------------------------------------------------


class Silent(Method):
    """Says what it is for, but not what its option does."""

    size: int = 1


class Rounding(Method):
    """Writes its option down less exactly than it is."""

    size: float = 1.5
    """A number."""

    @field_serializer("size")
    def rounded(self, value: float) -> int:
        return round(value)


class Lenient(Method):
    """Takes any option."""

    model_config = ConfigDict(extra="allow")


class Ticking(Method):
    """Has another default every time."""

    seed: int = Field(default_factory=lambda: next(_ticks))
    """A number."""


class Headless(Method):
    """Its main field is none."""

    main: ClassVar[str] = "size"


class Misspelt(Method):
    """Wants what nobody gives."""

    wants: ClassVar[dict[str, Any]] = {"modality": ("txt",)}


def heavy(folder: Path) -> Any:
    """An operator whose file imports torch, as a stranger's file."""
    path = folder / "heavy.py"
    path.write_text(
        "import torch\n"
        "from danlu.contracts import Operator\n"
        "class Heavy(Operator):\n"
        "    def apply(self, table, context):\n"
        "        return table, None\n"
    )
    (entry,) = plugin.add_file(path)
    return plugin.load("operators", entry.name)()


# ---- sources ---------------------------------------------------------------------------------------------------------


class Restless(Source):
    """Other rows every time."""

    def rows(self, split=""):
        yield pa.record_batch({"text": [os.urandom(4).hex()]})


class Uneven(Source):
    """A split with a column less."""

    def splits(self):
        return ("test",)

    def rows(self, split=""):
        yield pa.record_batch({"text": ["a"]} if split else {"text": ["a"], "label": ["b"]})


class Obliging(Source):
    """Gives rows of any split it is asked for."""

    def rows(self, split=""):
        yield pa.record_batch({"text": ["a"]})


class Unpointed(Source):
    """Reads a file, and does not say that its option is one."""

    path: str
    """The file."""

    def rows(self, split=""):
        yield pa.record_batch({"text": Path(self.path).read_text().splitlines()})


def unpointed(folder: Path) -> Any:
    (folder / "rows.txt").write_text("one\ntwo\n")
    return Unpointed(path=str(folder / "rows.txt"))


# ---- operators -------------------------------------------------------------------------------------------------------


def counted(table, after):
    return after, Counts(table.num_rows, after.num_rows)


class Stealthy(Operator):
    """Changes rows and counts none."""

    def apply(self, table, context):
        name = context.columns.ask[0]
        changed = pa.array([f"{text}!" for text in table.column(name).to_pylist()])
        return counted(table, table.set_column(table.column_names.index(name), name, changed))


class Shuffled(Operator):
    """Another order every time."""

    def apply(self, table, context):
        return counted(table, table.take(pa.array(np.random.permutation(table.num_rows))))


class Careless(Operator):
    """Loses the last column."""

    def apply(self, table, context):
        return counted(table, table.drop_columns(table.column_names[-1]))


class Hasty(Operator):
    """Takes the first row for granted."""

    def apply(self, table, context):
        table.to_pylist()[0]
        return counted(table, table)


# ---- tasks -----------------------------------------------------------------------------------------------------------


class Greedy(TextClassification):
    """Gives a row too many."""

    def sample(self, n):
        return super().sample(n + 1)


class Chatty(TextClassification):
    """Adds a word to the input on its way into a row."""

    def row(self, x, answer):
        return super().row(f"{x} amber", answer)


class Forgetful(TextClassification):
    """Drops the end of what a request says."""

    def from_json(self, value):
        return super().from_json(value)[:3]


class Babbling(TextClassification):
    """Streams what is no part of its answer."""

    def answer(self, x, processor):
        yield Delta("well, ")
        return (yield from super().answer(x, processor))


class Trusting(TextClassification):
    """Takes anything for a text."""

    def from_json(self, value):
        return str(value)


class Gambling(TextClassification):
    """Draws from a generator of its own."""

    def vary(self, example, rng):
        return Example({**example.inputs, "noise": np.random.random()}, example.targets)


class Averaging(TextClassification):
    """Takes the mean of the batch."""

    def loss(self, outputs, batch):
        loss = super().loss(outputs, batch)
        return loss.mean().expand_as(loss)


class Lopsided(TextClassification):
    """Its distance has a unit."""

    def distance(self, a, b):
        return 100 * super().distance(a, b)


class Mislabelled(TextClassification):
    """Its schema is of something else."""

    def answer_schema(self):
        return {"type": "integer"}


class Clairvoyant(TextClassification):
    """Reads the answer off the input, so that nothing need be learnt."""

    def decode(self, x, examples, outputs, processor):
        return next(self.gold(row) for row in self.sample(100) if self.ask(row) == x)
