"""Keys and values that attention has computed, kept while a talk goes on (Pope et al., 2022).

Talks that go on together lie in one `_Shelf`, a row each, and a step appends a column to all of them, in place. Talks
of different length need no realignment for that: a row's empty columns are masked, and the order of columns means
nothing to attention, since positions are in the keys already. Only when talks come or go is the shelf made anew from
the rows that stay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.blocks.lm_heads import Asked
from danlu.contracts import Arrays, Example

_KINDS = frozenset({"gpt2", "llama", "mistral", "qwen2", "qwen3"})
"""The types of models that are tried with this: their attention sees all that came before."""
_INPUTS = {"input_ids", "attention_mask", "at"}
_TOKENS_AT_ONCE = 4096
"""Tokens of beginnings that are read in one pass, padding included."""
_ROOM = 64
"""Columns that a shelf grows by at least."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What a talk has read: a row of a shelf up to a column. What is appended later does not change it."""

    shelf: _Shelf
    row: int
    used: int
    ids: np.ndarray[Any, Any]


class _Shelf:
    """Keys and values of some talks, for each layer [talks, heads, columns, size]; transformers takes it as a cache."""

    def __init__(self, talks: int, device: torch.device, used: int = 0) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.real = torch.zeros(talks, used + _ROOM, dtype=torch.bool, device=device)
        self.used = used

    @classmethod
    def of(cls, pasts: Sequence[Past]) -> _Shelf:
        """The shelf that these talks are the rows of; made anew where there is none."""
        shelf, talks = pasts[0].shelf, len(pasts)
        here = [(past.shelf is shelf, past.row, past.used) for past in pasts]
        if len(shelf.real) == talks and here == [(True, row, shelf.used) for row in range(talks)]:
            return shelf
        made = cls(talks, shelf.real.device, max(len(past.ids) for past in pasts))
        columns = [past.shelf.real[past.row, : past.used].nonzero().squeeze(1) for past in pasts]
        for layer, keys in enumerate(shelf.keys):
            _, heads, _, size = keys.shape
            made.keys.append(keys.new_zeros(talks, heads, made.real.shape[1], size))
            made.values.append(torch.zeros_like(made.keys[-1]))
            for row, (past, chosen) in enumerate(zip(pasts, columns, strict=True)):
                made.keys[-1][row, :, : len(chosen)] = past.shelf.keys[layer][past.row][:, chosen]
                made.values[-1][row, :, : len(chosen)] = past.shelf.values[layer][past.row][:, chosen]
        for row, past in enumerate(pasts):
            made.real[row, : len(past.ids)] = True
        return made

    def open(self, real: Tensor) -> Tensor:
        """Make room for new columns, `real` [talks, new]; which columns each new token sees, [talks, 1, new, columns].

        The columns count as used only when `used` says so: a pass that fails leaves nothing behind.
        """
        talks, new = real.shape
        end = self.used + new
        if end > self.real.shape[1]:
            more = end - self.real.shape[1] + max(_ROOM, end // 2)
            self.real = _wider(self.real, 1, more)
            self.keys = [_wider(keys, 2, more) for keys in self.keys]
            self.values = [_wider(values, 2, more) for values in self.values]
        self.real[:, self.used : end] = real
        before = self.real[:, None, : self.used].expand(talks, new, self.used)
        order = torch.ones(new, new, dtype=torch.bool, device=real.device).tril()
        return torch.cat([before, real[:, None] & order], 2).unsqueeze(1)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write a layer's new columns; all of its columns. The name is what transformers calls."""
        end = self.used + keys.shape[2]
        if layer == len(self.keys):
            shape = (*keys.shape[:2], self.real.shape[1], keys.shape[3])
            self.keys.append(keys.new_zeros(shape))
            self.values.append(values.new_zeros(shape))
        for kept, given in ((self.keys[layer], keys), (self.values[layer], values)):
            kept[:, :, self.used : end] = given
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def get_seq_length(self, _: int = 0) -> int:
        """How many columns there are; the name is what transformers calls."""
        return self.used


def _wider(tensor: Tensor, axis: int, more: int) -> Tensor:
    shape = list(tensor.shape)
    shape[axis] = more
    return torch.cat([tensor, tensor.new_zeros(shape)], axis)


def resume(module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
    """`logits` [k, vocabulary] at the positions `at` of each example, and its state; tokens in its state are not read
    again.

    None for a model that is not known to work so, and for examples that ask for something else.
    """
    config: Any = getattr(module, "config", None)
    if not isinstance(module, Asked) or config.model_type not in _KINDS:
        return None
    if getattr(config, "sliding_window", None) or any(set(e.inputs) != _INPUTS for e in examples):
        return None
    found: dict[int, tuple[Arrays, Any]] = {}
    for places in _groups(examples):
        found.update(zip(places, _read(module, [examples[place] for place in places]), strict=True))
    return [found[place] for place in range(len(examples))]


def _known(example: Example) -> int:
    """How many of its first tokens its state holds; 0 where the state is of no use for what is asked."""
    past, ids = example.state, example.inputs["input_ids"]
    if not isinstance(past, Past):
        return 0
    known = len(past.ids)
    reaches = known < len(ids) and min(example.inputs["at"]) >= known
    return known if reaches and np.array_equal(ids[:known], past.ids) else 0


def _groups(examples: Sequence[Example]) -> Iterator[list[int]]:
    """Places of examples to be read in one pass: all that have as many new tokens, and beginnings of like length."""
    going_on: dict[int, list[int]] = {}
    beginning: list[int] = []
    for place, example in enumerate(examples):
        known, length = _known(example), len(example.inputs["input_ids"])
        (going_on.setdefault(length - known, []) if known else beginning).append(place)
    for places in going_on.values():
        yield sorted(places, key=lambda place: examples[place].state.row)
    beginning.sort(key=lambda place: len(examples[place].inputs["input_ids"]), reverse=True)
    while beginning:
        longest = len(examples[beginning[0]].inputs["input_ids"])
        size = max(1, _TOKENS_AT_ONCE // longest)
        yield beginning[:size]
        beginning = beginning[size:]


def _read(module: Any, examples: Sequence[Example]) -> list[tuple[Arrays, Any]]:
    """Outputs and states of examples that all go on, or all begin."""
    known = np.array([_known(example) for example in examples])
    device = next(module.parameters()).device
    shelf = _Shelf.of([example.state for example in examples]) if known[0] else _Shelf(len(examples), device)
    whole = [np.asarray(example.inputs["input_ids"]) for example in examples]
    new = np.array([len(ids) for ids in whole]) - known
    columns = np.arange(new.max())
    tokens = np.zeros((len(examples), new.max()), dtype=np.int64)
    for row, ids in enumerate(whole):
        tokens[row, : new[row]] = ids[known[row] :]
    at = np.stack([example.inputs["at"] for example in examples]) - known[:, None]
    seen = shelf.open(torch.from_numpy(columns < new[:, None]).to(device))
    logits = module.go_on(
        torch.from_numpy(tokens).to(device),
        torch.from_numpy(known[:, None] + np.minimum(columns, new[:, None] - 1)).to(device),
        seen,
        torch.from_numpy(at).to(device),
        shelf,
    )
    shelf.used += len(columns)
    said = logits.float().cpu().numpy()
    return [({"logits": said[row]}, Past(shelf, row, shelf.used, ids)) for row, ids in enumerate(whole)]
