"""Models to put on the disk, and what it takes to change them there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from danlu import bundle
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Backbone
from danlu.core.files import sha256_file
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.predictor import Predictor

LABELS = ("bad", "good", "so so")
TEXTS = ["amber basil", "", "the one that came with it", "z " * 500, "好 坏!", "\ud800 \x00 north"]


@dataclass
class Model:
    backbone: Backbone
    task: TextClassification
    processor: object
    module: nn.Module
    fresh: list[str]

    def answers(self, module: nn.Module | None = None) -> list:
        return Predictor(TorchForm(module or self.module), self.task, self.processor)(TEXTS)

    def save(self, folder: Path, module: nn.Module | None = None, parts: tuple = ()) -> Path:
        whole = {"backbone": self.backbone, "task": self.task, "processor": self.processor}
        bundle.save(folder, **whole, module=module or self.module, parts=parts)
        return folder


def make(folder: Path, seed: int = 0) -> Model:
    backbone = Pretrained(model=str(folder))
    task = TextClassification(text="text", label="label", labels=LABELS)
    processor = backbone.processor(folder)
    torch.manual_seed(seed)
    module, fresh = backbone.start(task.head(), processor)
    return Model(backbone, task, processor, module, fresh)


def shake(module: nn.Module, seed: int = 0) -> nn.Module:
    """Move what is trained, as training would."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.requires_grad:
                weight += 0.3 * torch.randn_like(weight)
    return module


def edit(folder: Path, **changes: object) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def sign(folder: Path) -> None:
    """Write the digests anew, as one who forges a bundle would."""
    names = [path.name for path in folder.iterdir() if path.name != "bundle.json"]
    edit(folder, files={name: sha256_file(folder / name) for name in names})
