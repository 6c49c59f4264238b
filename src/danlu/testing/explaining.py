"""What explainers promise: their pieces lie in the input, and where the truth is known they tell it."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

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


def _reads_texts(subject: Subject) -> bool:
    return "text" in subject.plugin.wants.get("modality", ("text",))


def _told(one: Explanation) -> tuple[object, ...]:
    return one.number, round(one.value, 6), one.pieces, tuple(round(weight, 4) for weight in one.weights)


@check("explainers")
def check_its_pieces_lie_in_the_input(subject: Subject) -> None:
    """Each piece is what stands at its place, each has a weight, and no two overlap."""
    if not _reads_texts(subject):
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
    if not _reads_texts(subject):
        return
    for text, one in zip(TEXTS, subject.plugin.explain(planted(), list(TEXTS)), strict=True):
        sign = 1 if one.answer["label"] == "positive" else -1
        for piece, weight in zip(one.pieces, one.weights, strict=True):
            true = sign * sum(WORDS[word] for word in piece.text.split())
            require(abs(weight - true) < _NEAR, f"in {text!r} {piece.text.strip()!r} weighs {weight:.3f}, not {true:g}")


@check("explainers")
def check_each_input_is_explained_by_itself(subject: Subject) -> None:
    """What an explanation says depends on no other input, and is the same every time."""
    if not _reads_texts(subject):
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
    if not _reads_texts(subject):
        return
    [one] = subject.plugin.explain(planted(), [" "])
    require(not one.pieces and not one.weights, f"{len(one.pieces)} pieces were found in a text of one space")
    require(bool(one.notes), "there is no note that says why it has no pieces")
