"""SpecAugment: hide stretches of time and bands of frequency (Park et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field

from danlu.contracts import Batch, Technique
from danlu.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor


class SpecAugment(Technique):
    """Sets a few stretches of frames and a few bands of every spectrogram to zero, others at every step.

    An input array of numbers with three axes [n, frames, bands] is a spectrogram; zero should be its mean, as in a
    normalised log-mel spectrogram. The width of each is drawn evenly from 0 to the most. Time is not warped: the paper
    finds that it helps least. Other arrays stay.
    """

    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"learning": ("descent",)}

    bands: int = Field(default=2, ge=0, le=20)
    """How many bands are hidden."""
    widest_band: int = Field(default=27, ge=1)
    """The most rows of frequency in a band."""
    stretches: int = Field(default=2, ge=0, le=100)
    """How many stretches of time are hidden."""
    longest: int = Field(default=100, ge=1)
    """The most frames in a stretch."""
    most: float = Field(default=1.0, gt=0, le=1)
    """The most of a spectrogram's frames, and of its bands, that one stretch or band may hide, as a share."""
    layout: Literal["frames_bands", "bands_frames"] = "frames_bands"
    """Which axis comes first in an example."""

    def start(self, run: Any) -> None:
        if not any(_is_spectrogram(np.asarray(array), 2) for array in run.job.train[0].inputs.values()):
            what = "an example has no spectrogram: no array of numbers with two axes"
            raise RecipeError(what, where="techniques.spec_augment", do="leave spec_augment out")
        if not self.bands and not self.stretches:
            raise RecipeError("neither bands nor stretches are hidden", where="techniques.spec_augment", do="bands=2")

    def vary(self, batch: Batch, run: Any, rng: np.random.Generator) -> Batch:
        changed = {n: self._hidden(a, rng) for n, a in batch.inputs.items() if _is_spectrogram(a, 3)}
        return replace(batch, inputs={**batch.inputs, **changed})

    def _hidden(self, spectrograms: Tensor, rng: np.random.Generator) -> Tensor:
        frames, bands = (1, 2) if self.layout == "frames_bands" else (2, 1)
        for axis, count, widest in ((frames, self.stretches, self.longest), (bands, self.bands, self.widest_band)):
            size = spectrograms.shape[axis]
            widest = min(widest, int(self.most * size))
            seen = np.ones((len(spectrograms), size), dtype=bool)
            for example in seen:
                for width in rng.integers(0, widest + 1, count):
                    begin = rng.integers(0, size - width + 1)
                    example[begin : begin + width] = False
            mask = torch.from_numpy(seen).to(spectrograms.device)
            spectrograms = spectrograms * mask.unsqueeze(3 - axis)
        return spectrograms


def _is_spectrogram(array: Any, axes: int) -> bool:
    numbers = array.is_floating_point() if isinstance(array, torch.Tensor) else np.issubdtype(array.dtype, np.floating)
    return bool(numbers) and array.ndim == axes
