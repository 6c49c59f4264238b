"""Several models that answer as one, by the mean of their probabilities or a regression over them (Wolpert, 1992)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from danlu.blocks.ensembles import Processors
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Backbone, Head
from danlu.core.errors import RecipeError


class Ensemble(Backbone):
    """What the stage `ensemble` makes of trained models. Named here, its members are trained together, from the start.

    It is a model like any other: exported, it is one graph, and compressed, all its members are.
    """

    main: ClassVar[str] = "members"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "other"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input",),
        "answer": ("label", "labels"),
    }
    processor_class: ClassVar[type[Any]] = Processors

    members: tuple[Backbone, ...] = Field(min_length=2)
    """The models it is made of."""
    combine: Literal["mean", "stacking"] = "mean"
    """`mean` of the members' probabilities, or `stacking`: a linear layer that reads the probabilities of all."""

    def learn(self, inputs: Iterable[Any]) -> Processors:
        texts = list(inputs)
        own = [(one, one.processor(folder) if (folder := one.folder()) else one.learn(texts)) for one in self.members]
        return Processors.of(own, texts)

    def build(self, head: Head, processor: Processors, folder: Path | None) -> nn.Module:
        members = [
            one.build(head, processor.of_member(k), _inside(folder, k) if folder else None)
            for k, one in enumerate(self.members)
        ]
        return self.joined(members, processor, head)

    def joined(self, members: Sequence[nn.Module], processor: Processors, head: Head) -> Members:
        """Modules of the members as one; what stacks them is drawn from torch's global generator."""
        return Members(members, processor.read, head, stacked=self.combine == "stacking")

    def start(self, head: Head, processor: Processors) -> tuple[nn.Module, list[str]]:
        """Raises RecipeError for a member that counts, since all descend together here."""
        started = [one.start(head, processor.of_member(k)) for k, one in enumerate(self.members)]
        for one, (module, _) in zip(self.members, started, strict=True):
            if isinstance(module, SelfTaught):
                what = f"{one.name} counts instead of descending, so it can't be trained together with others"
                raise RecipeError(what, where="members", do="train each in a step of its own, and add {do: ensemble}")
        fresh = [f"members.{k}.{name}" for k, (_, names) in enumerate(started) for name in names]
        module = self.joined([module for module, _ in started], processor, head)
        return module, [*fresh, *(["stack."] if module.stack is not None else [])]

    def save(self, folder: Path, module: nn.Module, processor: Processors) -> None:
        assert isinstance(module, Members)
        processor.save(folder)
        for k, (one, member) in enumerate(zip(self.members, module.members, strict=True)):
            _inside(folder, k).mkdir()
            one.save(_inside(folder, k), member, processor.of_member(k))

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        assert isinstance(module, Members)
        return [
            table for one, member in zip(self.members, module.members, strict=True) for table in one.embeddings(member)
        ]


class Members(nn.Module):
    """Each member is asked with the arrays of its processor, `<name>_<k>`; they answer with one `logits` [n, labels].

    The softmax of it (of labels that hold each by itself, the sigmoid) is the mean of the members', to rounding.
    """

    def __init__(self, members: Sequence[nn.Module], read: Sequence[int], head: Head, *, stacked: bool) -> None:
        super().__init__()
        self.members, self.read, self.several = nn.ModuleList(members), tuple(read), head.several
        self.stack = nn.Linear(len(members) * head.size, head.size) if stacked else None

    def forward(self, **arrays: Tensor) -> dict[str, Tensor]:
        logits = self.each(**arrays)
        if self.stack is not None:
            return {"logits": self.stack(self.probabilities(logits).flatten(1))}
        if self.several:
            sigmoid = nn.functional.logsigmoid
            return {"logits": sigmoid(logits).logsumexp(1) - sigmoid(-logits).logsumexp(1)}
        return {"logits": logits.log_softmax(-1).logsumexp(1)}

    def each(self, **arrays: Tensor) -> Tensor:
        """The logits [n, members, labels] of every member."""
        own: dict[int, dict[str, Tensor]] = {}
        for name, array in arrays.items():
            plain, _, place = name.rpartition("_")
            own.setdefault(int(place), {})[plain] = array
        said = [member(**own[place])["logits"] for member, place in zip(self.members, self.read, strict=True)]
        return torch.stack(said, 1).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.sigmoid() if self.several else logits.softmax(-1)


def _inside(folder: Path, k: int) -> Path:
    return folder / f"member{k}"
