"""LoRA trains little, merges exactly, and leaves a reference that does not move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu.blocks.tensors import to_torch
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Head
from danlu.core.errors import RecipeError
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.methods.full import Full
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor

TASK = TextClassification(text="text", label="label", labels=("a", "b"))


@pytest.fixture
def started(tiny_bert: Path):
    backbone = Pretrained(model=str(tiny_bert))
    processor = backbone.processor(tiny_bert)
    torch.manual_seed(0)
    return (*backbone.start(TASK.head(), processor), processor)


def train(module: nn.Module, processor, steps: int = 5) -> nn.Module:
    examples = [TASK.examples(row, processor)[0] for row in TASK.sample(16)]
    batch = to_torch(TASK.collate(examples, processor))
    optimizer = torch.optim.AdamW([weight for weight in module.parameters() if weight.requires_grad], lr=0.01)
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        TASK.loss(TASK.forward(module, batch), batch).sum().backward()
        optimizer.step()
    return module


def answers(module: nn.Module, processor) -> list:
    return Predictor(TorchForm(module), TASK, processor)([row["text"] for row in TASK.sample(8)])


def far(first: list, second: list) -> float:
    return max(TASK.distance(a, b) for a, b in zip(first, second, strict=True))


def test_it_trains_the_adapters_and_what_was_random_and_nothing_else(started) -> None:
    module, fresh, processor = started
    before = {name: weight.clone() for name, weight in module.named_parameters()}
    method = LoRA(rank=2).resolve(fresh)
    assert set(method.also) == set(fresh)
    model = train(method.wrap(module), processor)
    moved = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert {name for name in moved if ".lora_" not in name} == set(fresh)
    layers = {name.partition(".lora_")[0] for name in moved if ".lora_" in name}
    assert len(layers) == 2 * 6
    for name, weight in model.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in before:
            assert torch.equal(weight, before[plain]) == (name not in moved)


def test_before_training_it_changes_no_answer(started) -> None:
    module, fresh, processor = started
    before = answers(module, processor)
    assert answers(LoRA().resolve(fresh).wrap(module), processor) == before


def test_merged_it_answers_the_same_and_has_its_old_names(started) -> None:
    module, fresh, processor = started
    names = module.state_dict().keys()
    method = LoRA(rank=4, dropout=0.1).resolve(fresh)
    start = answers(module, processor)
    model = train(method.wrap(module), processor)
    trained = answers(model, processor)
    merged = method.merge(model)
    assert far(trained, start) > 0.05
    assert far(answers(merged, processor), trained) <= method.tolerance
    assert merged.state_dict().keys() == names
    assert answers(model, processor) == trained
    assert not hasattr(merged, "peft_config")


def test_the_reference_says_the_same_at_the_end_as_at_the_start(started) -> None:
    module, fresh, processor = started
    method = LoRA(rank=2, dropout=0.5).resolve(fresh)
    model = train(method.wrap(module), processor, steps=2)
    batch = to_torch(TASK.collate([TASK.examples(row, processor)[0] for row in TASK.sample(8)], processor))
    expected = answers(model, processor)
    reference = method.without(model)
    model.train()
    first = TASK.forward(reference, batch)["logits"]
    assert model.training
    assert not first.requires_grad
    train(model, processor)
    last = TASK.forward(reference, batch)["logits"]
    assert torch.equal(first, last)
    assert far(answers(model, processor), expected) > 0.01


def test_the_reference_is_the_model_without_adapters(started) -> None:
    module, fresh, processor = started
    method = LoRA(rank=2).resolve(fresh)
    before = TorchForm(module).forward({k: v[None] for k, v in processor.inputs("amber basil").items()})["logits"]
    model = method.wrap(module)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if ".lora_" in name:
                weight.normal_()
    inputs = {k: torch.from_numpy(v[None]) for k, v in processor.inputs("amber basil").items()}
    assert torch.equal(method.without(model)(**inputs)["logits"], torch.from_numpy(before))


def test_chosen_targets(started) -> None:
    module, fresh, _ = started
    model = LoRA(targets=("query", "attention.output.dense")).resolve(fresh).wrap(module)
    layers = {name.partition(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    ends = ("self.query", "output.dense")
    assert layers == {f"bert.encoder.layer.{k}.attention.{end}" for k in (0, 1) for end in ends}


def test_a_target_that_is_no_layer(started) -> None:
    module, fresh, _ = started
    with pytest.raises(
        RecipeError, match=r"'q_proj' is no linear layer of this model; there are: dense, key, query, value"
    ):
        LoRA(targets=("query", "q_proj")).resolve(fresh).wrap(module)


def test_a_model_that_was_never_trained_has_nothing_to_adapt() -> None:
    backbone = Cnn(size="tiny")
    module, fresh = backbone.start(Head("input", 2), backbone.learn([np.zeros((8, 8), np.uint8)]))
    with pytest.raises(RecipeError, match="there is nothing to adapt"):
        LoRA().resolve(fresh).wrap(module)


def test_full_trains_everything_and_leaves_no_trace(started) -> None:
    module, fresh, _ = started
    method = Full().resolve(fresh)
    assert method.wrap(module) is module
    assert method.merge(module) is module
    assert not method.changes_structure()
    assert LoRA().changes_structure()
    assert all(weight.requires_grad for weight in module.parameters())


@pytest.mark.demo
def test_minilm_trains_between_one_and_two_percent() -> None:
    backbone = Pretrained()
    module, fresh = backbone.start(TASK.head(), backbone.processor(backbone.folder()))
    model = LoRA().resolve(fresh).wrap(module)
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert 0.01 < trained / sum(weight.numel() for weight in model.parameters()) < 0.02
