"""The sum of squares of a gradient, noted when it was made, so that the norm need not read it again."""

from __future__ import annotations

from torch import Tensor

_NOTE = "squares"


def note_squares(gradient: Tensor, squares: float) -> None:
    """Note that the squares of a gradient, as it is now, add up to that."""
    gradient.__dict__[_NOTE] = gradient._version, squares


def squares_of(gradient: Tensor) -> float | None:
    """What was noted, if nobody wrote into the gradient since; else None."""
    version, squares = gradient.__dict__.get(_NOTE, (-1, None))
    return squares if version == gradient._version else None
