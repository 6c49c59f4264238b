"""Encoders that learn from batches of mixed lengths without computing their padding.

All texts of a batch lie one after another in one row. What looks at one token at a time (linear layers, norms, dropout)
takes that row as it is; attention takes the shorter half of the texts and the longer one. The head gets the padded form
again, so neither it nor a task knows of this.

Random texts have another sum of lengths at every step. Each would be a kernel of its own that oneDNN makes and keeps,
and memory of another size: the row and the halves are filled up to a few sizes that come again
(docs/decisions.md, 42).

Batches of 32 sentences in random order take 0.5 of the processor's time that they take padded (conll2003, 6 layers of
width 384, one core), and 1.1 to 1.2 of that of batches sorted by length.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.inner import ear
from danlu.blocks.loops import Texts

WORTH = 0.1
"""The share of padding from which on a batch is computed without."""
_PARTS = 16
"""A row is filled up by less than one of so many parts of it."""
_LENGTH = 8
"""A group's texts are as long as a multiple of this."""


class _Group(NamedTuple):
    """Texts side by side that attention takes together, as [texts, length]; `mask` [texts, 1, 1, length] is added to
    the scores, where they are not equally long."""

    texts: int
    length: int
    mask: Tensor | None


class Row:
    """Where the tokens of a padded batch lie in one row, the shortest text first."""

    def __init__(self, attention_mask: Tensor) -> None:
        texts, width = attention_mask.shape
        lengths, order = attention_mask.sum(1).sort(stable=True)
        place, shown = torch.arange(width).expand(texts, -1), attention_mask[order] > 0
        self._lengths = lengths
        self._texts: Texts | None = None
        self.where = (order.unsqueeze(1) * width + place)[shown]
        self._more = -len(self.where) % _step(len(self.where))
        self.positions, self.shape = functional.pad(place[shown], (0, self._more)), (texts, width)
        halves = (own for own in lengths.tensor_split(2) if len(own))
        held = [torch.arange(_up(int(own[-1]))) < own.unsqueeze(1) for own in halves]
        self.groups = [_Group(one.shape[0], one.shape[1], None if one.all() else _mask(one)) for one in held]
        places = torch.cat([one.flatten() for one in held])
        self._back = functional.pad(places.nonzero().flatten(), (0, self._more), value=len(places))
        self._taken = torch.where(places, places.cumsum(0) - 1, len(self.positions))

    def texts(self) -> Texts:
        """Which rows of the row's tokens are one text each, for `blocks/loops.py`."""
        if self._texts is None:
            self._texts = Texts.in_row(self._lengths)
        return self._texts

    def of(self, padded: Tensor) -> Tensor:
        """[texts, width] → [1, total], 0 where the row is filled up."""
        return functional.pad(padded.flatten()[self.where], (0, self._more)).unsqueeze(0)

    def padded(self, row: Tensor) -> Tensor:
        """[1, total, size] → [texts, width, size], 0 at padding."""
        texts, width = self.shape
        empty = row.new_zeros(texts * width, row.shape[-1])
        return empty.index_copy(0, self.where, row[0, : len(self.where)]).view(texts, width, -1)

    def attend(self, one: Callable[..., Any], query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """The mixed values [1, total, heads, size] of `one(query, key, value, mask)` over each group.

        Query, key and value are [1, heads, total, size].
        """
        sizes = [group.texts * group.length for group in self.groups]
        rows = (tensor.squeeze(0).transpose(0, 1) for tensor in (query, key, value))
        parts = (_moved(row, self._taken, self._back).split_with_sizes(sizes) for row in rows)
        mixed = []
        for group, *own in zip(self.groups, *parts, strict=True):
            shaped = (part.view(group.texts, group.length, *part.shape[1:]).transpose(1, 2) for part in own)
            mixed.append(one(*shaped, group.mask)[0].flatten(0, 1))
        return _moved(torch.cat(mixed), self._back, self._taken).unsqueeze(0)


def skip_padding(model: nn.Module, first: int) -> None:
    """Let the body of an encoder learn without padding on CPUs; its answers, names and weights stay.

    The attention of its layers must hand `row` on to `Row.attend`. `first` is the position of a text's first token.
    Batches are padded as ever where there is little padding, outside training, and where others reach into the body:
    by a hook before it, or one on its embeddings, whose vectors techniques look at, or by listening to its layers.
    """
    body: Any = getattr(model, str(model.base_model_prefix))

    def before(part: nn.Module, args: Any, named: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        ids, mask = named.get("input_ids", args[0] if args else None), named.get("attention_mask")
        if not part.training or ids is None or ids.device.type != "cpu" or _reached_into(part):
            return None
        if mask is None or mask.dim() != 2 or not _pays(mask):
            return None
        row = Row(mask)
        given = {**named, "input_ids": row.of(ids), "position_ids": (row.positions + first).unsqueeze(0), "row": row}
        if (types := named.get("token_type_ids")) is not None:
            given["token_type_ids"] = row.of(types)
        return (), {**given, "attention_mask": torch.zeros(1, 1, 1, 1)}  # of this shape the library makes none itself

    body.register_forward_pre_hook(before, with_kwargs=True)
    body.register_forward_hook(_padded_again, with_kwargs=True)


def _pays(mask: Tensor) -> bool:
    """Whether a mask [texts, width] hides enough; of each text it must show something."""
    lengths = mask.sum(1)
    return bool(lengths.min() > 0 and lengths.sum() <= (1 - WORTH) * mask.numel())


def _reached_into(body: Any) -> bool:
    return (
        len(body._forward_pre_hooks) > 1 or len(body.get_input_embeddings()._forward_hooks) > 0 or ear(body) is not None
    )


def _padded_again(_: nn.Module, __: Any, named: dict[str, Any], output: Any) -> None:
    if (row := named.get("row")) is not None:
        output.last_hidden_state = row.padded(output.last_hidden_state)


class _Moved(torch.autograd.Function):
    """The rows of a tensor at some places, 0 for the place behind the last. Each row goes to one place at most, from
    where the gradient comes `back` the same way; the adding up that torch does takes five times as long.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, places: Tensor, back: Tensor) -> Tensor:
        ctx.ways = back, places
        return torch.cat([x, x.new_zeros(1, *x.shape[1:])]).index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None, None]:
        return _moved(slopes[0], *ctx.ways), None, None


def _moved(x: Tensor, places: Tensor, back: Tensor) -> Tensor:
    moved: Tensor = _Moved.apply(x, places, back)  # type: ignore[no-untyped-call]
    return moved


def _up(length: int) -> int:
    return length + -length % _LENGTH


def _step(total: int) -> int:
    """What the length of a row is to be a multiple of: a power of 2 of which it has `_PARTS` at least."""
    return max(_LENGTH, 1 << max(0, (total // _PARTS).bit_length() - 1))


def _mask(shown: Tensor) -> Tensor:
    """[texts, length] → what is added to scores, [texts, 1, 1, length]"""
    return torch.zeros(shown.shape).masked_fill_(~shown, torch.finfo(torch.float32).min)[:, None, None]
