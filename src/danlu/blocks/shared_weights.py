"""Frozen weights that several models in one process stand on, held once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any
from weakref import WeakSet, WeakValueDictionary


class Held:
    """The tensors of one file of weights, by name, and the modules that stand on them."""

    def __init__(self, tensors: Mapping[str, Any]) -> None:
        self.tensors = tensors
        self.modules: WeakSet[Any] = WeakSet()

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors.values())


class SharedWeights:
    """Hands out the tensors of a file, read once for its SHA-256, as long as a module stands on them.

    Modules that share tensors must not change them: this is for models that only answer.
    """

    def __init__(self) -> None:
        self._held: WeakValueDictionary[str, Held] = WeakValueDictionary()
        self._lock = threading.Lock()

    def of(self, digest: str, read: Callable[[], Mapping[str, Any]], module: Any) -> Mapping[str, Any]:
        """The tensors of the file with this SHA-256, which `read` gives where nobody holds them yet, for `module`."""
        with self._lock:
            held = self._held.get(digest)
            if held is None:
                held = self._held[digest] = Held(read())
            held.modules.add(module)
        module.__dict__.setdefault("stands_on", []).append(held)  # lives as long as the module; no part of its state
        return held.tensors

    def told(self) -> list[tuple[int, int]]:
        """What is held: how many modules stand on it, and its bytes; the largest first."""
        with self._lock:
            return sorted(((len(h.modules), h.size) for h in self._held.values()), key=lambda one: -one[1])
