"""What a check is given, and how it says that a promise was not kept."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from pydantic import ValidationError

from danlu.contracts import Plugin
from danlu.core import plugin
from danlu.core.errors import RecipeError


class ConformanceError(AssertionError):
    """A plug-in does not keep a promise of its family."""


@dataclass(frozen=True)
class Subject:
    """A plug-in under test: chosen with its options, and a folder to write into.

    `partners` are the plug-ins it is tried with, by family, where the checks should not choose them.
    """

    plugin: Any
    folder: Path
    partners: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, what: Plugin | type[Plugin], folder: Path, **partners: Plugin) -> Subject:
        """The subject for a plug-in, or for a class all of whose options have defaults; raises RecipeError."""
        try:
            chosen = what() if isinstance(what, type) else what
        except ValidationError as error:
            name = what.__name__ if isinstance(what, type) else what.name
            raise RecipeError(
                f"{name} has options without a default", do=f"checks.run({name}(option=value))"
            ) from error
        return cls(chosen, folder, {partner.family: partner for partner in partners.values()})

    @property
    def family(self) -> str:
        """The family of the plug-in."""
        return str(self.plugin.family)

    def entry(self) -> plugin.Entry:
        """What the index would hold of its class, made anew."""
        kind = type(self.plugin)
        source = inspect.getsourcefile(kind) or ""
        described = kind.describe()
        target = f"{kind.__module__}:{kind.__qualname__}"
        return plugin.Entry(self.family, self.plugin.name, target, "class", source, sha256="", **described)

    def new(self, name: str) -> Path:
        """A folder of that name which does not exist yet."""
        path = self.folder / name
        k = 0
        while path.exists():
            path = self.folder / f"{name}{(k := k + 1)}"
        return path


Check: TypeAlias = Callable[[Subject], None]
_F = TypeVar("_F", bound=Check)
_CHECKS: dict[str, list[Check]] = {}
EVERY = "every family"


def check(*families: str) -> Callable[[_F], _F]:
    """Register a function as a check of these families."""

    def register(function: _F) -> _F:
        for family in families:
            _CHECKS.setdefault(family, []).append(function)
        return function

    return register


def registered(family: str) -> tuple[Check, ...]:
    """The checks of a family, those of every family first."""
    return (*_CHECKS[EVERY], *_CHECKS.get(family, ()))


def require(kept: bool, what: str) -> None:
    """Raise ConformanceError, saying what was wrong, unless the promise was kept."""
    if not kept:
        raise ConformanceError(what)
