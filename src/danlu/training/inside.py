"""What techniques hear of the trained model's layers, and parts of their own that learn with it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

from torch import nn

from danlu.blocks import inner
from danlu.blocks.inner import Layers
from danlu.contracts import Technique
from danlu.core.errors import RecipeError


class Inside:
    """`run.inside`: opened by a technique in its `open`, closed when the steps are over."""

    def __init__(self, run: Any) -> None:
        self._run: Any = weakref.proxy(run)  # in a ring, run and model would stay until the next sweep
        self.heard: Layers | None = None
        """The layers that a technique listens to."""
        self.others: dict[str, Layers] = {}
        """Those of models beside, by the model's name."""
        self._lent: dict[str, str] = {}

    def layers(self, technique: Technique) -> Layers:
        """The trained model's layers. Raises RecipeError for a second listener, and where weights are shared out."""
        run = self._run
        if run.ranks.sharded:
            what = f"{technique.name} looks at layers, of which each rank holds a share"
            raise RecipeError(what, where=f"techniques.{technique.name}", do="leave --shard or `features` out")
        if self.heard:
            what = f"{technique.name} is not the only technique that looks at what the layers give"
            raise RecipeError(what, where="techniques", do="leave one of them out")
        self.heard = Layers(run.model, "the trained model")
        return self.heard

    def beside(self, which: str, kinds: Sequence[str]) -> Layers:
        """The layers of a model beside, whose word on a batch holds from now on what is listened to.

        Raises RecipeError for one that gives no features of these kinds.
        """
        asked = inner.beside(self._run.beside[which], f"the {which}", kinds)
        self._run.beside[which], self.others[which] = asked, asked.layers
        return asked.layers

    def lend(self, technique: Technique, part: nn.Module) -> None:
        """Let a part learn with the model, as if it were its own, until the training is over; see `lent`."""
        run, name = self._run, f"lent_{technique.name}"
        self._lent[technique.name] = name
        run.model.add_module(name, part.to(run.device))
        run.plan_moves()

    def lent(self, technique: Technique) -> Any:
        """The part that a technique lent the model; None: it lent none."""
        name = self._lent.get(technique.name)
        return None if name is None else getattr(self._run.model, name)

    def close(self) -> None:
        """Listen no more."""
        for one in (*self.others.values(), *([self.heard] if self.heard else [])):
            one.close()

    def take_back(self) -> None:
        """The model without what was lent to it."""
        run = self._run
        for name in self._lent.values():
            delattr(run.model, name)
            for turn, weights in run.moved.items():
                run.moved[turn] = {n: w for n, w in weights.items() if not n.startswith(f"{name}.")}
        self._lent = {}
