"""One form in two sessions: a caller alone gets all cores, callers beside one another share them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from danlu.contracts import Arrays, Example, Form


class LoneForm:
    """`lone` for one example whose pass runs alone, `shared` for all others. Both must be the same form.

    Passes of one thread answer more callers, a pass on all cores answers one of them sooner.
    """

    def __init__(self, shared: Form, lone: Form) -> None:
        self._shared, self._lone = shared, lone
        self._running, self._lock = 0, threading.Lock()

    def forward(self, inputs: Arrays) -> Arrays:
        """Outputs by name; raises what the form raises."""
        with self._lock:
            alone = not self._running
            self._running += 1
        try:
            single = all(len(array) == 1 for array in inputs.values())
            return (self._lone if alone and single else self._shared).forward(inputs)
        finally:
            with self._lock:
                self._running -= 1

    def resume(self, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        """As the form does."""
        return self._shared.resume(examples)

    @property
    def module(self) -> Any:
        """The form's module."""
        return self._shared.module
