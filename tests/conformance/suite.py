"""Every plug-in that is found is tried with every check of its family."""

from __future__ import annotations

import pytest

from danlu.core import plugin
from danlu.testing import checks
from danlu.testing.subject import Subject


def found(family: str) -> list[str]:
    """The names of our own plug-ins of a family."""
    return [entry.name for entry in plugin.entries(family) if entry.origin == "danlu"]


def every(family: str):
    """A test's parameters `name` and `check`: all plug-ins of a family with all its checks."""

    def parametrize(test):
        test = pytest.mark.parametrize("check", checks.checks_for(family), ids=lambda check: check.__name__)(test)
        return pytest.mark.parametrize("name", found(family))(test)

    return parametrize


def subject(family: str, name: str, folder, **options) -> Subject:
    return Subject(plugin.load(family, name)(**options), folder)
