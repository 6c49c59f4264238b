"""Make sounds higher or lower at the same length."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from danlu.blocks import waves

_SHORTEST = 2048  # samples; two windows of the vocoder


class Pitch(waves.AugmentSound):
    """New training rows with the sound at another pitch, by a phase vocoder: it blurs sharp onsets a little.

    A sound of fewer than 2,048 samples is left as it is.
    """

    semitones: float = Field(default=2.0, gt=0, le=12)
    """The shift is drawn between this down and this up; 12 is an octave."""

    def change(self, samples: waves.Samples, rng: np.random.Generator) -> tuple[waves.Samples, str] | None:
        if len(samples) < _SHORTEST:
            return None
        shift = float(rng.uniform(-self.semitones, self.semitones))
        return waves.higher(samples, shift), "higher" if shift > 0 else "lower"
