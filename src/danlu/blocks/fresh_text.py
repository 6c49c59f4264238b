"""What all text models from scratch have in common: a tokenizer learnt from the training texts, and first weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from danlu.blocks import hf, kv_cache
from danlu.blocks.initialise import initialise
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Backbone, Example, Head, Initialiser, SpecialTokens, Tokenizer
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import nn


class FreshText(Backbone):
    """Derive from it, name `special`, set a default for `tokenizer`, and write `build`."""

    main: ClassVar[str] = "size"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input",)}
    processor_class: ClassVar[type[Any]] = TextProcessor
    enough: ClassVar[int | None] = 2**27
    special: ClassVar[SpecialTokens]
    """The special tokens of its family."""

    tokenizer: Tokenizer
    """How it cuts texts; learnt from the training texts unless `taken` from another model."""
    positions: int = Field(default=512, ge=8)
    """How many tokens it can take; longer texts are cut."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of the features and of the attention left out in training."""
    init: Initialiser | None = None
    """How the first weights are drawn; unless given, as the family's own library draws them."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        found: TextProcessor = self.tokenizer.learn(inputs, self.special, self.positions)  # type: ignore[assignment]
        return found

    def start(self, head: Head, processor: Any) -> tuple[nn.Module, list[str]]:
        module, fresh = super().start(head, processor)
        if self.init is not None:
            initialise(module, self.init)
        return module, fresh


class FreshTransformer(FreshText):
    """One of a kind that the transformers library knows. Derive from it, name `kind`, and write `settings`.

    What is saved is a folder that plain transformers loads with the same answers.
    """

    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "attention"}
    kind: ClassVar[str]
    """The library's own name for it, such as `bert`."""

    named: ClassVar[tuple[str, ...]] = ()
    """Special tokens whose ids are in its settings, besides the one that pads."""

    def learn(self, inputs: Iterable[str]) -> TextProcessor:
        """Raises DataError where a tokenizer that was taken lacks what frames or ends a text of the family."""
        found = super().learn(inputs)
        wanted = ("cls", "sep") if "cls" in self.special.roles else ("eos",)
        lacking = [f"{role}_token" for role in wanted if found.special(f"{role}_token") is None]
        if lacking:
            names = " and no ".join(lacking)
            what = f"the tokenizer does not fit {self.name}: it names no {names} in tokenizer_config.json"
            tokens = ", ".join(self.special.roles[role] for role in wanted)
            do = f"a tokenizer that is learnt, such as bpe, has {tokens}; or take one from a model like {self.name}"
            raise DataError(what, where="backbone.tokenizer", do=do)
        return found

    @abstractmethod
    def settings(self, processor: TextProcessor) -> dict[str, Any]:
        """The library's settings for its size."""

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        """Weights are drawn from torch's global generator, which the caller seeds."""
        if head.per == "gap" and processor.special("mask_token") is None:
            what = "the tokenizer has no token for a gap, which this task fills"
            raise DataError(what, where="tokenizer", do="tokenizer=wordpiece, or another that is learnt")
        ids = {f"{role}_token_id": processor.special(f"{role}_token") for role in self.named}
        common = {"vocab_size": processor.size, "pad_token_id": processor.pad_id, **ids}
        return hf.from_scratch(self.kind, head, processor.pad_id, **common | self.settings(processor))

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        hf.write_config(folder, module)
        processor.save(folder)

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        return [module.get_input_embeddings()]  # type: ignore[operator]

    def resume(self, module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        return kv_cache.resume(module, examples)
