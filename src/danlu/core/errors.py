"""Errors, grouped by who must act.

Each says what was wrong, where, and what to do. The command line turns the class into the exit code, so a script can
tell a recipe that must be mended (2) from data (3), from the machine (4) and from a gate that was not met (5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DanluError(Exception):
    """The root of every error that Danlu raises on purpose.

    `what` is a full sentence without a final stop, `where` a path or a place in a recipe, `do` the mend, ready to paste
    where there is one.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", do: str = "") -> None:
        self.what, self.where, self.do = what, where, do
        super().__init__(what, where, do)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        mend = f"\n  → {self.do}" if self.do else ""
        return f"{place}{self.what}{mend}"


class RecipeError(DanluError):
    """The recipe or the command must be changed."""

    exit_code = 2


class DataError(DanluError):
    """The data, a model file or an artifact must be changed."""

    exit_code = 3


class RowError(DataError):
    """A row of a table must be changed; `row` counts from 1 in the table that was given."""

    def __init__(self, what: str, *, row: int, do: str = "") -> None:
        self.row = row
        super().__init__(what, where=f"row {row:,}", do=do)


class MachineError(DanluError):
    """The machine must be changed: disk, memory, network, a missing package."""

    exit_code = 4


class GateError(DanluError):
    """A promise that the recipe asked for was not kept: a budget, a parity, a required metric, a moved alias."""

    exit_code = 5


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a recipe: `where` is a path such as `tuned.method.lora.rank`."""

    where: str
    what: str
    do: str = ""

    def __str__(self) -> str:
        return str(RecipeError(self.what, where=self.where, do=self.do))


class RecipeFaults(RecipeError):  # noqa: N818 - it is several
    """Everything wrong with one recipe, told at once."""

    def __init__(self, faults: Sequence[Fault], *, where: str = "") -> None:
        self.faults = tuple(faults)
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        super().__init__(f"{count} in the recipe", where=where)

    def __str__(self) -> str:
        told = [f"  {k}. {fault}".replace("\n", "\n   ") for k, fault in enumerate(self.faults, 1)]
        return "\n".join([super().__str__(), *told])
