"""The vectors that a model's embeddings give for ids, for techniques that look at them or change them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from danlu.contracts import Batch


class Embedded:
    """Hears the embeddings in the passes of a training, and in no other pass of the same modules.

    `vectors` are those of the latest pass, a tensor a call, with their gradients where these were asked for.
    """

    def __init__(self) -> None:
        self.vectors: list[Tensor] = []
        self._handles: list[RemovableHandle] = []
        self._gradients = False
        self._batch: Batch | None = None
        self._added: Sequence[Tensor] = ()

    def open(self, modules: Sequence[nn.Module], *, gradients: bool) -> None:
        """Listen to these modules from now on; with `gradients` vectors have one even where no weight needs it."""
        self._gradients |= gradients
        if not self._handles:
            self._handles = [module.register_forward_hook(self._hear) for module in modules]

    def close(self) -> None:
        """Leave the modules as they were."""
        for handle in self._handles:
            handle.remove()
        self._handles, self.vectors = [], []

    @contextmanager
    def passing(self, batch: Batch, added: Sequence[Tensor]) -> Iterator[None]:
        """A pass over a batch: its `embed` is applied to the vectors, then `added` is added, call by call."""
        self._batch, self._added, self.vectors = batch, added, []
        try:
            yield
        finally:
            self._batch = None

    def _hear(self, module: nn.Module, args: Any, vectors: Tensor) -> Tensor | None:
        if self._batch is None:
            return None
        if self._batch.embed is not None:
            vectors = self._batch.embed(vectors)
        if self._gradients:
            vectors = vectors if vectors.requires_grad else vectors.detach().requires_grad_()
            vectors.retain_grad()
        place = len(self.vectors)
        self.vectors.append(vectors)
        return vectors + self._added[place] if self._added else vectors
