"""A pretrained text model of the transformers library, from an asset, a folder or the hub's cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from danlu.blocks import hf, hf_gguf, kv_cache, untrusted
from danlu.blocks.tokens import TextProcessor
from danlu.contracts import Arrays, Backbone, Example, Head, Location
from danlu.core import assets
from danlu.core.errors import DataError

if TYPE_CHECKING:
    from torch import nn


class Pretrained(Backbone):
    """Starts from weights somebody trained on much text; the usual choice for a text task.

    Only safetensors are read, and no code that comes with a model is run. What is saved is a folder that plain
    transformers loads with the same answers.
    """

    main: ClassVar[str] = "model"
    gives: ClassVar[Mapping[str, str]] = {"learning": "descent", "layers": "attention"}
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "modality": ("text",),
        "head": ("input", "position", "gap", "next", "vector"),
    }
    processor_class: ClassVar[type[Any]] = TextProcessor

    model: Location = "asset:minilm"
    """`asset:name` (danlu assets), `./folder`, or `hub:org/name@commit`."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Replaces every dropout rate of the model's own configuration."""

    def folder(self) -> Path:
        """The model's folder; of one in a GGUF file the folder that it is turned into, once.

        Raises DataError for weights that are not numbers and templates that reach out.
        """
        folder = hf_gguf.opened(assets.resolve(self.model))
        untrusted.check_model(folder)
        return folder

    def at(self, folder: Path) -> Self:
        return self.model_copy(update={"model": str(folder)})

    def build(self, head: Head, processor: TextProcessor, folder: Path | None) -> nn.Module:
        return hf.build(folder or self.folder(), head, processor.pad_id, self.dropout)

    def start(self, head: Head, processor: TextProcessor) -> tuple[nn.Module, list[str]]:
        folder = self.folder()
        module, fresh = hf.start(folder, head, processor.pad_id, self.dropout)
        rows = module.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
        if processor.size > rows:
            what = f"the tokenizer has {processor.size:,} ids, the model knows {rows:,}"
            raise DataError(what, where=str(folder), do="get model and tokenizer from the same place")
        return module, fresh

    def save(self, folder: Path, module: nn.Module, processor: TextProcessor) -> None:
        hf.write_config(folder, module)
        processor.save(folder)

    def embeddings(self, module: nn.Module) -> list[nn.Module]:
        return [module.get_input_embeddings()]  # type: ignore[operator]

    def resume(self, module: nn.Module, examples: Sequence[Example]) -> list[tuple[Arrays, Any]] | None:
        return kv_cache.resume(module, examples)
