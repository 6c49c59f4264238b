"""Test inputs as people will really write them: changed by an augmentation, their true answers kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
from pydantic import WithJsonSchema

from danlu.contracts import Context, Operator, Task
from danlu.core import plugin
from danlu.core.document import parse
from danlu.core.errors import RecipeError
from danlu.values import iterate_rows

Change = Annotated[
    Operator, WithJsonSchema({"x-slot": "operators", "type": ["string", "object"], "x-facts": {"changes": "inputs"}})
]
"""An operator that changes inputs, as augmentation does."""
_PLACED = {"copies", "share", "labels", "columns"}


@dataclass(frozen=True)
class Disturbed:
    """The inputs of a split, how many of them differ, and a few before and after."""

    inputs: list[Any]
    changed: int
    samples: list[tuple[Any, Any]]

    def told(self) -> dict[str, Any]:
        """`{changed, samples}`."""
        return {"changed": self.changed, "samples": self.samples}


def choose(text: str, where: str) -> Operator:
    """The change that a command line names, as a recipe would: `typos`, `{typos: {rate: 0.1}}`.

    Raises RecipeError for what is no augmentation, and where a file that it reads is not there.
    """
    try:
        chosen = Operator.choose(parse(text, where))
    except ValueError as fault:
        raise RecipeError(str(fault), where=where, do="`danlu list operators` names them") from fault
    if chosen.changes != "inputs":
        fits = ", ".join(one.name for one in plugin.entries("operators") if one.facts.get("changes") == "inputs")
        raise RecipeError(f"{chosen.name} changes {chosen.changes} and no inputs", where=where, do=f"these fit: {fits}")
    for name, field in plugin.find("operators", chosen.name).fields.items():
        read = getattr(chosen, name)
        if field["schema"].get("x-points") == "files" and read is not None and not Path(read).expanduser().exists():
            raise RecipeError(f"{chosen.name} reads {read}, which is not there", where=where, do="check the path")
    return chosen


def every(table: pa.Table, task: Task, operators: Sequence[Operator], seed: int) -> dict[str, Disturbed]:
    """A table under each of some changes, by name; with the options that are not its defaults where one comes twice.

    Each row is changed in its place, so `copies` counts for nothing. Raises RecipeError for two that are the same, and
    for one that finds nothing to change.
    """
    names = [operator.name for operator in operators]
    found: dict[str, Disturbed] = {}
    for operator in operators:
        name = operator.name
        if names.count(name) > 1:
            own = operator.model_dump(mode="json", exclude_defaults=True, exclude=_PLACED)
            name += f" ({', '.join(f'{key}: {value}' for key, value in own.items())})" if own else ""
        if name in found:
            raise RecipeError(f"{name} stands there twice", where="under", do="name it once")
        found[name] = _changed(table, task, operator, seed)
    return found


def _changed(table: pa.Table, task: Task, operator: Operator, seed: int) -> Disturbed:
    changed, counts = operator.model_copy(update={"copies": 0}).apply(table, Context(task.columns(), "test", seed))
    if not counts.changed:
        why = f": {counts.notes[0]}" if counts.notes else ""
        what = f"{operator.name} changes no input of these rows{why}"
        raise RecipeError(what, where="under", do="`danlu list operators` names the others")
    inputs = [task.ask(row) for row in iterate_rows(changed)]
    samples = [(_alone(before), _alone(after)) for before, after in counts.samples]
    return Disturbed(inputs, counts.changed, samples)


def _alone(cells: Any) -> Any:
    """The one cell of a row that has no other."""
    return next(iter(cells.values())) if isinstance(cells, dict) and len(cells) == 1 else cells
