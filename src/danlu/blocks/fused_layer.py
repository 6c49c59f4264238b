"""A layer of BERT or RoBERTa in bfloat16 on a CPU as one function: products by torch, all between them by `loops`.

torch takes some hundred operations for a layer there and back, most of them small and each a turn through memory. Here
they are eight products, two of which take queries, keys and values at once, and eight loops. What is computed is the
same; sums are rounded to bfloat16 less often, and dropout draws other places.

It is for the twins of `blocks/halves.py`, whose matrices are bfloat16 already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from danlu.blocks import loops
from danlu.blocks.dropout import Dropout, random_keys
from danlu.blocks.loops import Mask, Texts

_NOTE = "layer_of_encoder"
_KNOWN = frozenset({"row", "position_ids"})
"""What a layer may be given besides its input and mask; positions are part of the input already."""


def note(layer: nn.Module) -> None:
    """Note of a layer that it is one of BERT's: attention with a mask added, GELU, norms after residual sums."""
    layer.__dict__[_NOTE] = True


def fitting(model: nn.Module) -> Iterator[tuple[str, Any]]:
    """The noted layers that the loops know, with their names: nothing in them was wrapped, and all have biases."""
    for name, layer in model.named_modules():
        if layer.__dict__.get(_NOTE) and loops.available() and _fits(layer):
            yield name, layer


def _fits(layer: Any) -> bool:
    own, out = layer.attention.self, layer.attention.output
    linear = (own.query, own.key, own.value, out.dense, layer.intermediate.dense, layer.output.dense)
    norms, drops = (out.LayerNorm, layer.output.LayerNorm), (out.dropout, layer.output.dropout)
    plain = all(type(part) is nn.Linear and part.bias is not None for part in linear)
    plain = plain and all(type(part) is nn.LayerNorm and part.bias is not None for part in norms)
    plain = plain and all(type(part) is Dropout for part in drops) and not hasattr(own, "prefix")
    return plain and own.attention_head_size % loops.ROOM == 0


def join(name: str, weights: Mapping[str, nn.Parameter]) -> tuple[Tensor, Tensor]:
    """Let queries', keys' and values' weights and biases of a layer lie one below the other; returns them as one."""
    joined = []
    for what in ("weight", "bias"):
        parts = [weights[f"{name}.attention.self.{which}.{what}"] for which in ("query", "key", "value")]
        whole = torch.cat([part.detach() for part in parts])
        for part, view in zip(parts, whole.chunk(3), strict=True):
            part.data = view
        joined.append(whole)
    return joined[0], joined[1]


def fuse(layer: Any, joined: tuple[Tensor, Tensor]) -> None:
    """Let a layer of bfloat16 weights, of which `joined` are those of `join`, take the loops in training."""
    layer.forward = _Forward(layer, layer.forward, joined)


class _Forward:
    """The layer's forward: fused where it learns in bfloat16 and nobody asks for more, as it was elsewhere."""

    def __init__(self, layer: Any, plain: Any, joined: tuple[Tensor, Tensor]) -> None:
        self._layer, self._plain, self._joined = layer, plain, joined

    def __call__(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *more: Any, **named: Any) -> Tensor:
        layer, row = self._layer, named.get("row")
        asked = [*more, *(value for name, value in named.items() if name not in _KNOWN)]
        learns = layer.training and torch.is_grad_enabled() and hidden_states.dtype == torch.bfloat16
        if not learns or any(value is not None and value is not False for value in asked):
            plain: Tensor = self._plain(hidden_states, attention_mask, *more, **named)
            return plain
        batch, length, width = hidden_states.shape
        if row is not None:
            texts = row.texts()
        else:
            texts = Texts.padded(batch, length, None if attention_mask is None else attention_mask.float())
        told: Tensor = _Layer.apply(  # type: ignore[no-untyped-call]
            hidden_states.reshape(-1, width), _Settings.of(layer, texts, self._joined), *_weights(layer)
        )
        return told.view(batch, length, width)


