"""Answer as people prefer it: DPO (Rafailov et al., 2023) and ORPO (Hong et al., 2024)."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from danlu.blocks import likelihood, pair_rows
from danlu.blocks.chat_task import ChatTask, Taught, laid, told
from danlu.blocks.pair_rows import PairRows
from danlu.contracts import Answer, Arrays, Batch, Delta, Example
from danlu.core import plugin

if TYPE_CHECKING:
    from torch import Tensor

_preferences: Any = plugin.lazy("danlu.blocks.preferences")
_heads: Any = plugin.lazy("danlu.blocks.lm_heads")


class _Beside:
    """The reference, where the objective has one."""

    def __get__(self, task: Preference | None, _: type[Preference]) -> tuple[str, ...]:
        return ("reference",) if task is None or task.objective == "dpo" else ()


class Preference(PairRows, ChatTask):
    """Rows are a `prompt` with a `chosen` and a `rejected` answer; the first becomes likelier than the second.

    `dpo` holds on to the model as it was when training began (without the adapter, or a frozen copy), so begin with one
    that answers already: `base: $step` of a `chat` model, or a pretrained one. `orpo` needs no other model, and learns
    the chosen answers at the same time.

    The model goes on answering as that of `chat` does. Asked `{"messages": talk, "answers": ["…", …]}` it says which it
    prefers, by the mean log p of their tokens: `{"scores": [float, …], "order": [int, …]}`.
    """

    gives: ClassVar[Mapping[str, str]] = {"modality": "text", "head": "next", "answer": "preference"}
    beside: ClassVar[Any] = _Beside()

    objective: Literal["dpo", "orpo"] = "dpo"
    """What is made smaller."""
    beta: float = Field(default=0.1, gt=0)
    """Of `dpo` how dear it is to leave the reference (greater: nearer); of `orpo` the weight of the odds ratio."""

    # ---- training ----------------------------------------------------------------------------------------------------

    def paired(self, chosen: Taught, rejected: Taught) -> Example:
        """Both conversations in one example, neither seeing the other."""
        inputs = laid([chosen, rejected])
        side = np.repeat(np.array([1, -1], dtype=np.int64), [len(chosen[1]), len(rejected[1])])
        return Example(inputs, {"targets": inputs["tokens"], "side": side})

    def loss(self, outputs: Arrays, batch: Batch) -> Tensor:
        """One number a pair, [n]."""
        side = batch.targets["side"]
        said, before = self._likely(outputs, batch), None
        if self.objective == "orpo":
            found: Tensor = _preferences.orpo(said, side, self.beta)
            return found
        before = self._likely(batch.beside["reference"], batch)
        held: Tensor = _preferences.dpo(said, before, side, self.beta)
        return held

    def _likely(self, outputs: Arrays, batch: Batch) -> Tensor:
        """log p of every token that is asked for, [n, k]."""
        if "log_likelihood" in outputs:
            known: Tensor = outputs["log_likelihood"]
            return known
        found: Tensor = -_heads.nll(outputs, batch.targets["targets"])
        return found

    # ---- answers -----------------------------------------------------------------------------------------------------

    def encode(self, x: Any, processor: Any) -> list[Example]:
        """One example for each answer that is compared; else as `ChatTask` does."""
        if not _compares(x):
            return super().encode(x, processor)
        talk, answers = pair_rows.compared(x)
        made = []
        for answer in answers:
            ids, taught = self.judged(talk, answer, processor)
            first = int(taught[0])
            made += told([(ids[:first].tolist(), 0), (ids[first:].tolist(), len(taught))], None)
        return made

    def decode(self, x: Any, examples: list[Example], outputs: list[Arrays], processor: Any) -> Answer:
        if not _compares(x):
            return super().decode(x, examples, outputs, processor)
        said = (likelihood.likelihood("", [one], [output]) for one, output in zip(examples, outputs, strict=True))
        return pair_rows.preferred([-one["nll"] / one["tokens"] for one in said])

    def answer(self, x: Any, processor: Any) -> Generator[list[Example] | Delta, list[Arrays], Answer]:
        if not _compares(x):
            return (yield from super().answer(x, processor))
        examples = self.encode(x, processor)
        outputs = yield examples
        return self.decode(x, examples, outputs, processor)

    def distance(self, a: Answer, b: Answer) -> float:
        return pair_rows.distance(a, b) if "scores" in a and "scores" in b else super().distance(a, b)

    def from_json(self, value: Any) -> Any:
        if not _compares(value):
            return super().from_json(value)
        pair_rows.compared(value)
        return value

    def request_schema(self) -> dict[str, Any]:
        return {"anyOf": [*super().request_schema()["anyOf"], pair_rows.REQUEST]}

    def answer_schema(self) -> dict[str, Any]:
        return {"anyOf": [*super().answer_schema()["anyOf"], pair_rows.SCHEMA]}


def _compares(x: Any) -> bool:
    return isinstance(x, Mapping) and "answers" in x
