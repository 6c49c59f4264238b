"""Add noise to sounds, at a drawn ratio of sound to noise."""

from __future__ import annotations

from typing import Self

import numpy as np
from pydantic import Field, model_validator

from danlu.blocks import waves


class Noise(waves.AugmentSound):
    """New training rows with white noise in the sound. A silent sound is left as it is."""

    least: float = Field(default=10.0, ge=-20, le=80)
    """The least ratio of the sound's power to the noise's, in decibels: 0 is as loud as the sound."""
    most: float = Field(default=30.0, ge=-20, le=80)
    """The greatest ratio; each row's is drawn between the two."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least {self.least:g} is more than most {self.most:g}")
        return self

    def change(self, samples: waves.Samples, rng: np.random.Generator) -> tuple[waves.Samples, str] | None:
        if not samples.any():
            return None
        return waves.add_noise(samples, float(rng.uniform(self.least, self.most)), rng), "noise added"
