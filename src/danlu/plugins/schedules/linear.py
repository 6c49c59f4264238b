"""The rate falls on a line."""

from danlu.contracts import Schedule


class Linear(Schedule):
    """To 0, which it would reach one step after the last. The usual one for fine-tuning."""

    def fall(self, step: int, steps: int, risen: int) -> float:
        return (steps - step) / steps
