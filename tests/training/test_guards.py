"""Digests of weights; the other guards are tested where they stand, in the loop."""

import torch

from danlu.training.guards import digest


def test_a_digest_sees_one_changed_bit_of_any_type():
    for dtype in (torch.float32, torch.bfloat16, torch.int64, torch.bool):
        tensor = torch.zeros(3, 4, dtype=dtype)
        before = digest({"a": tensor, "scalar": tensor[0, 0], "turned": tensor.t()})
        tensor[0, 0] = 1
        after = digest({"a": tensor, "scalar": tensor[0, 0], "turned": tensor.t()})
        assert all(before[name] != after[name] for name in before)
