"""How much a training computes, and how much of what the machine can.

Useful floating-point operations are counted by the formula of Kaplan et al. (2020, arXiv:2001.08361, section 2.1) with
the attention term of PaLM (Chowdhery et al., 2022, arXiv:2204.02311, appendix B): forward and backward together,

    6 · body · tokens  +  12 · layers · width · Σ length²  +  6 · head · scored

`body` are the weights below the head without embedding tables, which only look up; `head` those above, with the matrix
that scores the vocabulary also where it is the embedding table, used at the `scored` positions alone. What a method
computes beside (activations again, a second pass) is not useful. A block of packed texts counts as one text, and a
causal mask is not taken off, as in PaLM.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from danlu.training.measured import once
from danlu.training.precision import DTYPES, Precision

_SIDE = {"cpu": 1024, "cuda": 8192, "mps": 4096}
"""Rows and columns of the matrices that are multiplied, by the type of the device."""
_SECONDS, _LEAST = 0.3, 3


class Work(NamedTuple):
    """Tokens, the sum of the squared lengths of their texts, and the positions (or inputs) that have a loss."""

    tokens: int = 0
    squares: int = 0
    scored: float = 0.0

    def __add__(self, other: object) -> Work:
        """The work of both."""
        if not isinstance(other, Work):
            return NotImplemented
        return Work(self.tokens + other.tokens, self.squares + other.squares, self.scored + other.scored)


class Cost(NamedTuple):
    """What a model's training costs; see the formula above."""

    body: int
    head: int
    layers: int
    width: int

    def flop(self, work: Work) -> float:
        """Useful floating-point operations."""
        attention = 12 * self.layers * self.width * work.squares
        return 6.0 * self.body * work.tokens + attention + 6.0 * self.head * work.scored


def cost(model: nn.Module) -> Cost | None:
    """The cost of a transformer of the transformers library; None for another model, and where weights are frozen."""
    config, body = getattr(model, "config", None), getattr(model, "base_model", None)
    layers, width = (getattr(config, name, None) for name in ("num_hidden_layers", "hidden_size"))
    pair = getattr(config, "is_encoder_decoder", False)  # the formula is that of one stack
    if pair or not layers or not width or body is None or not all(w.requires_grad for w in model.parameters()):
        return None
    found: Any = model
    scores = found.get_output_embeddings()
    tables = {id(part.weight) for part in model.modules() if isinstance(part, nn.Embedding)}
    inside = {id(w): w for name, w in body.named_parameters() if not name.startswith("pooler.")}
    below = sum(w.numel() for key, w in inside.items() if key not in tables)
    above = sum(w.numel() for w in model.parameters() if id(w) not in inside)
    tied = scores.weight.numel() if scores is not None and id(scores.weight) in inside else 0
    return Cost(below, above + tied, int(layers), int(width))


def ceiling(device: torch.device, precision: Precision) -> float:
    """Floating-point operations a second of a large matrix product on this rank's threads or device; measured once for
    this machine, number of threads and precision."""
    return once("matmul.json", device, lambda: multiplied(device, precision), of=f"{precision}, ")


def multiplied(device: torch.device, precision: Precision) -> float:
    """The best of as many square products as fit in 0.3 s."""
    side = _SIDE.get(device.type, 1024)
    matrix = torch.ones(side, side, device=device, dtype=DTYPES[precision])
    best, began, done = float("inf"), time.perf_counter(), 0
    while done < _LEAST or time.perf_counter() - began < _SECONDS:
        best, done = min(best, _seconds(matrix)), done + 1
    return 2.0 * side**3 / best


def _seconds(matrix: Tensor) -> float:
    began = time.perf_counter()
    torch.mm(matrix, matrix)
    if matrix.device.type == "cuda":
        torch.cuda.synchronize(matrix.device)
    return time.perf_counter() - began


def figures(
    model: nn.Module, work: Work, seconds: float, device: torch.device, precision: Precision, world: int = 1
) -> dict[str, Any]:
    """What was reached, and its share of what the machine can; None where it can't be told.

    `work` is that of all `world` ranks together, so the rates of matrix products are too: each rank multiplies on its
    own threads or device. `mfu` is the share of the rate in bf16, whatever the training's precision, so that trainings
    compare; `matmul_share` is that of the rate in the training's own.
    """
    seconds, of_model = max(seconds, 1e-9), cost(model)
    told: dict[str, Any] = {"tokens_per_s": round(work.tokens / seconds, 1) if work.tokens else None}
    names = ("flop_per_s", "matmul_flop_per_s", "matmul_share", "matmul_bf16_flop_per_s", "mfu")
    if of_model is None or not work.tokens:
        return told | dict.fromkeys(names)
    reached, most = of_model.flop(work) / seconds, ceiling(device, precision) * world
    bf16: float | None = None
    with suppress(RuntimeError, TypeError):  # a device that can't multiply in bf16
        bf16 = ceiling(device, "bf16") * world
    own = (round(most), round(reached / most, 4))
    in_bf16 = (round(bf16), round(reached / bf16, 4)) if bf16 else (None, None)
    return told | dict(zip(names, (round(reached), *own, *in_bf16), strict=True))
