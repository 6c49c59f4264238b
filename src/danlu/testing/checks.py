"""Whether a plug-in keeps the promises of its family: the conformance checks, for our own plug-ins and for yours.

    from danlu.testing import checks

    def test_my_task():
        checks.run(MyTask)

Every check is a function of a `Subject` that raises `ConformanceError`; its docstring is the promise. A plug-in is
tried together with small partners (a task needs a backbone to be learnt); name your own where these can't go with
it: `checks.run(MyTask, backbone=MyBackbone())`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from danlu.contracts import Plugin

# Importing a module of checks registers them.
from danlu.testing import data, descent, explaining, forms, fresh, general, judging, models, tasks, techniques
from danlu.testing.subject import Check, ConformanceError, Subject, check, registered, require

__all__ = ["Check", "ConformanceError", "Subject", "check", "checks_for", "require", "run"]

_MODULES = (general, data, tasks, models, techniques, descent, forms, judging, fresh, explaining)


def checks_for(family: str) -> tuple[Check, ...]:
    """The checks of a family, those that hold for every plug-in first."""
    return registered(family)


def run(what: Plugin | type[Plugin], **partners: Plugin) -> list[str]:
    """Try a plug-in, or a class all of whose options have defaults; returns the names of the checks it passed.

    Raises ConformanceError, which tells every promise that was not kept.
    """
    faults, passed = [], []
    for function in checks_for(what.family):
        with tempfile.TemporaryDirectory(prefix="danlu-check-") as folder:
            try:
                function(Subject.of(what, Path(folder), **partners))
                passed.append(function.__name__)
            except ConformanceError as fault:
                faults.append(f"  {function.__name__}: {fault}")
    if faults:
        name = what.__name__ if isinstance(what, type) else type(what).__name__
        raise ConformanceError(
            "\n".join([f"{name} fails {len(faults)} of {len(faults) + len(passed)} checks", *faults])
        )
    return passed
