"""The tokenizer of a model that is there already."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from danlu.blocks import untrusted
from danlu.blocks.tokens import TextProcessor
from danlu.core import assets, plugin
from danlu.core.errors import DataError
from danlu.core.settings import Location
from danlu.fresh import SpecialTokens, Tokenizer

_hf_gguf: Any = plugin.lazy("danlu.blocks.hf_gguf")


class Taken(Tokenizer):
    """For a fresh model that should cut texts as another does, so that a teacher can teach it; nothing is learnt."""

    main: ClassVar[str] = "model"

    model: Location
    """`asset:name` (danlu assets), `./folder` with a `tokenizer.json`, or `hub:org/name@commit`."""

    def learn(self, texts: Iterable[str], special: SpecialTokens, most: int) -> TextProcessor:
        """Its own special tokens and templates stay. Raises DataError where it has no token to pad with."""
        folder = assets.resolve(self.model)
        if not (folder / "tokenizer.json").is_file():
            folder = _hf_gguf.opened(folder)
        untrusted.check_model(folder)
        found = TextProcessor.load(folder)
        if found.special("pad_token") is None:
            what = "the tokenizer has no token to pad with, and texts of a batch differ in length"
            raise DataError(what, where=str(folder), do="name its pad_token in tokenizer_config.json")
        return found.cut_at(most)
