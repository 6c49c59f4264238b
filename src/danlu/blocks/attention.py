"""Attention for training on CPUs, in the form that transformers' `AttentionInterface` wants."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.dropout import dropout as drop
from danlu.blocks.inner import Ear, ear
from danlu.blocks.lean import Shares, learns
from danlu.blocks.tensors import width
from danlu.blocks.virtual_tokens import Prefix

_NOT_KNOWN = ("softcap", "s_aux")
LONGEST = 512
"""Keys up to which attention without dropout is written out; beyond, the fused kernel is as quick and holds less."""


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Tensor | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Scaled dot-product attention (Vaswani et al., 2017), with the cheaper of two ways to compute it.

    `query` is [batch, heads, queries, size]; `key` and `value` are [batch, heads, keys, size], where each of their
    heads may serve several of the query's. `attention_mask` is added to the scores and carries any causal mask; None
    lets all attend to all. `position_bias`, of any shape that fits the scores, is added to them too and may be learnt
    (T5). The result is [batch, queries, heads, size].

    With `row` (`blocks/unpadded.Row`) one row holds all texts of a batch, and each attends to itself alone.
    A module that holds a `prefix` (`blocks/virtual_tokens`) attends to its keys and values besides.
    Where somebody listens (`blocks/inner`), the softmax is told.

    torch's fused kernel has no dropout on CPUs, and its backward pass in bfloat16 takes 22 ms where the written-out one
    takes 2 (32 texts of 27 tokens, 12 heads of 32, one core). Everywhere else it is the cheaper one.
    Raises ValueError for what it would have to do to the scores besides (a cap, a sink).
    """
    if (row := options.pop("row", None)) is not None:
        return row.attend(partial(attend, module, scaling=scaling, dropout=dropout), query, key, value), None
    if unknown := [name for name in _NOT_KNOWN if options.get(name) is not None]:
        raise ValueError(f"this attention knows no {' and no '.join(unknown)}")
    if position_bias is not None:
        attention_mask = position_bias if attention_mask is None else attention_mask + position_bias
    if isinstance(before := getattr(module, "prefix", None), Prefix):
        key, value, attention_mask = before(key, value, attention_mask)
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    rate = dropout if module.training else 0.0
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    learns = torch.is_grad_enabled() and query.requires_grad
    narrow = (width(query) != torch.float32 or position_bias is not None) and key.shape[2] <= LONGEST
    heard = heard if (heard := ear(module)) and heard.attends(module) else None
    if heard or (query.device.type == "cpu" and (rate or (learns and narrow))):
        mixed = _written_out(query, key, value, attention_mask, scaling, rate, heard)
    else:
        mask = attention_mask.to(query.dtype) if attention_mask is not None else None
        mixed = functional.scaled_dot_product_attention(query, key, value, mask, dropout_p=rate, scale=scaling)
    return mixed.transpose(1, 2).contiguous(), None


def attend_once(
    query: Tensor, inputs: Tensor, key: nn.Linear, value: nn.Linear, mask: Tensor | None, scaling: float, rate: float
) -> Tensor:
    """What one query an example mixes from `inputs`, without a key or a value of any of them.

    A score is q · (K x) = (Kᵀ q) · x, and Σ a (V x) = V Σ a x: two products of a vector a head take the place of two of
    a vector a token. `query` is [batch, heads, size], `inputs` [batch, keys, width], `mask` is added to the scores
    [batch, heads, keys]; `rate` is that of dropout. The result is [batch, heads, size].
    """
    _, heads, size = query.shape
    asked = torch.matmul(query.transpose(0, 1), key.weight.view(heads, size, -1)).transpose(0, 1)
    scores = torch.matmul(asked, inputs.transpose(1, 2)).float()
    if key.bias is not None:
        scores = scores + (query * key.bias.view(heads, size)).sum(-1, keepdim=True)
    scores = scores * scaling if mask is None else torch.add(mask, scores, alpha=scaling)
    weights = drop(scores.softmax(-1).to(width(inputs)), rate)
    mixed = torch.matmul(weights, inputs).transpose(0, 1)
    mixed = torch.matmul(mixed, value.weight.view(heads, size, -1).transpose(1, 2)).transpose(0, 1)
    if value.bias is not None:
        mixed = mixed + weights.sum(-1, keepdim=True) * value.bias.view(heads, size).to(mixed.dtype)
    return mixed


def _written_out(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scaling: float, rate: float, heard: Ear | None = None
) -> Tensor:
    pairs = (*q.shape[:3], k.shape[2])
    q, k, v = (x.flatten(0, 1) for x in (q, k, v))  # `matmul` would copy the transposed keys
    scores = torch.bmm(q, k.transpose(1, 2)).view(pairs)
    if heard is None and not rate and learns(scores) and not (mask is not None and mask.requires_grad):
        told: Tensor = Shares.apply(scores, mask, scaling)  # type: ignore[no-untyped-call]
        return torch.bmm(told.flatten(0, 1), v).view(*pairs[:3], -1)
    scores = scores.float()  # softmax in bfloat16 takes six times as long
    scores = scores * scaling if mask is None else torch.add(mask, scores, alpha=scaling)
    shares = scores.softmax(-1)
    if heard is not None:
        heard.hear(shares)
    weights = drop(shares.to(v.dtype), rate)
    return torch.bmm(weights.flatten(0, 1), v).view(*pairs[:3], -1)
