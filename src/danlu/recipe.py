"""A recipe file becomes a checked plan.

A recipe names steps; `do` says which stage a step runs, the rest are the stage's own options:

    name: review-sentiment
    seed: 0
    steps:
      data:  {do: prepare, source: {csv: reviews.csv}, task: text_classification}
      tuned: {do: finetune, method: lora}
      score: {do: evaluate}

Every key is looked up and every value checked before anything runs, and all faults are told at once. This imports no
plug-in, so it takes well under a second.

The short form has no `steps`: `source`, `task` and any option of the standard steps (`STANDARD_STEPS`) stand at the
top, and each goes to the first standard step that has such an option. The shortest recipe is a source and a task. Where
no backbone is named it is the default one if that fits the task, else the first that fits and learns by descent. A
model without a name is not published.
"""

from __future__ import annotations

import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from danlu.core import assets, document, plugin
from danlu.core.combine import contradictions, fitting, idle, lacking, met, of_options
from danlu.core.errors import DanluError, Fault, RecipeError, RecipeFaults
from danlu.core.override import Override, apply, as_fault
from danlu.core.plan import Plan, Step
from danlu.core.resolve import Choice, Pointer, Versions, resolve_options, resolve_value
from danlu.core.settings import named
from danlu.core.sharing import ALONE, Ranks, in_any_run, in_several
from danlu.core.wording import shown

STANDARD_STEPS = {"data": "prepare", "tuned": "finetune", "score": "evaluate", "same": "verify", "ship": "publish"}
"""The steps of a recipe that names none, and their stages."""

_TOP: dict[str, dict[str, Any]] = {
    "name": {"type": "string"},
    "seed": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
    "description": {"type": "string"},
    "import": {"type": "array", "items": {"type": "string", "x-points": "files"}},
    "steps": {"type": "object", "minProperties": 1},
}
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_STEP_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_THERE = {
    "model": "name a folder that is there, a published version (name@3, name@alias) or $step",
    "dataset": "name $step of a step that prepares it, or a folder that is there",
}
_REFERENCE = re.compile(r"\$([A-Za-z_][A-Za-z0-9_-]*)")


