"""What the methods share that know labels by their descriptions: a head whose rows are vectors of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks import sentence
from danlu.blocks.labels import TARGET
from danlu.contracts import Beginning, Example, Method
from danlu.core.errors import RecipeError


class Described(Method):
    """Derive from it, and give the head its first values with `compare`."""

    gives: ClassVar[Mapping[str, str]] = {"parts": "stay"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "learning": ("descent",), "modality": ("text",), "head": ("input",), "answer": ("label",),
        "layers": ("attention",),
    }  # fmt: skip

    descriptions: Mapping[str, str | tuple[str, ...]] = Field(default_factory=dict)
    """What a text of each label might say, one sentence or several; by default the label itself."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """Sentence vectors and a new head in place of the model's own. Raises RecipeError where it has no body."""
        return sentence.reading(model)

    def changes_structure(self) -> bool:
        return True

    def texts(self, labels: Sequence[str]) -> list[tuple[str, ...]]:
        """The descriptions of each label. Raises RecipeError for a label without one, and for one that is not there."""
        where = f"method.{self.name}.descriptions"
        if strange := sorted(self.descriptions.keys() - set(labels)):
            what = f"{strange[0]!r} is described, and is no label; the labels are: {', '.join(labels[:20])}"
            raise RecipeError(what, where=where, do="name the labels as the data set does")
        given = {label: self.descriptions.get(label, () if self.descriptions else label) for label in labels}
        found = {label: (said,) if isinstance(said, str) else tuple(said) for label, said in given.items()}
        for label, said in found.items():
            if not any(text.strip() for text in said):
                what = f"the label {label!r} has no description, and others have"
                raise RecipeError(what, where=where, do=f"{where}.{label}='what such a text might say'")
        return list(found.values())

    def compare(self, model: sentence.Sentences, given: Beginning) -> Tensor:
        """The mean sentence vector of each label's descriptions, of length 1: [labels, width]."""
        said = self.texts(given.head.labels)
        examples = [Example(given.processor.inputs(text)) for texts in said for text in texts]
        whole = sentence.vectors_of(model, examples, given.processor)
        vectors = torch.split(whole, [len(texts) for texts in said])
        return nn.functional.normalize(torch.stack([one.mean(0) for one in vectors]), dim=-1)


def fill(head: nn.Linear, rows: Tensor, bias: Tensor | None = None) -> None:
    """Give a head its weights [labels, width] and its biases [labels] (zeros unless given)."""
    with torch.no_grad():
        head.weight.copy_(rows)
        head.bias.copy_(torch.zeros_like(head.bias) if bias is None else bias)


def true_labels(examples: Sequence[Example]) -> Tensor:
    """The places of the true labels of examples [n]."""
    return torch.tensor([int(example.targets[TARGET]) for example in examples], dtype=torch.long)
