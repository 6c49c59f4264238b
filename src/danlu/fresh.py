"""The promises of what a model begins with that nobody trained: its tokenizer and its first weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from danlu.core.settings import Plugin

if TYPE_CHECKING:
    from torch import Tensor

    from danlu.values import Processor


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens of a family of models that stand for no text, and where they go around one."""

    roles: Mapping[str, str]
    """Role (`pad`, `unk`, `cls`, `sep`, `bos`, `eos`, `mask`) → token, in the order of their ids; a token may have
    several roles. `pad` and `unk` must be there."""
    single: str = "$A"
    """The template around a text, as the library `tokenizers` writes it: `[CLS] $A [SEP]`."""
    pair: str = "$A $B:1"
    """The template around two."""
    more: tuple[str, ...] = ()
    """Tokens without a role."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """All of them, in the order of their ids."""
        return tuple(dict.fromkeys([*self.roles.values(), *self.more]))


class Tokenizer(Plugin):
    """How a fresh model cuts texts: learnt from the training texts, or taken from a model that has one.

    The same texts give the same file, in every process and with any number of threads.
    """

    family: ClassVar[str] = "tokenizers"

    @abstractmethod
    def learn(self, texts: Iterable[str], special: SpecialTokens, most: int) -> Processor:
        """The processor of a model that takes at most `most` tokens; `texts` are gone through once.

        Raises DataError when they hold too little to learn from.
        """


class Initialiser(Plugin):
    """How the weights of a fresh model are drawn."""

    family: ClassVar[str] = "initialisers"

    residual: bool = False
    """Whether layers that add to what came in are drawn 1/√n as wide, n being how many there are, as in GPT-2."""

    @abstractmethod
    def fill(self, weight: Tensor, scale: float = 1.0) -> None:
        """Draw a weight of two or more axes ([out, in, …]) in place, from torch's global generator, times `scale`."""
