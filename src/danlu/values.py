"""The few values that all families share: examples, batches, heads, turns, and how examples become a batch.

Outside the training loop an array is a numpy array; inside it, in a `Batch`, a torch tensor. Nothing here imports
torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor, nn

Arrays: TypeAlias = Mapping[str, Any]
Answer: TypeAlias = Any
Row: TypeAlias = Mapping[str, Any]


CUT = "cut"
"""The note of a training example that holds less than its row did."""


@dataclass(slots=True)
class Example:
    """One thing a model looks at: arrays without a batch axis.

    `count` is how many things the example's loss sums over (1 for a label, the answer's tokens for a text); `note` is
    for `decode`, or `CUT` in a training example that was cut to fit the model; `keep` says that this talk goes on,
    `state` is the opaque memory of what came before.
    """

    inputs: Arrays
    targets: Arrays = field(default_factory=dict)
    count: float = 1.0
    note: Any = None
    keep: bool = False
    state: Any = None


@dataclass(slots=True)
class Batch:
    """Examples stacked along a new first axis of length n; `count` has shape [n].

    Where a technique mixed examples, `mixed` says of which: shares [n] that add up to 1, each with the batch whose
    targets it stands for. `embed` is how it changed the vectors that the model's embeddings give.
    """

    inputs: Arrays
    targets: Arrays
    count: Any
    beside: dict[str, Arrays] = field(default_factory=dict)
    mixed: tuple[tuple[Any, Batch], ...] = ()
    embed: Callable[[Any], Any] | None = None

    def __len__(self) -> int:
        return len(self.count)

    def map(self, change: Callable[[Any], Any]) -> Batch:
        """The batch with `change` applied to every array: to move it to torch or to a device."""
        inputs = {name: change(array) for name, array in self.inputs.items()}
        targets = {name: change(array) for name, array in self.targets.items()}
        return replace(self, inputs=inputs, targets=targets, count=change(self.count))

    def take(self, places: Any) -> Batch:
        """The examples at these places of the first axis, in this order; `embed` is left as it is."""
        beside: dict[str, Arrays] = {
            name: {key: array[places] for key, array in said.items()} for name, said in self.beside.items()
        }
        mixed = tuple((share[places], part.take(places)) for share, part in self.mixed)
        return replace(self.map(lambda array: array[places]), beside=beside, mixed=mixed)


@dataclass(frozen=True, slots=True)
class Head:
    """The shape of an answer, the only word that a task and a backbone share.

    `per`: one answer for the whole `input`, one per `position`, the `next` token, the `gap`s of a masked text, another
    `sequence` of tokens, a `vector` that stands for the whole input, or the `features` themselves. `size` is how many
    numbers each answer has, `labels` their names where they have any. A `gap` head of size 2 says besides whether the
    second of two texts follows the first.
    """

    per: Literal["input", "position", "next", "gap", "sequence", "vector", "features"]
    size: int = 0
    labels: tuple[str, ...] = ()
    several: bool = False
    """Whether any number of the labels can hold at once, each by itself, instead of exactly one."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the turns a task takes at every step; most tasks have one, a GAN has two.

    `forward(model, batch)` gives outputs, `loss(outputs, batch)` a tensor [n] of sums, one per example; `moves` is the
    prefix of the names of the parameters that this turn trains (empty: all).
    """

    name: str
    forward: Callable[[Any, Batch], Arrays]
    loss: Callable[[Arrays, Batch], Tensor]
    moves: str = ""


class Delta(str):
    """A piece of a streamed answer."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a data set that a task reads: what it asks, and what is the truth."""

    ask: tuple[str, ...]
    gold: tuple[str, ...] = ()


@dataclass(slots=True)
class Counts:
    """What an operator did to a table: nothing it drops or changes goes uncounted.

    `samples` holds up to ten pairs (before, after); after is None for a dropped row. `by` says how many rows each rule
    or kind dropped or changed (a row may count for several). `why` says of a row, by its place in the table that was
    given, why it went or what was done to it, in a few words without the row's content.
    """

    rows_in: int
    rows_out: int
    changed: int = 0
    samples: list[tuple[Any, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    by: dict[str, int] = field(default_factory=dict)
    why: dict[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What an operator may know: the columns in question, the split it works on (empty: before the split), the seed.

    `held` are the rows that the model will be measured on, by split, in pieces that can be gone through again; only an
    operator that works on the training rows is told of them.
    """

    columns: Columns
    split: str = ""
    seed: int = 0
    held: Mapping[str, Iterable[pa.Table]] = field(default_factory=dict)


class Processor(Protocol):
    """Raw input to arrays: a tokenizer, an image scaler, a vocabulary of ids. A value that lies in a folder.

    It is never random and never imports torch, since every form of a model needs it.
    """

    @property
    def pad(self) -> Mapping[str, float]:
        """Array name → the value that fills up a shorter example along axis 0."""

    def inputs(self, x: Any, limit: int | None = None) -> Arrays:
        """The arrays of one input; what has a length (tokens, samples) is cut to at most `limit` of them."""

    def save(self, folder: Path) -> None: ...
    @classmethod
    def load(cls, folder: Path) -> Self: ...


class Form(Protocol):
    """A model that can be asked: named arrays in (numpy, batch axis first), named arrays out."""

    def forward(self, inputs: Arrays) -> Arrays: ...

    def resume(self, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        """Outputs and new state for examples that continue a talk, or None where they are recomputed."""

    @property
    def module(self) -> nn.Module:
        """The torch module, for gradients; raises RecipeError where there is none."""


def labels_of(answer: Answer | None) -> tuple[str, ...]:
    """The labels in an answer or a truth: one (`label`), any number (`labels`); none in an answer of another kind."""
    if not isinstance(answer, Mapping):
        return ()
    if "label" in answer:
        return () if answer["label"] is None else (answer["label"],)
    return tuple(answer.get("labels", ()))


def collate(examples: Sequence[Example], pad: Mapping[str, float]) -> Batch:
    """Stack examples into a batch of numpy arrays; arrays of different length are filled up along axis 0.

    Raises ValueError when an array that `pad` does not name differs in shape.
    """
    first = examples[0]
    inputs = {name: _stack([e.inputs[name] for e in examples], pad.get(name), name) for name in first.inputs}
    targets = {name: _stack([e.targets[name] for e in examples], pad.get(name), name) for name in first.targets}
    return Batch(inputs, targets, np.array([e.count for e in examples], dtype=np.float32))


def _stack(arrays: list[Any], fill: float | None, name: str) -> np.ndarray[Any, Any]:
    arrays = [np.asarray(a) for a in arrays]
    shapes = {a.shape for a in arrays}
    if len(shapes) == 1:
        return np.stack(arrays)
    if fill is None:
        raise ValueError(f"the arrays {name!r} differ in shape {sorted(shapes)} and there is no padding for them")
    width = max(len(a) for a in arrays)
    out = np.full((len(arrays), width, *arrays[0].shape[1:]), fill, dtype=arrays[0].dtype)
    for k, a in enumerate(arrays):
        out[k, : len(a)] = a
    return out


def iterate_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of an Arrow table as dicts, a batch at a time."""
    for batch in table.to_batches():
        yield from batch.to_pylist()
