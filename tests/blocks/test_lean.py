"""Parts that keep less for the way back: the library's answers and gradients, and fewer bytes kept."""

import copy

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaMLP, LlamaRMSNorm
from transformers.models.t5.modeling_t5 import T5LayerNorm

from danlu.blocks import hf, lean
from danlu.blocks.memory import kept_bytes
from danlu.contracts import Head

SHAPE = {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}


class Holder(nn.Module):
    """A part under the name that it has in a layer."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            self.add_module(name, part)


def mlp():
    config = hf.transformers.LlamaConfig(**SHAPE)
    return Holder(mlp=LlamaMLP(config))


def norm(kind=LlamaRMSNorm, name="input_layernorm"):
    made = kind(16, eps=1e-5)
    nn.init.uniform_(made.weight, 0.5, 2.0)
    return Holder(**{name: made})


def learnt(holder, x, narrow=False):
    """The answer of the one part, the gradient of its input and of its weights."""
    [part] = holder.children()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=narrow):
        said = part(x)
    (said.float() * torch.linspace(-1, 1, said.numel()).view(said.shape)).sum().backward()
    return [said.detach(), x.grad, *(w.grad for w in part.parameters())]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("made", [norm, lambda: norm(T5LayerNorm, "layer_norm"), lambda: norm(name="norm"), mlp])
def test_they_are_the_librarys_parts(made, narrow):
    torch.manual_seed(0)
    theirs, x = made(), torch.randn(3, 5, 16) * 3
    ours = copy.deepcopy(theirs)
    lean.use_lean(ours)
    lean.use_lean(ours)  # a second time changes nothing
    assert all(isinstance(part, (lean.LeanRmsNorm, lean.LeanGated)) for part in ours.children())
    for a, b in zip(learnt(ours, x, narrow), learnt(theirs, x, narrow), strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=0.03 if narrow else 1e-4, atol=0.03 if narrow else 1e-5)


@pytest.mark.parametrize(("name", "wanted"), [("input_layernorm", torch.bfloat16), ("norm", torch.float32)])
def test_only_what_products_take_is_narrowed(name, wanted):
    holder = norm(name=name)
    lean.use_lean(holder)
    assert learnt(holder, torch.randn(3, 5, 16), narrow=True)[0].dtype == wanted


def test_gradients_are_those_of_differences():
    x, weight = torch.randn(4, 6, dtype=torch.float64).requires_grad_(), torch.rand(6).double().requires_grad_()
    gate, up = (torch.randn(4, 6, dtype=torch.float64).requires_grad_() for _ in range(2))
    mask = torch.zeros(4, 6).double().masked_fill_(torch.eye(4, 6).bool(), -1e30)
    assert torch.autograd.gradcheck(lambda x, w: lean.RmsNorm.apply(x, w, 0.1, torch.float64), (x, weight), atol=1e-4)
    assert torch.autograd.gradcheck(lean.Gated.apply, (gate, up))
    scores = gate.detach().float().requires_grad_()
    shares = lean.Shares.apply(scores, mask.float(), 0.5)
    (shares * x.detach().float()).sum().backward()
    plain = scores.detach().clone().requires_grad_()
    ((plain * 0.5 + mask.float()).softmax(-1) * x.detach().float()).sum().backward()
    torch.testing.assert_close(scores.grad, plain.grad)


def test_frozen_weights_get_none_and_the_input_its_own():
    holder = norm()
    lean.use_lean(holder)
    holder.requires_grad_(False)
    _, of_x, of_weight = learnt(holder, torch.randn(3, 5, 16))
    assert of_x is not None
    assert of_weight is None


def test_what_another_activation_gates_is_left_alone():
    holder = Holder(mlp=LlamaMLP(hf.transformers.LlamaConfig(**SHAPE, hidden_act="gelu")))
    lean.use_lean(holder)
    assert type(holder.mlp) is LlamaMLP


def test_a_llama_keeps_fewer_bytes_and_loads_as_before():
    torch.manual_seed(0)
    made = hf.from_scratch("llama", Head("next"), 0, vocab_size=50, max_position_embeddings=32, **SHAPE)
    stock = hf.transformers.LlamaForCausalLM(made.config)
    stock.load_state_dict(made.state_dict())
    ids = torch.randint(0, 50, (4, 32))

    def bytes_of(model):
        def once():
            with torch.autocast("cpu", torch.bfloat16):
                model.train().base_model(input_ids=ids)

        return kept_bytes(once, model)

    assert bytes_of(made) < 0.75 * bytes_of(stock)
    torch.testing.assert_close(made.eval()(input_ids=ids, at=torch.zeros(4, 1).long())["logits"][:, 0],
                               stock.eval()(input_ids=ids).logits[:, 0], rtol=1e-4, atol=1e-4)  # fmt: skip


def test_eval_and_export_run_the_librarys_own(monkeypatch):
    monkeypatch.setattr(lean.RmsNorm, "apply", None)
    holder = norm()
    lean.use_lean(holder)
    with torch.no_grad():
        assert holder.input_layernorm(torch.randn(2, 16)).shape == (2, 16)
    assert not lean.learns(torch.randn(2))
