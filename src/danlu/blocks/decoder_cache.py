"""Keys and values of a T5's decoder, kept while texts are written (Pope et al., 2022).

What the encoder read is turned into keys and values once for each text. Texts that are written together lie in one
`_Shelf`, a row each, whatever their lengths: a row's own positions decide the bias of its distances. The branches of
a beam are rows that share what was read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.encoder_decoder import AskedPair, closed
from danlu.contracts import Arrays, Example

_KIND = "t5"
_INPUTS = {"input_ids", "attention_mask", "decoder_input_ids", "at"}
_ROOM = 32
"""Columns that a shelf grows by."""

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Written:
    """What was written so far: a row of a shelf up to the length of `ids`. What is appended does not change it."""

    shelf: _Shelf
    row: int
    ids: np.ndarray[Any, Any]


@dataclass(eq=False)
class _Shelf:
    """Rows of keys and values, a pair for each layer."""

    own: list[Pair]
    """Of what was written, [rows, heads, columns, size]; a row's columns count from its beginning."""
    read: list[Pair]
    """Of what was read, [rows, heads, tokens, size]."""
    hidden: Tensor
    """Added to the scores of what was read, [rows, 1, 1, tokens]."""
    texts: list[object]
    """Which text each row read: rows of one text share it."""
    lengths: Tensor
    """How many columns of each row are written."""

    def take(self, rows: list[int], lengths: list[int]) -> _Shelf:
        """A shelf of some rows, each up to a length; what they read is copied only where the texts are others."""
        places = torch.tensor(rows, device=self.lengths.device)
        own = [(keys[places], values[places]) for keys, values in self.own]
        texts = [self.texts[row] for row in rows]
        if len(texts) == len(self.texts) and all(a is b for a, b in zip(texts, self.texts, strict=True)):
            read, hidden = self.read, self.hidden
        else:
            read, hidden = [(keys[places], values[places]) for keys, values in self.read], self.hidden[places]
        return _Shelf(own, read, hidden, texts, torch.tensor(lengths, device=self.lengths.device))

    def latest(self, rows: list[int], lengths: list[int]) -> bool:
        """Whether these are all rows in their order, each as far as it is written."""
        return rows == list(range(len(self.texts))) and lengths == self.lengths.tolist()


def _together(shelves: list[_Shelf]) -> _Shelf:
    """One shelf of the rows of several, one after another."""
    if len(shelves) == 1:
        return shelves[0]
    texts = [text for shelf in shelves for text in shelf.texts]
    hidden = _joined([shelf.hidden for shelf in shelves], 3, torch.finfo(torch.float32).min)
    own, read = (
        [
            (_joined([keys for keys, _ in layer], 2), _joined([values for _, values in layer], 2))
            for layer in zip(*(getattr(shelf, name) for shelf in shelves), strict=True)
        ]
        for name in ("own", "read")
    )
    return _Shelf(own, read, hidden, texts, torch.cat([shelf.lengths for shelf in shelves]))


def _joined(tensors: list[Tensor], axis: int, fill: float = 0.0) -> Tensor:
    """Tensors one after another along axis 0, filled up along another."""
    most = max(tensor.shape[axis] for tensor in tensors)
    return torch.cat([_wider(tensor, axis, most - tensor.shape[axis], fill) for tensor in tensors])


def _wider(tensor: Tensor, axis: int, more: int, fill: float = 0.0) -> Tensor:
    return functional.pad(tensor, (0, 0) * (tensor.ndim - 1 - axis) + (0, more), value=fill) if more else tensor


