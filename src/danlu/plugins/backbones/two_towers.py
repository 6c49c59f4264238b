"""A tower for pictures and one for texts that end in the same space (CLIP; Radford et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from danlu.blocks.pair_processor import PICTURE, TEXT, PairProcessor
from danlu.contracts import Backbone, Head, slot

_FIRST, _MOST = 1 / 0.07, 100.0
"""What similarities are multiplied with at first and at most, as CLIP has it."""


class TwoTowers(Backbone):
    """For pairs of a picture and a text: each is read by a backbone of its own, and both become vectors of length 1.

    Towers are those that answer for a whole input: `vit`, `cnn`, `resnet` for pictures, `bert`, `roberta`, `lstm`, …,
    `pretrained` for texts. With few thousand pairs a pretrained text tower knows more than the pairs can teach.
    """

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("image_text",), "head": ("features",)}
    parts: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "picture": {"modality": "image", "head": "input"},
        "text": {"modality": "text", "head": "input"},
    }
    """What its own backbones meet here, in the place of what the recipe's task gives."""
    processor_class: ClassVar[type[Any]] = PairProcessor

    picture: Backbone = slot({"cnn": "small"})
    """What reads pictures."""
    text: Backbone = slot({"bert": "tiny"})
    """What reads texts."""
    size: int = Field(default=128, ge=2)
    """Numbers of a vector."""
    frozen: bool = False
    """Leave a pretrained text tower's weights as they are, all but those that make its vector (Zhai et al., 2022)."""

    def learn(self, inputs: Iterable[Mapping[str, Any]]) -> PairProcessor:
        texts: list[str] = []

        def pictures() -> Iterator[Any]:
            for x in inputs:
                texts.append(x[TEXT])
                yield x[PICTURE]

        picture: Any = self.picture.learn(pictures())
        folder = self.text.folder()
        text: Any = self.text.processor(folder) if folder else self.text.learn(texts)
        return PairProcessor(picture, text)

    def build(self, head: Head, processor: PairProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        vector = Head("input", self.size)
        own = folder / TEXT if folder and self.text.folder() else self.text.folder()
        picture = self.picture.build(vector, processor.picture, None)
        return _Towers(picture, self.text.build(vector, processor.text, own))

    def start(self, head: Head, processor: PairProcessor) -> tuple[nn.Module, list[str]]:
        vector = Head("input", self.size)
        picture, fresh = self.picture.start(vector, processor.picture)
        text, drawn = self.text.start(vector, processor.text)
        if self.frozen:
            for name, weight in text.named_parameters():
                weight.requires_grad_(name.startswith(tuple(drawn)))
        names = ["scale", *(f"picture.{name}" for name in fresh), *(f"text.{name}" for name in drawn)]
        return _Towers(picture, text), names

    def save(self, folder: Path, module: nn.Module, processor: PairProcessor) -> None:
        towers: Any = module
        for name, tower in ((PICTURE, self.picture), (TEXT, self.text)):
            (folder / name).mkdir(exist_ok=True)
            tower.save(folder / name, getattr(towers, name), getattr(processor, name))

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        return self.text.embeddings(module.text)  # type: ignore[arg-type]


class _Towers(nn.Module):
    """`picture` and `text` [n, size] of length 1, of what is given, and `scale` [n], the same for all."""

    def __init__(self, picture: nn.Module, text: nn.Module) -> None:
        super().__init__()
        self.picture, self.text = picture, text
        self.scale = nn.Parameter(torch.tensor(math.log(_FIRST)))

    def forward(self, pixel_values: Tensor | None = None, **text: Tensor) -> dict[str, Tensor]:
        said = {}
        if pixel_values is not None:
            said["picture"] = functional.normalize(self.picture(pixel_values=pixel_values)["logits"].float(), dim=-1)
        if text:
            said["text"] = functional.normalize(self.text(**text)["logits"].float(), dim=-1)
        some = next(iter(said.values()))
        return {**said, "scale": self.scale.exp().clamp(max=_MOST).expand(len(some))}
