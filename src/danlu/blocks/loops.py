"""Loops in C (`loops.c`, `steps.c`) over what torch takes several operations for, where they were compiled and can run.

They are an optional part of the installation: without a C compiler, or on a processor without AVX-512, `available` is
False and callers take torch's operations. All tensors are on the CPU and contiguous; activations are bfloat16, sums and
the weights of norms float32. Calls go through ctypes, so other threads of Python run meanwhile.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from danlu.core import machine

ROOM = 16
"""Rows of shares, and the size of a head, are multiples of it."""


class Mask(NamedTuple):
    """Which places dropout keeps: those whose random bits, a function of the place and two keys, are below `bound`."""

    bound: int
    scale: float
    keys: tuple[int, int]

    @classmethod
    def of(cls, rate: float, keys: tuple[int, int]) -> Mask:
        """Places are dropped with probability `rate`, to within 2^-32."""
        bound = round((1.0 - rate) * 2**32)
        return cls(bound, 2**32 / bound if bound else 0.0, keys)

    def given(self) -> tuple[Any, ...]:
        first, second = self.keys
        return ctypes.c_uint64(self.bound), ctypes.c_float(self.scale), ctypes.c_uint32(first), ctypes.c_uint32(second)


class Texts(NamedTuple):
    """Which rows of tokens are one text each: `starts` and `lengths` [texts], int64.

    `mask` is added to the scores, float32 [texts, 1, queries or 1, keys], if there is one. `room` is how many numbers
    a head's shares take.
    """

    starts: Tensor
    lengths: Tensor
    mask: Tensor | None
    room: int

    @classmethod
    def padded(cls, texts: int, width: int, mask: Tensor | None) -> Texts:
        """Texts one below the other, all of the same length."""
        lengths = torch.full((texts,), width)
        return cls(torch.arange(texts) * width, lengths, mask, _room(lengths))

    @classmethod
    def in_row(cls, lengths: Tensor) -> Texts:
        """Texts one after the other in one row."""
        return cls(lengths.cumsum(0) - lengths, lengths, None, _room(lengths))


def _room(lengths: Tensor) -> int:
    return int((lengths * ((lengths + ROOM - 1) // ROOM * ROOM)).sum())


def available() -> bool:
    """Whether the loops were compiled, this processor can run them and nobody switched them off."""
    return os.environ.get(machine.LOOPS_SWITCH) != "torch" and _library() is not None


@cache
def _library() -> ctypes.CDLL | None:
    found = machine.loops()
    if found is None or "AVX512" not in torch.backends.cpu.get_cpu_capability():
        return None
    for name in ("gelu_forward", "gelu_backward", "norm_backward", "adamw", "adamw_rows"):
        getattr(found, name).restype = None
    found.add_up.restype = ctypes.c_double
    return found


def _call(name: str, *given: Any) -> None:
    if getattr(_library(), name)(*given):
        raise MemoryError(f"no memory for the scratch of {name}")


def _at(tensor: Tensor, dtype: torch.dtype = torch.bfloat16) -> ctypes.c_void_p:
    if tensor.dtype != dtype or not tensor.is_contiguous():
        raise ValueError(f"a contiguous tensor of {dtype} is wanted, not {tensor.dtype} with strides {tensor.stride()}")
    return ctypes.c_void_p(tensor.data_ptr())


def _wide(tensor: Tensor) -> ctypes.c_void_p:
    return _at(tensor, torch.float32)


def _sizes(*numbers: int) -> tuple[ctypes.c_int64, ...]:
    return tuple(map(ctypes.c_int64, numbers))


def gelu(x: Tensor, bias: Tensor) -> Tensor:
    """GELU with the error function (Hendrycks & Gimpel, 2016) of x + bias, [rows, size], to within bfloat16."""
    y = torch.empty_like(x)
    _call("gelu_forward", _at(x), _at(bias), _at(y), *_sizes(*x.shape))
    return y


def gelu_back(x: Tensor, bias: Tensor, slope: Tensor) -> Tensor:
    """Turn `slope` [rows, size] into that of x, in place; the result is that of bias, [size] in float32."""
    sums = torch.zeros(x.shape[1])
    _call("gelu_backward", _at(x), _at(bias), _at(slope), _wide(sums), *_sizes(*x.shape))
    return sums


class Normed(NamedTuple):
    """What `norm` tells [rows, size], and what it keeps of it: the norm without weight and bias, 1 / deviation."""

    told: Tensor
    even: Tensor
    inverse: Tensor


def norm(x: Tensor, added: Tensor, before: Tensor, weight: Tensor, bias: Tensor, epsilon: float, mask: Mask) -> Normed:
    """LayerNorm (Ba et al., 2016) of `before` + dropout(x + added), [rows, size]; `added` is of bfloat16 too."""
    made = Normed(torch.empty_like(x), torch.empty_like(x), torch.empty(len(x)))
    ways = _at(x), _at(added), _at(before), _at(made.told), _at(made.even)
    _call(
        "norm_forward",
        *ways,
        _wide(made.inverse),
        _wide(weight),
        _wide(bias),
        *_sizes(*x.shape),
        ctypes.c_float(epsilon),
        *mask.given(),
    )
    return made


def norm_back(
    slope: Tensor, more: Tensor | None, even: Tensor, inverse: Tensor, weight: Tensor, mask: Mask
) -> tuple[Tensor, ...]:
    """From the slope of what `norm` told, or the sum of two, those of `before`, x, weight, bias and `added`."""
    of_before, of_x = torch.empty_like(slope), torch.empty_like(slope)
    sums = torch.zeros(3, slope.shape[1])
    ways = _at(slope), ctypes.c_void_p() if more is None else _at(more), _at(even), _wide(inverse), _wide(weight)
    _call("norm_backward", *ways, _at(of_before), _at(of_x), *map(_wide, sums), *_sizes(*slope.shape), *mask.given())
    return of_before, of_x, *sums


def attend(joined: Tensor, bias: Tensor, texts: Texts, heads: int, scaling: float, mask: Mask) -> tuple[Tensor, Tensor]:
    """Each text's attention to itself, [tokens, width], and the shares that `attend_back` wants.

    `joined` [tokens, 3 · width] + `bias` has queries, keys and values side by side, each head's a multiple of 16 wide.
    Tokens of no text get 0.
    """
    tokens, width = len(joined), joined.shape[1] // 3
    mixed, shares = joined.new_zeros(tokens, width), joined.new_empty(heads * texts.room)
    if (added := texts.mask) is not None:
        strides = added.stride(0), added.stride(2) if added.shape[2] > 1 else 0
        if added.dtype != torch.float32 or (added.shape[3] > 1 and added.stride(3) != 1) or added.shape[1] > 1:
            raise ValueError(f"a mask [texts, 1, queries or 1, keys] of float32 is wanted, not {added.shape}")
        place = ctypes.c_void_p(added.data_ptr())
    else:
        strides, place = (0, 0), ctypes.c_void_p()
    ways = _at(joined), _at(bias), _at(texts.starts, torch.int64), _at(texts.lengths, torch.int64)
    sizes = _sizes(len(texts.starts), heads, width // heads)
    last = ctypes.c_float(scaling), _at(mixed), _at(shares), *mask.given()
    _call("attend_forward", *ways, *sizes, place, *_sizes(*strides), *last)
    return mixed, shares


def attend_back(
    slope: Tensor,
    joined: Tensor,
    bias: Tensor,
    texts: Texts,
    heads: int,
    scaling: float,
    shares: Tensor,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """The slopes of `joined` and `bias`; `scale` is that of the mask."""
    of_joined, sums = torch.zeros_like(joined), torch.zeros(joined.shape[1])
    ways = _at(slope), _at(joined), _at(bias), _at(texts.starts, torch.int64), _at(texts.lengths, torch.int64)
    sizes = _sizes(len(texts.starts), heads, slope.shape[1] // heads)
    last = _at(shares), _at(of_joined), _wide(sums), ctypes.c_float(scale)
    _call("attend_backward", *ways, *sizes, ctypes.c_float(scaling), *last)
    return of_joined, sums


def add_up(one: Tensor, other: Tensor) -> tuple[Tensor, float]:
    """The sum of two tensors in float32, and the sum of its squares."""
    total = torch.empty(one.shape)
    squares = _library().add_up(_at(one), _at(other), _wide(total), *_sizes(one.numel()))  # type: ignore[union-attr]
    return total, squares


class Step(NamedTuple):
    """The numbers of a step of AdamW (Loshchilov & Hutter, 2019), the `number`-th of a weight.

    Gradients are divided by `divisor` first.
    """

    lr: float
    betas: tuple[float, float]
    epsilon: float
    decay: float
    number: float
    divisor: float = 1.0

    def given(self) -> Any:
        first, second = self.betas
        rate, deviation = self.lr / (1 - first**self.number), (1 - second**self.number) ** -0.5
        left, shrunk = 1 - self.lr * self.decay, 1 / self.divisor
        return (ctypes.c_float * 8)(shrunk, left, 1 - first, second, 1 - second, rate, deviation, self.epsilon)


def adamw(weight: Tensor, mean: Tensor, square: Tensor, slope: Tensor, narrow: Tensor, step: Step) -> None:
    """Move `weight` and its moments in place, and write `narrow`, the weight in bfloat16."""
    ways = _wide(weight), _wide(mean), _wide(square), _wide(slope), _at(narrow)
    _call("adamw", *ways, *_sizes(weight.numel()), step.given())


def adamw_rows(table: Tensor, mean: Tensor, square: Tensor, slope: Tensor, rows: Tensor, step: Step) -> None:
    """Move some rows of a table by the same rows of `slope`, and their moments [rows, width], in place."""
    ways = _wide(table), _wide(mean), _wide(square), _wide(slope), _at(rows, torch.int64)
    _call("adamw_rows", *ways, *_sizes(len(rows), table.shape[1]), step.given())
