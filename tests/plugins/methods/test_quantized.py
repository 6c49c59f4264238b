"""LoRA and DoRA beside frozen layers of eight bits: less is held, the same is learnt, and the base is whole again."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.blocks import frozen_int8, hf, peft
from danlu.blocks.frozen_int8 import FrozenInt8
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Beginning, Head
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.dora import DoRA
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.optimizers.adamw import AdamW
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor
from danlu.testing import checks
from danlu.training import guards

TASK = TextClassification(text="text", label="label", labels=("a", "b"))


def begun(folder: Path, method: LoRA | DoRA) -> nn.Module:
    backbone = Pretrained(model=str(folder))
    processor = backbone.processor(folder)
    torch.manual_seed(0)
    module, fresh = backbone.start(TASK.head(), processor)
    method = method.resolve(fresh)
    method.begin(method.wrap(module), Beginning(TASK.head(), processor, []))
    return module


@pytest.mark.parametrize("method", [LoRA(rank=4, quantized="int8"), DoRA(rank=4, quantized="int8")])
def test_it_keeps_the_promises_of_a_method(method) -> None:
    assert len(checks.run(method)) >= 4


def test_every_frozen_linear_layer_is_held_in_eight_bits_and_no_other(tiny_bert) -> None:
    model = begun(tiny_bert, LoRA(rank=2, quantized="int8", targets=("query",)))
    held = {name.removesuffix(".base_layer") for name, part in model.named_modules() if isinstance(part, FrozenInt8)}
    ends = ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense")
    ends += ("intermediate.dense", "output.dense")
    assert held == {f"bert.encoder.layer.{k}.{end}" for k in (0, 1) for end in ends}
    assert all(weight.is_floating_point() for weight in model.parameters() if weight.requires_grad)
    inside = model.bert.encoder.state_dict().items()
    plain = begun(tiny_bert, LoRA(rank=2, targets=("query",))).bert.encoder.state_dict()
    assert sum(t.nbytes for _, t in inside) < 0.35 * sum(t.nbytes for t in plain.values())


def layers(bias: bool, dora: bool, dropout: float = 0.0) -> tuple[nn.Module, nn.Module]:
    """A layer with an adapter over eight bits, and the same over the floating-point weights that they stand for."""
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": nn.Linear(24, 16, bias=bias)})
    peft.add_lora(model, ["one"], rank=4, alpha=12, dropout=dropout, dora=dora)
    nn.init.normal_(model["one"].lora_B["default"].weight)
    model.train()
    plain = copy.deepcopy(model)
    assert frozen_int8.hold(model) == 1
    with torch.no_grad():
        plain["one"].base_layer.weight.copy_(model["one"].base_layer.weight)
    return model["one"], plain["one"]


@pytest.mark.parametrize(("bias", "narrow"), [(True, False), (False, True)])
@pytest.mark.parametrize("dora", [False, True])
def test_answers_and_gradients_are_those_of_the_weights_that_the_codes_stand_for(bias, narrow, dora) -> None:
    found = []
    torch.manual_seed(1)
    given = torch.randn(3, 5, 24)
    for one in layers(bias, dora):
        x = given.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            said = one(x)
        said.float().square().sum().backward()
        assert all(weight.grad is None for weight in one.base_layer.parameters())
        found.append((said.detach().float(), x.grad, *(w.grad for w in one.parameters() if w.requires_grad)))
    assert len(found[0]) == 4 + dora
    for ours, theirs in zip(*found, strict=True):
        off = 0.03 if narrow else 1e-5
        torch.testing.assert_close(ours, theirs, rtol=off, atol=off * theirs.abs().max().item())


def test_the_backward_pass_keeps_no_wide_weights() -> None:
    one, plain = layers(bias=False, dora=False)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        one(torch.randn(1, 24))
    assert max(kept) == 24 * 16 < plain.base_layer.weight.nbytes


def test_given_back_the_base_is_the_very_weights_it_was(tiny_bert) -> None:
    method = LoRA(rank=2, quantized="int8")
    model, other = begun(tiny_bert, method), begun(tiny_bert, LoRA(rank=2))
    plain = Pretrained(model=str(tiny_bert))
    method.restore(model, lambda: plain.start(TASK.head(), plain.processor(tiny_bert))[0])
    ours, theirs = model.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "base_layer" in name)
    assert {n for n, w in model.named_parameters() if w.requires_grad} == {
        n for n, w in other.named_parameters() if w.requires_grad
    }


@pytest.mark.parametrize("method", [LoRA(rank=4, quantized="int8"), DoRA(rank=4, quantized="int8")])
def test_over_the_plain_base_the_adapter_answers_nearly_the_same(method, tiny_bert) -> None:
    model = begun(tiny_bert, method)
    backbone = Pretrained(model=str(tiny_bert))
    processor = backbone.processor(tiny_bert)
    rows = TASK.sample(32)
    batch = to_torch(TASK.collate([TASK.examples(row, processor)[0] for row in rows], processor))
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        TASK.loss(TASK.forward(model.train(), batch), batch).sum().backward()
        optimizer.step()
    said = []
    for _ in range(2):
        said.append(Predictor(TorchForm(model.eval()), TASK, processor)([row["text"] for row in rows]))
        method.restore(model, lambda: backbone.start(TASK.head(), processor)[0])
    assert sum(a["label"] == row["label"] for a, row in zip(said[0], rows, strict=True)) == len(rows)
    far = max(TASK.distance(a, b) for a, b in zip(*said, strict=True))
    assert 0 < far < 0.02


def test_a_model_without_such_layers_is_refused() -> None:
    module = hf.from_scratch("gpt2", Head("input", 2), 0, vocab_size=40, n_embd=32, n_layer=1, n_head=2)
    method = LoRA(quantized="int8").resolve(["score.weight"])
    with pytest.raises(RecipeError, match="nothing in eight bits: the model has no frozen linear layer"):
        method.begin(method.wrap(module), Beginning(TASK.head(), None, []))


def test_a_table_that_an_embedding_reads_too_stays() -> None:
    model = nn.ModuleDict({"read": nn.Embedding(40, 8), "inner": nn.Linear(8, 8), "write": nn.Linear(8, 40)})
    model["write"].weight = model["read"].weight
    assert frozen_int8.hold(model.requires_grad_(False)) == 1
    assert isinstance(model["inner"], FrozenInt8)


def test_shares_of_eight_bits_are_refused(tiny_bert) -> None:
    guards.check_shared([], 1, AdamW(), begun(tiny_bert, LoRA()))
    with pytest.raises(RecipeError, match="shares are made of floating-point weights alone"):
        guards.check_shared([], 1, AdamW(), begun(tiny_bert, LoRA(quantized="int8")))
