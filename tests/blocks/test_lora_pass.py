"""The adapted layer as one operation: the library's answers and gradients, and no stale copy of a weight."""

import copy

import pytest
import torch
from torch import nn

from danlu.blocks import lora_pass, peft


def layer(bias=True, dropout=0.0, dora=False):
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": nn.Linear(24, 16, bias=bias)})
    peft.add_lora(model, ["one"], rank=4, alpha=12, dropout=dropout, dora=dora)
    nn.init.normal_(model["one"].lora_B["default"].weight)
    return model["one"].train()


def learnt(one, x, *, lean, monkeypatch, narrow=False):
    """Answer, gradient of the input and of the adapter; `lean` as one operation."""
    with monkeypatch.context() as patch:
        if not lean:
            patch.setattr(peft, "cut", lambda weight: True)
        one.zero_grad()
        x = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            said = one(x)
        said.float().square().sum().backward()
    return said.detach().float(), x.grad, *(w.grad for w in one.parameters() if w.requires_grad)


@pytest.mark.parametrize(("bias", "narrow"), [(True, False), (False, False), (True, True)])
def test_it_is_the_librarys_layer(bias, narrow, monkeypatch):
    one, x = layer(bias), torch.randn(3, 5, 24)
    ours, theirs = (learnt(one, x, lean=lean, monkeypatch=monkeypatch, narrow=narrow) for lean in (True, False))
    assert len(ours) == 4
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype == torch.float32
        torch.testing.assert_close(
            a, b, rtol=3e-2 if narrow else 1e-4, atol=(0.02 if narrow else 1e-5) * b.abs().max().item()
        )
    assert one.get_base_layer().weight.grad is None


def test_it_is_used_while_training_alone(monkeypatch):
    calls = []
    monkeypatch.setattr(peft, "adapted", lambda *a: calls.append(a) or lora_pass.adapted(*a))
    x = torch.randn(2, 24)
    layer()(x)
    assert len(calls) == 1
    layer().eval()(x)
    layer(dropout=0.5)(x)
    layer(dora=True)(x)
    whole = layer()
    whole.get_base_layer().weight.requires_grad_()
    whole(x)
    assert len(calls) == 1


def test_a_weight_that_was_changed_is_narrowed_anew():
    frozen, weight = lora_pass.Frozen(), torch.randn(4, 4)
    first = frozen.narrow(weight, torch.bfloat16)
    assert frozen.narrow(weight, torch.bfloat16) is first
    weight.mul_(2)
    assert torch.equal(frozen.narrow(weight, torch.bfloat16), weight.bfloat16())
    assert frozen.narrow(weight, torch.float32).data_ptr() == weight.data_ptr()
    assert copy.deepcopy(frozen)._narrow is None