@dataclass(frozen=True)
class Recipe:
    """A recipe in which everything was found and checked. It does not change."""

    name: str
    seed: int
    steps: tuple[Step, ...]
    path: Path | None = None
    text: str = ""
    overrides: tuple[str, ...] = ()
    given: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What was written, with its steps spelled out and the overrides in their places: a recipe as a mapping."""

    def plan(self) -> Plan:
        """What would be run, in order."""
        return Plan(self.steps, self.name, self.path, self.text, self.overrides)


def load(
    source: Path | str | Mapping[str, Any],
    overrides: Sequence[str] = (),
    imports: Sequence[Path | str] = (),
    versions: Versions | None = None,
    base: Path | None = None,
    ranks: Ranks = ALONE,
) -> Recipe:
    """Read and check a recipe: a file's path, or the same as a mapping.

    `overrides` are `step.option=value`; `imports` are Python files with plug-ins of your own. Relative paths start at
    the recipe's folder (of a mapping: at `base`), those in overrides and `imports` at the working folder. `versions`
    tells what a model's `name@3` or `name@alias` stands for; without it a recipe can name none. With `ranks` it is
    checked for so many processes, as if no step's result were there. Raises RecipeFaults with all that is wrong, or
    RecipeError when it is not a recipe at all.
    """
    if isinstance(source, Mapping):
        path, data = None, _plain(source)
        text = document.written(data)
    else:
        path = Path(source)
        text = document.read(path)
        data = document.parse(text, str(path))
    where = str(path or "recipe")
    if not isinstance(data, Mapping):
        what = "is empty" if data is None else f"must be a mapping of keys, not {shown(data)}"
        raise RecipeError(what, where=where, do="danlu new --data my.csv writes one to start from")
    reader = _Reader(dict(data), path.absolute().parent if path else base or Path.cwd(), versions, ranks)
    recipe = reader.recipe(path, text, overrides, imports)
    if reader.faults:
        raise RecipeFaults(reader.faults, where=where)
    return recipe


def _plain(value: Any) -> Any:
    """Plug-ins and paths in a mapping from Python, as a recipe writes them."""
    if hasattr(value, "plain"):
        return _plain(value.plain())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class _Reader:
    """Reads one recipe, collecting its faults."""

    def __init__(self, data: dict[str, Any], base: Path, versions: Versions | None, ranks: Ranks) -> None:
        self.data, self.base, self.versions, self.ranks = copy.deepcopy(data), base, versions, ranks
        self.faults: list[Fault] = []
        self.done: list[Step] = []
        self.broken = False  # a step above could not be read, so what it makes is not known

    def recipe(self, path: Path | None, text: str, overrides: Sequence[str], imports: Sequence[Path | str]) -> Recipe:
        read = self.read_overrides(overrides)
        for override in [o for o in read if len(o.path) == 1 and o.path[0] in _TOP]:
            self.data[override.path[0]] = override.value
        head = {key: self.data[key] for key in _TOP if key in self.data and key != "steps"}
        self.import_files(imports)
        short = self.expand(publish=bool(path or self.data.get("name")))
        steps = self.steps()
        for override in read:
            self.override(steps, override, short)
        given = {**head, "steps": copy.deepcopy(steps)}
        top = {key: self.top(key) for key in _TOP if key in self.data and key != "steps"}
        name = top.get("name") or (_slug(path.stem) if path else "")
        if name and not _NAME.fullmatch(name):
            self.fault("name", f"must be lowercase letters, digits, - _ or ., not {shown(name)}", f"name={_slug(name)}")
        for step, options in steps.items():
            self.step(step, options, {"name": name or None, **{key: top.get(key) for key in ("seed", "description")}})
        self.combinations()
        return Recipe(name, top.get("seed") or 0, tuple(self.done), path, text, tuple(overrides), given)

    def fault(self, where: str, what: str, do: str = "") -> None:
        self.faults.append(Fault(where, what, do))

    def read_overrides(self, overrides: Sequence[str]) -> list[Override]:
        read = []
        for text in overrides:
            try:
                read.append(Override.read(text))
            except DanluError as error:
                self.faults.append(as_fault(error, text))
        return read

    def top(self, key: str) -> Any:
        return resolve_value(_TOP[key], self.data[key], key, self.faults, self.base)

    def import_files(self, imports: Sequence[Path | str]) -> None:
        named = self.top("import") if "import" in self.data else []
        self.data.pop("import", None)
        for path in (*(named or ()), *imports):
            try:
                plugin.add_file(Path(path))
            except DanluError as error:
                self.fault("import", f"{path}: {error.what}", error.do)

    def expand(self, *, publish: bool) -> dict[str, str]:
        """Write out the short form; returns option → step for the options that may stand at the top."""
        options: dict[str, str] = {}
        if "steps" not in self.data:
            for step, stage in STANDARD_STEPS.items():
                options = {option: step for option in _fields(stage) if option not in _TOP} | options
        known = [*_TOP, *options]
        for key in [key for key in self.data if key not in known]:
            del self.data[key]
            self.fault(
                str(key), f"a recipe has no such key{plugin.did_you_mean(str(key), known)}", _moved(key, options)
            )
        given = {key: self.data.pop(key) for key in list(self.data) if key in options}
        if not given:
            return {}
        steps = {step: {"do": stage} for step, stage in STANDARD_STEPS.items() if publish or stage != "publish"}
        if backbone := _fitting_backbone(given):
            given["backbone"] = backbone
        for key, value in given.items():
            steps.setdefault(options[key], {"do": STANDARD_STEPS[options[key]]})[key] = value
        self.data["steps"] = steps
        return options

    def steps(self) -> dict[str, Any]:
        if "steps" not in self.data:
            self.fault("steps", "the recipe has no steps", "give a source and a task, or `danlu new --data my.csv`")
            return {}
        return dict(self.top("steps") or {})

    def override(self, steps: dict[str, Any], override: Override, short: Mapping[str, str]) -> None:
        first = override.path[0]
        if first in short and first not in steps:
            override = Override((short[first], *override.path), override.value, override.text)
            first = override.path[0]
        if len(override.path) == 1 and first in _TOP:
            return
        if first not in steps or not isinstance(steps[first], Mapping):
            names = [*steps, *short, *(() if len(override.path) > 1 else _TOP)]
            near = plugin.did_you_mean(first, names)
            self.fault(
                override.text,
                f"there is no step called {first!r}{near}",
                "begin it with a step's name, as in tuned.epochs=3",
            )
        elif len(override.path) == 1:
            steps[first] = override.value
        else:
            steps[first] = dict(steps[first])
            try:
                apply(steps[first], _entry(steps[first].get("do")) or _meant(steps[first]), override)
            except DanluError as error:
                self.faults.append(as_fault(error, first))

    def step(self, name: str, given: Any, fill: Mapping[str, Any]) -> None:
        if not _STEP_NAME.fullmatch(name) or name in _TOP:
            self.fault(f"steps.{name}", "is no name for a step", "use letters, digits, - and _, as in `tuned`")
        entry = self.stage(name, given)
        if entry is None:
            self.broken = True
            entry = _meant(given)
        if entry is None:
            return
        needs = entry.facts.get("needs", {})
        options = {key: value for key, value in given.items() if key != "do" and key not in needs}
        self.in_place_of(name, entry, given, options)
        for key, value in fill.items():
            if key in entry.fields and key not in options and value is not None:
                options[key] = value
        stage = resolve_options(entry, options, name, self.faults, self.base, self.versions)
        self.pointers(name, stage)
        inputs = {need: self.input(name, need, kind, given.get(need)) for need, kind in needs.items()}
        for where, named_step in stage.references(name):
            makers = [above.name for above in self.done if above.kind == named_step.kind]
            inputs[str(named_step)] = self.reference(where, str(named_step), named_step.kind, makers)
        self.done.append(Step(name, stage, {need: source for need, source in inputs.items() if source}))

    def in_place_of(self, step: str, entry: plugin.Entry, given: Mapping[str, Any], options: dict[str, Any]) -> None:
        """An input that stands for an option empties it; naming both is a fault."""
        for need, option in entry.facts.get("in_place_of", {}).items():
            if given.get(need) is not None:
                if option in options:
                    what = f"{need} already says what {option} would: only one of them can be named"
                    self.fault(f"{step}.{option}", what, f"leave out {step}.{option} or {step}.{need}")
                options[option] = None

    def stage(self, name: str, given: Any) -> plugin.Entry | None:
        if not isinstance(given, Mapping):
            self.fault(name, f"must be a mapping such as {{do: evaluate}}, not {shown(given)}")
        elif not isinstance(given.get("do"), str):
            stages = ", ".join(entry.name for entry in plugin.entries("stages"))
            self.fault(f"{name}.do", f"must name the stage that this step runs: {stages}", f"{name}.do=…")
        else:
            try:
                return plugin.find("stages", given["do"])
            except DanluError as error:
                self.faults.append(Fault(f"{name}.do", error.what, error.do))
        return None

    def input(self, step: str, need: str, kind: str, given: Any) -> str | None:
        """The step that an input comes from: the one named, else the nearest above that makes its kind.

        A kind that ends in `?` may be missing; one that ends in `??` is never taken unless it is named.
        """
        wanted, optional = kind.rstrip("?"), kind.endswith("?")
        makers = [above.name for above in self.done if above.kind == wanted]
        if given is not None:
            return self.reference(f"{step}.{need}", given, wanted, makers)
        if not makers and not optional and not self.broken:
            stages = [e.name for e in plugin.entries("stages") if e.facts.get("makes") == wanted]
            mend = f"add a step above it: {' or '.join(f'{{do: {stage}}}' for stage in stages)}" if stages else ""
            self.fault(f"{step}.{need}", f"it needs a {wanted}, and no step above makes one", mend)
        return makers[-1] if makers and not kind.endswith("??") else None

    def reference(self, where: str, given: Any, wanted: str, makers: list[str]) -> str | None:
        match = _REFERENCE.fullmatch(given) if isinstance(given, str) else None
        above = {step.name: step for step in self.done}
        mend = f"{where}='${makers[-1]}'" if makers else ""
        if not match:
            self.fault(where, f"must name a step above as `$step`, not {shown(given)}", mend)
        elif match[1] in above and above[match[1]].kind != wanted:
            made = above[match[1]].kind
            self.fault(where, f"wants a {wanted}, but {match[1]} makes a {made}", mend)
        elif match[1] in above:
            return match[1]
        elif not self.broken:
            self.fault(
                where, f"there is no step {match[1]!r} above it{plugin.did_you_mean(match[1], list(above))}", mend
            )
        return None

    def pointers(self, step: str, stage: Choice) -> None:
        """Files that are not there and assets that nobody knows are faults of the recipe."""
        for where, pointer in stage.pointers(step):
            missing = _missing(pointer)
            if missing:
                self.faults.append(Fault(where, missing.what, missing.do))

    def combinations(self) -> None:
        found = met(self.done)
        for step in self.done:
            own, above = found[step.name]
            self.faults += [*contradictions(own, above), *of_options(own, above), *idle(own), *in_any_run(own, above)]
            self.faults += lacking(own, step.stage.entry.facts["needs"], step.inputs)
        self.faults += in_several(self.done, self.ranks)


def _fields(stage: str) -> list[str]:
    entry = _entry(stage)
    return list(entry.fields) if entry else []


def _entry(stage: Any) -> plugin.Entry | None:
    try:
        return plugin.find("stages", stage) if isinstance(stage, str) else None
    except DanluError:
        return None


def _meant(step: Any) -> plugin.Entry | None:
    """The stage that a step with a wrong `do` is for, by its name or else its options, so that its other faults can be
    told too."""
    if not isinstance(step, Mapping):
        return None
    stages = {entry.name: entry for entry in plugin.entries("stages") if not entry.error}
    near = difflib.get_close_matches(str(step.get("do")), list(stages), n=1, cutoff=0.6)
    if near:
        return stages[near[0]]
    shared = {name: len(step.keys() & {*e.fields, *e.facts.get("needs", ())}) for name, e in stages.items()}
    best = [name for name, count in shared.items() if count and count == max(shared.values())]
    return stages[best[0]] if len(best) == 1 else None


def _fitting_backbone(given: Mapping[str, Any]) -> str:
    """The backbone for a short recipe that names none, where the default one does not fit its task."""
    with suppress(DanluError):
        task = plugin.find("tasks", named(given.get("task"), "tasks")[0])
        fits = fitting("backbones", task.gives)
        default = plugin.find("stages", STANDARD_STEPS["tuned"]).fields["backbone"]["default"]
        if "backbone" not in given and named(default, "backbones")[0] not in [entry.name for entry in fits]:
            return next((entry.name for entry in fits if entry.gives.get("learning") == "descent"), "")
    return ""


def _slug(text: str) -> str:
    return "-".join(re.findall(r"[a-z0-9]+", text.lower()))


def _moved(key: Any, options: Mapping[str, str]) -> str:
    owner = next((step for step, stage in STANDARD_STEPS.items() if key in _fields(stage)), "")
    return f"it is an option of a step: steps.{owner}.{key}" if owner and not options else ""


def _missing(pointer: Pointer) -> RecipeError | None:
    path = Path(pointer)
    if pointer.is_elsewhere or pointer.published:
        return None
    if pointer.startswith("asset:") and pointer.kind == "location":
        try:
            assets.find(pointer.removeprefix("asset:"))
        except RecipeError as error:
            return error
    elif not (pointer.kind == "location" and pointer.startswith("hub:")) and not path.exists():
        return RecipeError(
            f"there is no {path}{document.nearest(path)}",
            do=_THERE.get(pointer.kind, "name a file or folder that is there"),
        )
    return None
