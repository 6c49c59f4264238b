"""What explainers promise: their pieces lie in the input, and where the truth is known they tell it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from danlu.blocks.pixels import ImageProcessor
from danlu.blocks.special_tokens import BERT
from danlu.blocks.tokens import TextProcessor
from danlu.blocks.torch_form import TorchForm
from danlu.contracts import Explanation
from danlu.core import plugin
from danlu.predictor import Predictor
from danlu.testing.reader import Reader
from danlu.testing.subject import Subject, check, require

WORDS = {"good": 3.0, "bad": -2.0, "film": 0.0, "the": 0.0}
"""What each word adds to the log-odds of `positive` in the planted model."""
TEXTS = ("the good film", "bad bad film the good", "film", "the bad film")
_NEAR = 0.01


def planted() -> Predictor:
    """A linear model of single words, whose answers are known: the sum of `WORDS`."""
    processor: TextProcessor = plugin.load("tokenizers", "wordpiece")().learn([*TEXTS] * 4, BERT, 64)
    task = plugin.load("tasks", "text_classification")(text="text", label="label", labels=("negative", "positive"))
    module = _Sum(processor)
    return Predictor(TorchForm(module.eval(), Reader()), task, processor)


class _Sum(nn.Module):
    def __init__(self, processor: TextProcessor) -> None:
        super().__init__()
        self.words = nn.Embedding(processor.size, 2)
        table = torch.zeros(processor.size, 2)
        for word, weight in WORDS.items():
            [place] = processor.ids(word)
            table[place] = torch.tensor([-weight / 2, weight / 2])
        self.words.weight = nn.Parameter(table)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> object:
        return {"logits": (self.words(input_ids) * attention_mask[..., None]).sum(1)}


class _Patch(nn.Module):
    """Says how bright a picture is in the top left quarter, and looks nowhere else."""

    def forward(self, pixel_values: Tensor) -> object:
        bright = pixel_values[:, 0, :8, :8].mean((1, 2))
        return {"logits": torch.stack([-bright, bright], -1)}


def planted_patch() -> tuple[Predictor, np.ndarray[Any, np.dtype[np.uint8]]]:
    """A model that looks at the top left quarter of a picture of 16 × 16 alone, and a picture that is bright there."""
    task = plugin.load("tasks", "image_classification")(image="image", label="label", labels=("dark", "bright"))
    picture = np.random.default_rng(0).integers(0, 99, (16, 16), dtype=np.uint8)
    picture[:8, :8] += 150
    return Predictor(TorchForm(_Patch().eval()), task, ImageProcessor(16, 16, (0.5,), (0.25,))), picture


def _reads(subject: Subject, modality: str) -> bool:
    return modality in subject.plugin.wants.get("modality", (modality,))


def _told(one: Explanation) -> tuple[object, ...]:
    return one.number, round(one.value, 6), one.pieces, tuple(round(weight, 4) for weight in one.weights)


@check("explainers")
def check_its_pieces_lie_in_the_input(subject: Subject) -> None:
    """Each piece is what stands at its place, each has a weight, and no two overlap."""
    if not _reads(subject, "text"):
        return
    for text, one in zip(TEXTS, subject.plugin.explain(planted(), list(TEXTS)), strict=True):
        require(bool(one.pieces), f"{text!r} has no piece")
        require(len(one.pieces) == len(one.weights), f"{len(one.pieces)} pieces have {len(one.weights)} weights")
        for piece in one.pieces:
            begin, end = piece.place
            require(text[begin:end] == piece.text, f"at {piece.place} stands {text[begin:end]!r}, not {piece.text!r}")
        ends = sorted(piece.place for piece in one.pieces)
        require(all(a[1] <= b[0] for a, b in itertools.pairwise(ends)), f"pieces of {text!r} overlap")


@check("explainers")
def check_a_linear_model_is_explained_exactly(subject: Subject) -> None:
    """Where each word adds a number of its own, that number is its weight, with its sign for the answer given."""
    if not _reads(subject, "text"):
        return
    for text, one in zip(TEXTS, subject.plugin.explain(planted(), list(TEXTS)), strict=True):
        sign = 1 if one.answer["label"] == "positive" else -1
        for piece, weight in zip(one.pieces, one.weights, strict=True):
            true = sign * sum(WORDS[word] for word in piece.text.split())
            require(abs(weight - true) < _NEAR, f"in {text!r} {piece.text.strip()!r} weighs {weight:.3f}, not {true:g}")


@check("explainers")
def check_each_input_is_explained_by_itself(subject: Subject) -> None:
    """What an explanation says depends on no other input, and is the same every time."""
    if not _reads(subject, "text"):
        return
    predictor = planted()
    together = [_told(one) for one in subject.plugin.explain(predictor, list(TEXTS))]
    alone = [_told(subject.plugin.explain(predictor, [text])[0]) for text in reversed(TEXTS)]
    require(together == alone[::-1], "an input explained alone has another explanation than among others")
    again = [_told(one) for one in subject.plugin.explain(predictor, list(TEXTS))]
    require(together == again, "explained twice, an input has two explanations")


@check("explainers")
def check_nothing_is_explained_as_nothing(subject: Subject) -> None:
    """An input that has nothing to take away has no pieces, and a note that says why."""
    if not _reads(subject, "text"):
        return
    [one] = subject.plugin.explain(planted(), [" "])
    require(not one.pieces and not one.weights, f"{len(one.pieces)} pieces were found in a text of one space")
    require(bool(one.notes), "there is no note that says why it has no pieces")


@check("explainers")
def check_what_a_picture_model_looks_at_is_found(subject: Subject) -> None:
    """Pieces where the model looks add up to most of the weight, and one where it does not look weighs nothing."""
    if not _reads(subject, "image"):
        return
    predictor, picture = planted_patch()
    [one] = subject.plugin.explain(predictor, [picture])
    inside = [weight for piece, weight in zip(one.pieces, one.weights, strict=True) if max(piece.place[2:]) <= 8]
    outside = [weight for piece, weight in zip(one.pieces, one.weights, strict=True) if min(piece.place[:2]) >= 8]
    require(sum(inside) > 1, f"where the model looks the weights add up to {sum(inside):.3f}")
    require(max(map(abs, outside)) < _NEAR, f"where it does not look a piece weighs {max(map(abs, outside)):.3f}")