def resume(module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
    """`logits` [1, vocabulary] after the last token of each example, and its state.

    None for a model that is no T5, and for examples that ask for something else than what comes after one new token.
    """
    model: Any = module
    if not isinstance(module, AskedPair) or model.config.model_type != _KIND or not all(map(_next, examples)):
        return None
    beginning = [place for place, example in enumerate(examples) if example.state is None]
    going_on: dict[_Shelf, list[int]] = {}
    for place, example in enumerate(examples):
        if example.state is not None:
            going_on.setdefault(example.state.shelf, []).append(place)
    shelves = [_begun(model, [examples[place] for place in beginning])] if beginning else []
    order = [*beginning]
    for shelf, places in going_on.items():
        places.sort(key=lambda place: examples[place].state.row)
        states = [examples[place].state for place in places]
        rows, lengths = [state.row for state in states], [len(state.ids) for state in states]
        shelves.append(shelf if shelf.latest(rows, lengths) else shelf.take(rows, lengths))
        order += places
    shelf = _together(shelves)
    ids = [np.asarray(examples[place].inputs["decoder_input_ids"]) for place in order]
    last = torch.tensor([one[-1] for one in ids], device=shelf.lengths.device)
    scores = _step(model, shelf, last).float().cpu().numpy()
    found = {
        place: ({"logits": scores[row : row + 1]}, Written(shelf, row, ids[row])) for row, place in enumerate(order)
    }
    return [found[place] for place in range(len(examples))]


def _next(example: Example) -> bool:
    """Whether it asks for what comes after one token more than its state holds."""
    if set(example.inputs) != _INPUTS:
        return False
    ids, state = example.inputs["decoder_input_ids"], example.state
    known = 0 if state is None else len(state.ids) if isinstance(state, Written) else -1
    return (
        len(ids) == known + 1
        and list(example.inputs["at"]) == [known]
        and bool((state is None) or (ids[:known] == state.ids).all())
    )


def _begun(model: Any, examples: Sequence[Example]) -> _Shelf:
    """A shelf of texts that were read and of which nothing is written; texts that are asked twice are read once."""
    device = next(model.parameters()).device
    texts = [np.asarray(example.inputs["input_ids"]) for example in examples]
    ids = np.zeros((len(texts), max(map(len, texts))), dtype=np.int64)
    seen = np.zeros(ids.shape, dtype=bool)
    for row, (text, example) in enumerate(zip(texts, examples, strict=True)):
        ids[row, : len(text)] = text
        seen[row, : len(text)] = np.asarray(example.inputs["attention_mask"]) > 0
    hidden = closed(torch.from_numpy(seen).to(device)[:, None, None, :])
    read = model.get_encoder()(input_ids=torch.from_numpy(ids).to(device), attention_mask=hidden).last_hidden_state
    pairs = []
    for block in model.get_decoder().block:
        layer = block.layer[1].EncDecAttention
        pairs.append((_heads(layer.k(read), layer), _heads(layer.v(read), layer)))
    none = [(keys[:, :, :0], values[:, :, :0]) for keys, values in pairs]
    nothing = torch.zeros(len(texts), dtype=torch.int64, device=device)
    return _Shelf(none, pairs, hidden, [object() for _ in texts], nothing)


def _step(model: Any, shelf: _Shelf, last: Tensor) -> Tensor:
    """Write a token [rows] behind each row; the scores [rows, vocabulary] of what comes next."""
    decoder, lengths = model.get_decoder(), shelf.lengths
    rows = torch.arange(len(last), device=last.device)
    if int(lengths.max()) >= shelf.own[0][0].shape[2]:
        shelf.own = [(_wider(keys, 2, _ROOM), _wider(values, 2, _ROOM)) for keys, values in shelf.own]
    used = int(lengths.max()) + 1
    bias = _bias(decoder.block[0].layer[0].SelfAttention, lengths, used)
    x = decoder.embed_tokens(last).unsqueeze(1)
    for block, own, read in zip(decoder.block, shelf.own, shelf.read, strict=True):
        inner, outer, wide = block.layer
        layer, normed = inner.SelfAttention, inner.layer_norm(x)
        for kept, new in zip(own, (layer.k(normed), layer.v(normed)), strict=True):
            kept[rows, :, lengths] = _heads(new, layer)[:, :, 0].to(kept.dtype)
        keys, values = (kept[:, :, :used] for kept in own)
        x = x + _mixed(layer, normed, keys, values, bias)
        x = x + _mixed(outer.EncDecAttention, outer.layer_norm(x), *read, shelf.hidden)
        x = wide(x)
    shelf.lengths = lengths + 1
    x = decoder.final_layer_norm(x)
    scale = model.model_dim**-0.5 if model.config.scale_decoder_outputs else 1.0
    scores: Tensor = model.lm_head(x * scale)
    return scores[:, 0]


def _bias(layer: Any, lengths: Tensor, used: int) -> Tensor:
    """What is added to a row's scores, by the distance of each column from its newest; [rows, heads, 1, columns]."""
    distance = torch.arange(used, device=lengths.device)[None] - lengths[:, None]
    buckets = layer._relative_position_bucket(
        distance.clamp(max=0),
        bidirectional=False,
        num_buckets=layer.relative_attention_num_buckets,
        max_distance=layer.relative_attention_max_distance,
    )
    bias = layer.relative_attention_bias(buckets).permute(0, 2, 1).unsqueeze(2)
    added: Tensor = bias + closed(distance <= 0)[:, None, None]
    return added


def _heads(projected: Tensor, layer: Any) -> Tensor:
    return projected.view(*projected.shape[:2], -1, layer.key_value_proj_dim).transpose(1, 2)


def _mixed(layer: Any, x: Tensor, keys: Tensor, values: Tensor, added: Tensor) -> Tensor:
    """One query a row: what its layer's attention gives; T5 does not scale its scores."""
    query = _heads(layer.q(x), layer)
    weights = (query @ keys.transpose(2, 3) + added).softmax(-1).to(values.dtype)
    mixed: Tensor = layer.o((weights @ values).transpose(1, 2).flatten(2))
    return mixed
