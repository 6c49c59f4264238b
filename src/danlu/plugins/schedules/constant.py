"""The rate stays where the warm-up brought it."""

from danlu.contracts import Schedule


class Constant(Schedule):
    """For a training of which nobody knows how long it will be, and for comparisons."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        return 1.0
