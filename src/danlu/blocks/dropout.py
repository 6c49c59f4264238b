"""Dropout for CPUs: the same distribution as `torch.nn.Dropout`, from cheaper random bits.

torch draws one number a place, in one thread. Here 64 bits of SFC64 decide four places, and the mask is built with
integer operations: 0.24 ms instead of 1.7 ms for 330,000 places (two cores with AVX-512).
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 2**15  # the resolution of the probability to keep
_ONE = {torch.bfloat16: 0x3F80, torch.float16: 0x3C00}  # the bits of 1.0


def dropout(x: Tensor, p: float, training: bool = True) -> Tensor:
    """Zero each place of `x` with probability `p` (to within 2^-16) and scale the rest by 1 / (1 - p).

    The mask is a function of torch's default generator alone, which it moves on by one number: reseed that and the mask
    comes again, also where activations are recomputed. Off the CPU this is torch's own dropout.
    """
    if not training or p == 0.0:
        return x
    kept = round((1.0 - p) * _STEPS)
    if x.device.type != "cpu" or kept in (0, _STEPS):
        return functional.dropout(x, p)
    return (x * _keep(x, kept)).mul_(_STEPS / kept)


class Dropout(nn.Dropout):
    """`torch.nn.Dropout` on the bits above.

    In training under autocast the result has autocast's type. Where torch's passes float32 on, every layer that follows
    casts it again, and a residual stream that begins at this dropout stays float32.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        kind = input.device.type
        if self.training and input.is_floating_point() and torch.is_autocast_enabled(kind):
            input = input.to(torch.get_autocast_dtype(kind))  # noqa: A001
        return dropout(input, self.p, self.training)


def use_dropout(module: nn.Module) -> None:
    """Turn every `torch.nn.Dropout` inside `module` into `Dropout`, in place; names, weights and answers stay."""
    for part in module.modules():
        if type(part) is nn.Dropout and not part.inplace:
            part.__class__ = Dropout


def _keep(x: Tensor, kept: int) -> Tensor:
    """1 where a place is kept and 0 where not, in a type that leaves the type of a product with `x` alone."""
    seed = int(torch.randint(2**63 - 1, ()))
    words = np.random.SFC64(seed).random_raw(-(-x.numel() // 4))
    bits = torch.from_numpy(np.asarray(words).view(np.int16))[: x.numel()]
    dtype = x.dtype if x.dtype in _ONE else torch.bfloat16
    # 15 random bits - kept is negative where kept; the shift spreads the sign over the number.
    ones = bits.bitwise_and_(_STEPS - 1).sub_(kept).bitwise_right_shift_(15).bitwise_and_(_ONE[dtype])
    return ones.view(dtype).view(x.shape)
