"""What the tasks share that learn from texts alone: the column, the question, the blocks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field

from danlu.blocks import likelihood
from danlu.contracts import Answer, Columns, Example, Processor, Task

if TYPE_CHECKING:
    import pyarrow as pa


class TextTask(Task):
    """Derive from it and write `block`. A row is asked how likely its text is; the truth is a model that is certain."""

    pad: ClassVar[Mapping[str, float]] = likelihood.PAD

    text: str | None = None
    """The column of the texts; found by its content when left open."""
    length: int = Field(default=128, ge=8)
    """Tokens in a block; texts are packed into blocks one after another, and do not see one another."""

    @abstractmethod
    def block(self, ids: Any, segments: Any, processor: Any) -> Example:
        """The training example of a block: its ids, and which of the documents in it each belongs to, from 1."""

    def columns(self) -> Columns:
        text = likelihood.settled(self.text, self.name)
        return Columns((text,), (text,))

    def settle(self, rows: pa.Table) -> Self:
        return self.model_copy(update={"text": likelihood.find_text(rows, self.name, self.text)})

    def resolve(self, rows: pa.Table) -> Self:
        return self.settle(rows)

    def ask(self, row: Mapping[str, Any]) -> Any:
        return {likelihood.SCORE: self.material(row)}

    def material(self, row: Mapping[str, Any]) -> Any:
        return row[self.columns().ask[0]]

    def gold(self, row: Mapping[str, Any]) -> Answer | None:
        return likelihood.certain(row.get(self.columns().ask[0]))

    def pack(
        self,
        rows: Callable[[], Iterable[Mapping[str, Any]]],
        processor: Processor,
        folder: Path,
        key: Sequence[str],
        told: Callable[[int], None],
    ) -> Sequence[Example]:
        """Blocks of `length` tokens. Raises RecipeError where the backbone has fewer positions."""
        likelihood.check_length(processor, self.length, self.name)
        make = partial(self.block, processor=processor)
        return likelihood.packed(map(self.material, rows()), processor, self.length, folder, key, make, told)
