"""Every plug-in that is found is tried with every check of its family, on what its own tests say it is tried with."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from danlu.core import plugin
from danlu.testing import checks
from danlu.testing.subject import Subject

TESTS = Path(__file__).parents[1] / "plugins"


def found(family: str) -> list[str]:
    """The names of our own plug-ins of a family."""
    return [entry.name for entry in plugin.entries(family) if entry.origin == "danlu"]


def all_are_found(family: str, *, least: int) -> bool:
    """Whether the plug-ins found are the files of the family's folder, and not fewer than there once were."""
    inside = plugin.PACKAGE / "plugins" / family
    files = sorted(path.stem for path in inside.glob("*.py") if not path.name.startswith("_"))
    return found(family) == files and len(files) >= least


@functools.cache
def _told(family: str) -> list[Callable[[Path], dict[str, Any]]]:
    found = []
    for path in sorted((TESTS / family).glob("test_*.py")):
        if "def conforming(" in path.read_text(encoding="utf-8"):
            spec = importlib.util.spec_from_file_location(f"conforming_{family}_{path.stem}", path)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            found.append(module.conforming)
    return found


def options(family: str, name: str, folder: Path) -> dict[str, Any]:
    """The options that a plug-in is tried with: what `conforming(folder)` of its test file gives for it, or none.

    It is a function `conforming(folder)` that gives `{plug-in: options}`, so an addition brings them in its own test.
    """
    given: dict[str, Any] = {}
    for told in _told(family):
        given |= told(folder)
    return dict(given.get(name, {}))


def every(family: str):
    """A test's parameters `name` and `check`: all plug-ins of a family with all its checks."""

    def parametrize(test):
        test = pytest.mark.parametrize("check", checks.checks_for(family), ids=lambda check: check.__name__)(test)
        return pytest.mark.parametrize("name", found(family))(test)

    return parametrize


def subject(family: str, name: str, folder, **more) -> Subject:
    """The plug-in with its options; `partners` among them are what it is tried with, by family."""
    given = options(family, name, folder) | more
    partners = given.pop("partners", {})
    return Subject(plugin.load(family, name)(**given), folder, partners)
