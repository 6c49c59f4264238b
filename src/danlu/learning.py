"""The promises of what of a model is trained; to be imported from `contracts.py`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from danlu.core.settings import Plugin
from danlu.values import Arrays, Example, Head

if TYPE_CHECKING:
    from torch import nn

    from danlu.contracts import Technique


@dataclass(frozen=True)
class Beginning:
    """What is known before the first step: the shape of an answer with its labels, the processor, the examples."""

    head: Head
    processor: Any
    train: Sequence[Example]
    validation: Sequence[Example] = ()


class Method(Plugin):
    """What of a model is trained, and how its structure changes for that. It never knows the task."""

    family: ClassVar[str] = "methods"
    tolerance: ClassVar[float] = 0.0
    """How far merged answers may lie from unmerged ones (`Task.distance`)."""
    lr: ClassVar[float] = 5e-5
    """The highest learning rate on pretrained weights, where a recipe names none."""
    steps: ClassVar[int | None] = None
    """How many steps, where a recipe names neither steps nor epochs."""

    nothing_when: ClassVar[Mapping[str, Any] | None] = None
    """The options' values with which it is meant to train nothing, none: always; None: it trains whatever they are."""

    gives_when: ClassVar[tuple[tuple[str, Any, str, str], ...]] = ()
    """Facts it gives with an option's value alone: `(option, value, fact, what it gives)`."""
    moments: ClassVar[tuple[str, ...]] = ()
    """The moments that its own techniques work at."""
    whole_with: ClassVar[tuple[str, ...]] = ()
    """Options with which, once set, it holds weights in a form that processes can't hold shares of."""

    @property
    def trains(self) -> bool:
        """False for one that is meant to train nothing: `begin` says all there is to say."""
        when = self.nothing_when
        return when is None or any(getattr(self, option) != value for option, value in when.items())

    def told(self, head: Head, processor: Any) -> Method:
        """This method, told the labels and how inputs are cut, before there is a model."""
        return self

    def head(self, head: Head) -> Head:
        """The shape of an answer that the backbone is built with, for a task whose own is `head`."""
        return head

    def resolve(self, fresh: list[str]) -> Method:
        """This method, told which weights of the model are still random."""
        return self

    def wrap(self, model: nn.Module) -> nn.Module:
        """Change structure and `requires_grad` only; replayed on load. Must not read weights."""
        return model

    def begin(self, model: nn.Module, given: Beginning) -> None:
        """Give weights of its own their first values, before the first step; not replayed on load."""

    def restore(self, model: nn.Module, again: Callable[[], nn.Module]) -> None:
        """Give back, after the last step, what `begin` took from the frozen weights.

        `again()` is the model as it was before it was wrapped, its random weights drawn anew.
        """

    def own(self, trained: Sequence[str], fresh: Collection[str]) -> list[str]:
        """Those of the trained weights' names that it is there to train; `fresh` ones, such as the head's, always move.

        A training in which others moved and none of these did is refused.
        """
        return [name for name in trained if name not in fresh]

    def techniques(self) -> tuple[Technique, ...]:
        """What it does at the moments of a step, before the techniques of the recipe."""
        return ()

    def merge(self, model: nn.Module) -> nn.Module:
        """The model without the method's own parts, giving the same answers within `tolerance`."""
        return model

    def changes_structure(self) -> bool:
        """Whether `wrap` changes the set of weight names, so that it must be replayed on load."""
        return type(self).merge is not Method.merge

    def without(self, model: nn.Module) -> Callable[..., Arrays] | None:
        """The model as it is now, frozen and in eval mode; None: the caller keeps a frozen copy."""
        return None


def head_under(head: Head, parts: Sequence[Any]) -> Head:
    """The shape that a backbone is built with for a task's head, where these parts are wrapped around it."""
    for part in parts:
        head = part.head(head) if isinstance(part, Method) else head
    return head
