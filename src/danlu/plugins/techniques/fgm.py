"""Adversarial training by the fast gradient method (Goodfellow et al., 2015; on texts: Miyato et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from danlu.blocks.perturbing import unit
from danlu.contracts import Technique


class FGM(Technique):
    """Learns every batch twice: as it is, and with its vectors moved a little to where the loss grows most.

    The vectors of an example's tokens, as the embeddings give them, are moved together by `size`; both gradients are
    added. A step takes about twice the time. It works with methods that freeze the embeddings, too. The loss that is
    shown is that of the batch as it is.
    """

    gives: ClassVar[Mapping[str, str]] = {"adversary": "fgm"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "learning": ("descent",),
        "adversary": ("fgm",),
    }

    version: ClassVar[int] = 2

    size: float = Field(default=0.2, gt=0, le=100)
    """How far, as the norm over all tokens of an example. Where the loss stays at that of guessing, it is too far."""

    def start(self, run: Any) -> None:
        run.open_embeddings(self, gradients=True)

    def after_backward(self, run: Any) -> None:
        run.again([self.size * unit(vectors.grad) for vectors in run.vectors])
