"""Distillation: learn from what a teacher says as well as from the labels (Hinton et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field

from danlu.blocks import inner
from danlu.blocks.divergence import divergence
from danlu.contracts import Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class Distill(Technique):
    """Draws the logits towards those of a trained model, which the step names: `teacher: $big`.

    The loss of an example is (1 - weight) × the task's own + weight × temperature² × the Kullback-Leibler divergence
    between both logits, divided by the temperature. The teacher may be of any form, such as ONNX; it answers the same
    labels and reads inputs in the same way, and is asked at every step.

    `features: {hidden: 1, attention: 1}` teaches what the layers give, too. Where both are transformers, `hidden` is
    the mean squared difference of their hidden states over the tokens that are no padding and the layers of the map;
    those of another width go through a linear map that is learnt with the student and dropped at the end (TinyBERT,
    Jiao et al., 2020). `attention` is how differently their tokens look at each other (MiniLM, Wang et al., 2020), head
    by head, or on average over the heads where their numbers differ. It takes a teacher with a torch form.
    """

    beside: ClassVar[tuple[str, ...]] = ("teacher",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "answer": ("label", "labels"),
        "head": ("input",),
        "learning": ("descent",),
    }

    weight: float = Field(default=0.5, gt=0, le=1)
    """1: the teacher alone; then labels play no part."""
    temperature: float = Field(default=2.0, gt=0, le=100)
    """Above 1, what the teacher finds unlikely counts for more."""
    features: dict[str, Annotated[float, Field(gt=0)]] = Field(default={})
    """`hidden` and `attention`, or further outputs that both have in the same shape, with the weight of what lies
    between them."""
    layers: Literal["uniform", "last"] | tuple[tuple[int, int], ...] = "uniform"
    """Which layer of the student learns from which of the teacher: each from the one at the same height and the
    embeddings from the embeddings, the last from the last, or pairs such as [[1, 3], [2, 6]]."""
    maps: Literal["kl", "mse"] = "kl"
    """How maps of attention are compared: by the Kullback-Leibler divergence, or by the squared difference."""

    @property
    def looks_inside(self) -> bool:
        return bool(self._kinds)

    @property
    def _kinds(self) -> list[str]:
        return [kind for kind in inner.KINDS if kind in self.features]

    def open(self, run: Any) -> None:
        """Listen to the layers of both, and lend the student what makes its hidden states as wide as the teacher's."""
        if not self._kinds:
            return
        ours, theirs = run.inside.layers(self), run.inside.beside("teacher", self._kinds)
        ours.check(self._kinds)
        pairs = {kind: self._pairs(kind, ours.depth, theirs.depth) for kind in self._kinds}
        ours.listen([inner.name(kind, one) for kind, found in pairs.items() for one, _ in found])
        theirs.listen([inner.name(kind, other) for kind, found in pairs.items() for _, other in found])
        if "hidden" in pairs and ours.width != theirs.width:
            run.inside.lend(self, inner.Projections(len(pairs["hidden"]), ours.width, theirs.width, run.seed))

    def _pairs(self, kind: str, ours: int, theirs: int) -> list[tuple[int, int]]:
        if self.layers == "last":
            return [(ours, theirs)]
        if isinstance(self.layers, tuple):
            if not self.layers:
                raise RecipeError("no layer learns", where="techniques.distill.layers", do="layers=uniform")
            return list(self.layers)
        embedded = [(0, 0)] if kind == "hidden" else []
        return [*embedded, *inner.uniform(ours, theirs)]

    def loss(self, loss: Tensor, run: Any) -> Tensor:
        said, taught = run.outputs, run.batch.beside["teacher"]
        apart = divergence(
            said["logits"], taught["logits"], several=run.task.head().several, temperature=self.temperature
        )
        loss = (1 - self.weight) * loss + self.weight * self.temperature**2 * apart
        for name, weight in self.features.items():
            if name in inner.KINDS:
                loss = loss + weight * self._inside(name, run, taught) * run.batch.count
            else:
                loss = loss + weight * self._difference(name, said, taught)
        return loss

    def _inside(self, kind: str, run: Any, taught: Mapping[str, Tensor]) -> Tensor:
        """What lies between features of the layers, on average over their pairs: [n]"""
        ours, theirs = run.inside.heard, run.inside.others["teacher"]
        real, projected = taught.get(inner.MASK), run.inside.lent(self)
        found: list[Tensor] = []
        for place, (one, other) in enumerate(self._pairs(kind, ours.depth, theirs.depth)):
            said, wanted = ours.found[inner.name(kind, one)], taught[inner.name(kind, other)]
            tokens = (said.shape[-2:], wanted.shape[-2:]) if kind == "attention" else (said.shape[1], wanted.shape[1])
            if tokens[0] != tokens[1]:
                what = f"{kind} of the layers {one} and {other} is of {tokens[0]} tokens here, of {tokens[1]} there"
                do = "a teacher and a method without virtual tokens (prefix, prompt), or leave `features` out"
                raise RecipeError(what, where="techniques.distill.features", do=do)
            if kind == "attention":
                found.append(inner.attention_apart(said, wanted, real, by=self.maps))
            else:
                said = said if projected is None else projected(said, place)
                found.append(inner.hidden_apart(said, wanted, real))
        return torch.stack(found).mean(0)

    def _difference(self, name: str, said: Mapping[str, Tensor], taught: Mapping[str, Tensor]) -> Tensor:
        if name not in said or name not in taught or said[name].shape != taught[name].shape:
            both = [f"{n} {tuple(a.shape)}" for n, a in said.items() if n in taught and a.shape == taught[n].shape]
            what = f"there is no output {name!r} of the same shape in both models; there are: {', '.join(both)}"
            do = "hidden or attention for those of the layers, one of those, or leave it out"
            raise RecipeError(what, where="techniques.distill.features", do=do)
        return (said[name].float() - taught[name].float()).square().flatten(1).mean(1)
