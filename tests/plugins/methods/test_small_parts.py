"""Methods that train a small part: what moves is theirs, the rest stays, and every form answers alike."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu.blocks import hf
from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Head, Method
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.adapter import Adapter
from danlu.plugins.methods.bitfit import BitFit
from danlu.plugins.methods.dora import DoRA
from danlu.plugins.methods.ia3 import IA3
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.methods.p_tuning import PTuning
from danlu.plugins.methods.prefix import Prefix
from danlu.plugins.methods.prompt import Prompt
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor

TASK = TextClassification(text="text", label="label", labels=("a", "b"))
SMALL = {"prompt": {"tokens": 3}, "p_tuning": {"tokens": 3, "inner": 16}, "prefix": {"tokens": 4}}
METHODS = [
    Adapter(size=4),
    BitFit(),
    DoRA(rank=2),
    IA3(),
    Prefix(tokens=4),
    Prompt(tokens=3),
    PTuning(tokens=3, inner=16),
]
STAYING = [method for method in METHODS if method.changes_structure() and type(method).merge is Method.merge]


def conforming(folder):
    return SMALL


def named(method: Method) -> str:
    return method.name


@pytest.fixture
def started(tiny_bert: Path):
    backbone = Pretrained(model=str(tiny_bert))
    processor = backbone.processor(tiny_bert)
    torch.manual_seed(0)
    return (*backbone.start(TASK.head(), processor), processor)


def train(module: nn.Module, processor, steps: int = 8) -> nn.Module:
    examples = [TASK.examples(row, processor)[0] for row in TASK.sample(16)]
    batch = to_torch(TASK.collate(examples, processor))
    optimizer = torch.optim.AdamW([weight for weight in module.parameters() if weight.requires_grad], lr=0.02)
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        TASK.loss(TASK.forward(module, batch), batch).sum().backward()
        optimizer.step()
    return module.eval()


def answers(form, processor, texts: list[str] | None = None) -> list:
    texts = texts or [row["text"] for row in TASK.sample(8)]
    return Predictor(TorchForm(form) if isinstance(form, nn.Module) else form, TASK, processor)(texts)


def far(first: list, second: list) -> float:
    return max(TASK.distance(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("method", METHODS, ids=named)
def test_what_is_not_its_own_stays(started, method) -> None:
    module, fresh, processor = started
    before = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    method = method.resolve(fresh)
    model = train(method.wrap(module), processor)
    changed = []
    for name, weight in model.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in before and not torch.equal(weight, before[plain]):
            changed.append(plain)
    own = {name for name in before if name.endswith("bias")} if method.name == "bitfit" else set()
    assert set(changed) <= own | set(fresh)
    parts = [n for n, w in model.named_parameters() if w.requires_grad and n not in fresh]
    assert parts
    with torch.no_grad():
        there = answers(model, processor)
        for name, weight in model.named_parameters():
            if name in parts:
                weight.zero_()
    assert far(answers(model, processor), there) > 1e-4, "its part says nothing"


@pytest.mark.parametrize("method", [Adapter(size=4), DoRA(rank=2), IA3()], ids=named)
def test_before_training_it_changes_no_answer(started, method) -> None:
    module, fresh, processor = started
    before = answers(module, processor)
    assert far(answers(method.resolve(fresh).wrap(module), processor), before) < 1e-5


@pytest.mark.parametrize("method", STAYING, ids=named)
def test_exported_it_answers_the_same(started, method, tmp_path) -> None:
    module, fresh, processor = started
    model = train(method.resolve(fresh).wrap(module), processor)
    texts = ["amber basil", "cedar", "amber basil cedar amber basil cedar"]
    predictor = Predictor(TorchForm(model), TASK, processor)
    with predictor.listen() as calls:
        wanted = predictor(texts)
    Onnx().export(model, list(calls), tmp_path)
    assert far(answers(Onnx().load(tmp_path, lambda: None), processor, texts), wanted) < 1e-4


def test_where_adapters_stand(started) -> None:
    module, fresh, _ = started
    model = Adapter(size=4, style="houlsby").resolve(fresh).wrap(module)
    places = {name.partition(".adapter.")[0] for name, _ in model.named_parameters() if ".adapter." in name}
    layers = [f"bert.encoder.layer.{k}" for k in (0, 1)]
    assert places == {f"{layer}.{end}" for layer in layers for end in ("output.dense", "attention.output.dense")}


def test_pfeiffer_adapters_stand_after_the_feed_forward_layer_alone(started) -> None:
    module, fresh, _ = started
    model = Adapter(size=4).resolve(fresh).wrap(module)
    places = {name.partition(".adapter.")[0] for name, _ in model.named_parameters() if ".adapter." in name}
    assert places == {f"bert.encoder.layer.{k}.output.dense" for k in (0, 1)}


def test_ia3_scales_keys_values_and_what_the_feed_forward_layer_is_given(started) -> None:
    module, fresh, _ = started
    model = IA3().resolve(fresh).wrap(module)
    found = {n.partition(".ia3_l")[0]: tuple(w.shape) for n, w in model.named_parameters() if ".ia3_l" in n}
    for k in (0, 1):
        layer = f"bert.encoder.layer.{k}"
        assert found.pop(f"{layer}.attention.self.key") == (32, 1)
        assert found.pop(f"{layer}.attention.self.value") == (32, 1)
        assert found.pop(f"{layer}.output.dense") == (1, 64)
    assert not found


@pytest.mark.parametrize("kind", ["gpt2", "llama", "roberta", "modernbert"])
@pytest.mark.parametrize(
    "method", [Adapter(size=4), Prefix(tokens=4), Prompt(tokens=3), LoRA(rank=2), IA3()], ids=named
)
def test_other_families(kind, method) -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    shape = {"n_embd": 32, "n_layer": 2, "n_head": 2} if kind == "gpt2" else shape
    ends = {"bos_token_id": 1, "eos_token_id": 2} if kind in ("gpt2", "llama", "modernbert") else {}
    ends |= {"cls_token_id": 1, "sep_token_id": 2, "pad_token_id": 0} if kind == "modernbert" else {}
    torch.manual_seed(0)
    module = hf.from_scratch(kind, Head("input", 2), 0, vocab_size=40, **shape, **ends)
    heads = tuple(name for name, _ in module.named_parameters() if name.startswith(("score", "classifier", "head")))
    model = method.resolve(list(heads)).wrap(module).eval()
    ids = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 2, 0, 0]])
    said = model(input_ids=ids, attention_mask=(ids > 0).long())["logits"]
    assert said.shape == (2, 2)
    alone = model(input_ids=ids[1:, :3], attention_mask=torch.ones(1, 3, dtype=torch.long))["logits"]
    assert torch.allclose(said[1:], alone, atol=1e-5), "what is padded changes the answer"
    said.sum().backward()
    idle = [n for n, w in model.named_parameters() if w.requires_grad and w.grad is None]
    assert not idle


def test_a_text_of_all_positions_loses_its_end_to_the_prompt(started) -> None:
    module, fresh, _ = started
    most = module.config.max_position_embeddings
    model = Prompt(tokens=3).resolve(fresh).wrap(module).eval()
    ids = torch.randint(5, 30, (1, most))
    mask = torch.ones_like(ids)
    said = model(input_ids=ids, attention_mask=mask, token_type_ids=torch.zeros_like(ids))["logits"]
    short = ids[:, : most - 3]
    cut = model(input_ids=short, attention_mask=mask[:, : most - 3], token_type_ids=torch.zeros_like(short))["logits"]
    assert torch.allclose(said, cut)


def test_more_virtual_tokens_than_positions(started) -> None:
    module, fresh, _ = started
    with pytest.raises(RecipeError, match="leave no room among the 64 positions"):
        Prompt(tokens=64).resolve(fresh).wrap(module)


def test_a_model_without_biases() -> None:
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 2}
    module = hf.from_scratch("llama", Head("input", 2), 0, vocab_size=40, **shape)
    with pytest.raises(RecipeError, match="the model has no bias"):
        BitFit().resolve(["score.weight"]).wrap(module)


def test_a_copy_of_a_model_has_a_prompt_of_its_own(started) -> None:
    module, fresh, processor = started
    model = Prompt(tokens=3).resolve(fresh).wrap(module).eval()
    twin = copy.deepcopy(model)
    before = answers(twin, processor)
    with torch.no_grad():
        model.bert.prompt.vectors.normal_()
    assert answers(twin, processor) == before
    assert np.isfinite(far(answers(model, processor), before))
    assert far(answers(model, processor), before) > 0
