"""Integrated gradients: how each word's vector moves the answer on its way from nothing (Sundararajan et al., 2017)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from danlu.blocks.dissect import dissect
from danlu.blocks.explained import number_of
from danlu.blocks.tensors import evaluating
from danlu.contracts import Batch
from danlu.core.errors import DanluError, RecipeError
from danlu.explaining import Explainer, Explanation, Piece

_AT_ONCE = 16
_WHOLE = 10**9
_GAP, _LEAST = 0.05, 0.005


class IntegratedGradients(Explainer):
    """The mean gradient of the log-odds along the way from zero vectors to those of the words, times the way.

    The weights of the tokens of a word are added up. They add up to what the words bring together (completeness), but
    for the error of the sum in `steps` terms, which a note tells where it is over 5 %: models that scale vectors by
    their size (`llama`, `modern`) want many steps. Special tokens stay as they are all along. It wants gradients, so
    the form `trained`, and asks the model `steps` times for an input.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "answer": ("label",),
        "learning": ("descent",),
    }

    steps: int = Field(default=32, ge=2)
    """Places on the way at which the gradient is taken."""

    def explain(
        self, predictor: Any, inputs: Sequence[Any], told: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Explanation]:
        try:
            module, backbone = predictor.form.module, getattr(predictor.form, "backbone", None)
        except DanluError as fault:
            do = "explain the form `trained` (--form trained), or take occlusion"
            raise RecipeError(f"this form has no gradients: {fault.what}", where=self.name, do=do) from fault
        tables = backbone.embeddings(module) if backbone else []
        if not tables:
            what = f"{backbone.name if backbone else 'this model'} has no vectors of words that lead to its answer"
            raise RecipeError(what, where=self.name, do="take occlusion")
        found = []
        for k, (x, answer) in enumerate(zip(inputs, predictor(inputs), strict=True)):
            told(k, len(inputs))
            found.append(self._explained(predictor, module, tables[0], x, answer))
        told(len(inputs), len(inputs))
        return found

    def _explained(self, predictor: Any, module: Any, table: Any, x: Any, answer: Any) -> Explanation:
        pieces, note = dissect(x, "text", most=_WHOLE, across=1)
        number = number_of(answer)
        value = number.of(answer)
        if not pieces:
            return Explanation(answer, number.name, value, None, (), (), (note,))
        [example, *others] = predictor.task.examples(predictor.task.row(x, answer), predictor.processor)
        owners = _owners(x, pieces, predictor.processor, example.inputs.get("input_ids"))
        if others or owners is None:
            what = "its inputs are not the tokens of one text or two, so gradients can't be told of words"
            raise RecipeError(what, where=self.name, do="take occlusion")
        words = torch.from_numpy(owners >= 0)
        ways = [*((np.arange(self.steps) + 0.5) / self.steps), 0.0]
        total, base = torch.zeros(len(owners)), 0.0
        with evaluating(module):
            for start in range(0, len(ways), _AT_ONCE):
                some = torch.tensor(ways[start : start + _AT_ONCE], dtype=torch.float32)
                batch = predictor.task.collate([example] * len(some), predictor.processor).map(torch.from_numpy)
                odds, added = _slopes(predictor.task, module, table, batch, some, words)
                inner = some > 0
                total += added[inner].sum(0) / self.steps
                base = float(odds[~inner][0]) if (~inner).any() else base
        weights = np.zeros(len(pieces))
        np.add.at(weights, owners[owners >= 0], total.numpy()[owners >= 0])
        notes = self._notes(weights, value - base, owners)
        return Explanation(answer, number.name, value, base, pieces, tuple(weights.tolist()), notes)

    def _notes(self, weights: Any, whole: float, owners: Any) -> tuple[str, ...]:
        notes, added = [], weights.sum()
        if abs(added - whole) > _GAP * abs(whole) + _LEAST:
            notes.append(f"the weights add up to {added:+.3f} of {whole:+.3f}; take more than {self.steps} steps")
        if unseen := len(weights) - len(set(owners[owners >= 0].tolist())):
            notes.append(f"{unseen} of its words are beyond what the model reads; they weigh 0")
        return tuple(notes)


def _owners(x: Any, pieces: Sequence[Piece], processor: Any, ids: Any) -> Any:
    """The place of the word that each token is of, -1 for special ones; None where tokens can't be traced.

    Of two texts a dict does not say which the model reads first: it is the order that gives the same ids.
    """
    if not hasattr(processor, "stretches") or ids is None:
        return None
    size = len(ids)
    texts = {"": x} if isinstance(x, str) else {name: text for name, text in x.items() if isinstance(text, str)}
    for names in itertools.permutations(texts) if len(texts) <= 2 else ():
        read = texts[names[0]] if len(names) == 1 else tuple(texts[name] for name in names)
        if np.array_equal(processor.inputs(read, size)["input_ids"], ids):
            return _placed(pieces, names, processor.stretches(read, size))
    return None


def _placed(pieces: Sequence[Piece], names: Sequence[str], stretches: Sequence[tuple[int, int, int] | None]) -> Any:
    size = len(stretches)
    owners = np.full(size, -1)
    for k, stretch in enumerate(stretches):
        if stretch is None:
            continue
        which, begin, end = stretch
        for place, piece in enumerate(pieces):
            if piece.field == names[which] and piece.place[0] < max(end, begin + 1) and begin < piece.place[1]:
                owners[k] = place
    return owners


def _slopes(task: Any, module: Any, table: Any, batch: Batch, ways: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
    """The log-odds [ways] with the words' vectors that far on their way, and [ways, tokens] gradient times vector."""
    with _scaled(table, ways, words) as seen:
        losses = task.loss(task.forward(module, batch), batch)
        odds = -losses - torch.log(-torch.expm1(-losses.clamp(min=1e-7)))
    [(whole, scaled)] = seen
    [slope] = torch.autograd.grad(odds.sum(), [scaled])
    return odds.detach(), ((slope * whole).sum(-1) * words).float()


@contextmanager
def _scaled(table: Any, ways: Tensor, words: Tensor) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Let a table of vectors give those of words scaled by `ways`, a row of the batch each; what it gave, and gives."""
    seen: list[tuple[Tensor, Tensor]] = []

    def scale(_: Any, __: Any, vectors: Tensor) -> Tensor:
        whole = vectors.detach()
        share = torch.where(words, ways.unsqueeze(1), torch.ones(())).unsqueeze(-1)
        scaled = (whole * share.to(whole)).requires_grad_()
        seen.append((whole, scaled))
        return scaled

    handle = table.register_forward_hook(scale)
    try:
        with torch.enable_grad():
            yield seen
    finally:
        handle.remove()