class _Settings(NamedTuple):
    """What a layer's function is given besides tensors that learn."""

    texts: Texts
    heads: int
    scaling: float
    epsilons: tuple[float, float]
    masks: tuple[Mask, Mask, Mask]
    """Of the shares, of what attention tells, of what the two wide products tell."""
    joined: tuple[Tensor, Tensor]

    @classmethod
    def of(cls, layer: Any, texts: Texts, joined: tuple[Tensor, Tensor]) -> _Settings:
        own, out = layer.attention.self, layer.attention.output
        rates = own.dropout.p, out.dropout.p, layer.output.dropout.p
        masks = [Mask.of(rate, keys) for rate, keys in zip(rates, random_keys(3), strict=True)]
        epsilons = out.LayerNorm.eps, layer.output.LayerNorm.eps
        return cls(texts, own.num_attention_heads, own.scaling, epsilons, (masks[0], masks[1], masks[2]), joined)


def _weights(layer: Any) -> list[Tensor]:
    own, out = layer.attention.self, layer.attention.output
    parts = (
        own.query, own.key, own.value, out.dense, out.LayerNorm, layer.intermediate.dense, layer.output.dense,
        layer.output.LayerNorm,
    )  # fmt: skip
    return [weight for part in parts for weight in (part.weight, part.bias)]


class _Layer(torch.autograd.Function):
    """x [tokens, width] → the same shape, by the weights in the order of `_weights`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, settings: _Settings, *weights: Tensor) -> Tensor:
        out, out_bias, norm, norm_bias, up, up_bias, down, down_bias, last, last_bias = weights[6:]
        of_shares, of_mixed, of_down = settings.masks
        joined = x @ settings.joined[0].t()
        mixed, shares = loops.attend(
            joined, settings.joined[1], settings.texts, settings.heads, settings.scaling, of_shares
        )
        first = loops.norm(mixed @ out.t(), out_bias, x, norm, norm_bias, settings.epsilons[0], of_mixed)
        rising = first.told @ up.t()
        active = loops.gelu(rising, up_bias)
        second = loops.norm(active @ down.t(), down_bias, first.told, last, last_bias, settings.epsilons[1], of_down)
        ctx.settings = settings
        ctx.save_for_backward(
            x,
            joined,
            mixed,
            shares,
            *first,
            rising,
            active,
            *second[1:],
            *settings.joined,
            out,
            norm,
            up,
            up_bias,
            down,
            last,
        )
        return second.told

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        x, joined, mixed, shares, told, even, inverse, rising, active, last_even, last_inverse, *weights = (
            ctx.saved_tensors
        )
        three, three_bias, out, norm, up, up_bias, down, last = weights
        settings: _Settings = ctx.settings
        of_shares, of_mixed, of_down = settings.masks
        asked = ctx.needs_input_grad

        of_told, of_said, *lasts, down_bias = loops.norm_back(
            slope.contiguous(), None, last_even, last_inverse, last, of_down
        )
        of_down_weight = of_said.t() @ active if asked[14] else None
        wide = of_said @ down
        of_up_bias = loops.gelu_back(rising, up_bias, wide)
        of_up_weight = wide.t() @ told if asked[12] else None

        of_x, of_said, *firsts, out_bias = loops.norm_back(of_told, wide @ up, even, inverse, norm, of_mixed)
        of_out_weight = of_said.t() @ mixed if asked[8] else None
        of_joined, joined_bias = loops.attend_back(
            of_said @ out, joined, three_bias, settings.texts, settings.heads, settings.scaling, shares, of_shares.scale
        )
        of_three = (of_joined.t() @ x).chunk(3) if any(asked[2:8:2]) else (None,) * 3
        if asked[0]:
            of_x.addmm_(of_joined, three)
        pairs = zip(of_three, joined_bias.chunk(3), strict=True)
        found = [*(tensor for pair in pairs for tensor in pair), of_out_weight, out_bias, *firsts]
        found += [of_up_weight, of_up_bias, of_down_weight, down_bias, *lasts]
        return of_x if asked[0] else None, None, *(one if want else None for one, want in zip(found, asked[2:]))
