"""What every plug-in promises: it is documented, its settings are strict, and the index tells the truth about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import ValidationError

from danlu.contracts import Plugin
from danlu.core import plugin
from danlu.core.errors import DanluError
from danlu.testing.subject import EVERY, Subject, check, require

FACTS = (
    "modality",
    "head",
    "answer",
    "learning",
    "balance",
    "loss",
    "adversary",
    "average",
    "layers",
    "parts",
    "trained",
)
"""What plug-ins tell one another in `gives` and `wants`."""
_COSTLY = ("torch", "transformers")


@check(EVERY)
def check_it_is_documented(subject: Subject) -> None:
    """The class says in a sentence what it is for, and every option says what it does."""
    require(bool(type(subject.plugin).__dict__.get("__doc__")), "the class has no docstring")
    for name, option in subject.entry().fields.items():
        require(bool(option["doc"]), f"the option {name} has no docstring below it")


@check(EVERY)
def check_settings_survive_a_recipe(subject: Subject) -> None:
    """What `plain()` writes is JSON, and `choose` makes an equal plug-in of it."""
    written = subject.plugin.plain()
    require(json.loads(json.dumps(written)) == written, f"plain() gives more than JSON values: {written}")
    again = _base(subject.plugin).choose(written)
    require(again == subject.plugin, f"choose(plain()) is another plug-in: {again!r}")


@check(EVERY)
def check_settings_are_strict(subject: Subject) -> None:
    """Settings are frozen, and an option that does not exist is refused."""
    kind, options = type(subject.plugin), subject.plugin.model_dump()
    try:
        kind(**options, no_such_option=1)
    except ValidationError:
        pass
    else:
        require(False, "it accepts an option that it does not have")
    for name in options:
        try:
            setattr(subject.plugin, name, options[name])
        except ValidationError:
            continue
        require(False, f"its option {name} can be changed after it was made")


@check(EVERY)
def check_the_index_tells_the_truth(subject: Subject) -> None:
    """The index entry survives JSON, and its defaults are those of a new plug-in."""
    entry = asdict(subject.entry())
    require(json.loads(json.dumps(entry)) == entry, "what the index keeps of it changes on its way through JSON")
    kind, fields = type(subject.plugin), entry["fields"]
    needed = {name: getattr(subject.plugin, name) for name, option in fields.items() if option["required"]}
    for name, option in fields.items():
        if not option["required"]:
            told = option.get("default")
            same = kind(**needed, **{name: told}) == kind(**needed)
            require(same, f"the default of {name} is not {told!r}, as the index says")


@check(EVERY)
def check_the_main_field_exists(subject: Subject) -> None:
    """`{name: value}` sets the field that `main` names; a mapping there would be taken for options."""
    main = type(subject.plugin).main
    if not main:
        return
    require(main in subject.entry().fields, f"main is {main!r}, which is no option")
    value = subject.plugin.model_dump(mode="json")[main]
    require(not isinstance(value, Mapping), f"main is {main!r}, which holds a mapping")


@check(EVERY)
def check_facts_are_known_words(subject: Subject) -> None:
    """`gives` and `wants` speak of known facts, and what is wanted is given by somebody: else it fits nothing."""
    kind = type(subject.plugin)
    for fact in (*kind.gives, *kind.wants):
        require(fact in FACTS, f"{fact!r} is no fact that plug-ins speak of; there are: {', '.join(FACTS)}")
    given = {(fact, value) for entry in plugin.entries() for fact, value in entry.gives.items()} | set(
        kind.gives.items()
    )
    for fact, values in kind.wants.items():
        strange = [value for value in values if (fact, value) not in given]
        require(len(strange) < len(values), f"it wants {fact} = {' or '.join(values)}, which no plug-in gives")


@check("sources", "operators", "tasks", "metrics", "schedules", "trackers")
def check_it_imports_no_torch(subject: Subject) -> None:
    """Importing it imports neither torch nor transformers: a recipe is checked, and an ONNX form served, without."""
    require_light_import(type(subject.plugin))


def require_light_import(kind: type) -> None:
    """Raise ConformanceError when importing the module of a class, in a process of its own, imports torch."""
    module = kind.__module__
    path = getattr(sys.modules[module], "__file__", None)
    if path is None:
        return  # typed into a session: there is no file to import
    load = f"import {module}" if "." in module else f"import runpy; runpy.run_path({path!r})"
    code = f"import sys; {load}; print(*(m for m in {_COSTLY!r} if m in sys.modules))"
    env = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=env)
    require(ran.returncode == 0, f"importing {module} alone fails: {ran.stderr.strip()[-300:]}")
    require(not ran.stdout.strip(), f"importing {module} imports {ran.stdout.strip()}; use danlu.core.plugin.lazy")


def refused(action: Any, what: str) -> None:
    """Raise ConformanceError unless calling `action` raises an error that says what to do."""
    try:
        action()
    except DanluError:
        return
    except Exception as error:  # noqa: BLE001 - whatever it raises instead is what is told
        require(False, f"{what} raises {type(error).__name__}, not an error of danlu.core.errors: {error}")
    require(False, f"{what} is accepted")


def _base(chosen: Plugin) -> type[Plugin]:
    """The family's class among those it derives from."""
    return next(c for c in type(chosen).__mro__ if issubclass(c, Plugin) and c.__dict__.get("family"))
