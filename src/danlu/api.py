"""What a person imports: `danlu.run`, `danlu.check`, `danlu.load`. The command line is a thin skin over this module."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from danlu import recipe as recipes
from danlu.core import launch, machine, plugin
from danlu.core.artifact import Artifact, Store
from danlu.core.document import nearest
from danlu.core.errors import DanluError, Fault, RecipeError, RecipeFaults
from danlu.core.events import Event, Events
from danlu.core.files import disk_faults
from danlu.core.plan import Plan
from danlu.core.plugin import lazy
from danlu.core.resolve import Published, Versions, resolve
from danlu.core.sharing import ALONE, Ranks, in_several

if TYPE_CHECKING:
    from danlu.tuning.result import Tuned

bundle = lazy("danlu.bundle")
registry_store = lazy("danlu.registry.store")
summary = lazy("danlu.blocks.summary")
following = lazy("danlu.training.following")
searching = lazy("danlu.tuning.search")
advising = lazy("danlu.tuning.advice")
spaces = lazy("danlu.tuning.space")


@dataclass(frozen=True)
class Run:
    """A run that ended well: its artifacts by step, and where everything lies. In a notebook it shows its table."""

    name: str
    store: Store
    artifacts: Mapping[str, Artifact]
    reused: tuple[str, ...] = field(default=())
    """The steps whose result was there already."""

    def __getitem__(self, step: str) -> Artifact:
        return self.artifacts[step]

    @property
    def report(self) -> Path | None:
        """The HTML report of the last `evaluate` step, where there is one."""
        scores = self._last("scores")
        return scores.file("report.html") if scores else None

    @property
    def explanations(self) -> Path | None:
        """The page of the last `explain` step, where there is one."""
        explained = self._last("explanations")
        return explained.file("explanations.html") if explained else None

    @property
    def version(self) -> str | None:
        """The published version, `name@3`, where the run published one."""
        published = self._last("version")
        return str(published.json("version.json")["reference"]) if published else None

    @property
    def asked_as(self) -> str | None:
        """The published version as `danlu predict` takes it: `name` in production, else `name@alias` or `name@3`."""
        published = self._last("version")
        if published is None:
            return None
        told = published.json("version.json")
        alias = told.get("alias")
        return str(told["name"]) if alias == "production" else f"{told['name']}@{alias or told['number']}"

    @property
    def warnings(self) -> list[str]:
        """What may mislead a reader of the table, in sentences; a baseline that is not beaten comes first."""
        scores = self._last("scores")
        return list(scores.json("scores.json")["warnings"]) if scores else []

    def table(self) -> list[dict[str, Any]]:
        """The forms of the model and its baselines: metrics with 95 % intervals, megabytes, milliseconds an input.

        See `danlu.blocks.summary.rows`. Empty where nothing was measured.
        """
        scores, parity = self._last("scores"), self._last("parity")
        rows: list[dict[str, Any]] = summary.rows(
            scores.json("scores.json") if scores else None, parity.json("parity.json") if parity else None
        )
        return rows

    def _last(self, kind: str) -> Artifact | None:
        found = [artifact for artifact in self.artifacts.values() if artifact.kind == kind]
        return found[-1] if found else None

    def _repr_html_(self) -> str:
        return str(summary.html(self.table()))


@dataclass(frozen=True)
class Model:
    """A model that answers: a published version, or the folder of a model."""

    name: str
    predictor: Any = field(repr=False)
    forms: tuple[str, ...]
    form: str

    def predict(self, inputs: Sequence[Any]) -> list[Any]:
        """The answers, in the order of the inputs. Raises DataError naming the place of one that has none."""
        if isinstance(inputs, str | bytes):
            raise _wrong("inputs", "a list of inputs", inputs, "model.predict([one, another])")
        answers: list[Any] = self.predictor(inputs)
        return answers

    def explain(
        self, inputs: Sequence[Any], by: Any = "occlusion", told: Callable[[int, int], None] = lambda done, total: None
    ) -> list[Any]:
        """What each piece of the inputs did to the answers: an `Explanation` for each, as the explainer `by` finds it.

        `by` is written as in a recipe, or an explainer; `told` hears how many questions of how many were asked.
        Raises RecipeError for an explainer that does not go with the model, DataError for an input without an answer.
        """
        if isinstance(inputs, str | bytes) or not isinstance(inputs, Sequence):
            raise _wrong("inputs", "a list of inputs", inputs, "model.explain([one, another])")
        chosen = by if hasattr(by, "explain") else _named("explainers", by, "by")
        gives = self.predictor.task.gives
        for fact, fit in chosen.wants.items():
            if gives.get(fact, fit[0]) not in fit:
                what = f"{chosen.name} wants {fact} {' or '.join(fit)}, and this model's task gives {gives[fact]}"
                raise RecipeError(what, where=self.name, do="danlu list explainers")
        explained: list[Any] = chosen.explain(self.predictor, inputs, told)
        return explained

    def stream(self, x: Any) -> Iterator[Any]:
        """The answer to one input, piece by piece where its task gives pieces."""
        return iter(self.predictor.stream(x))


def check(
    recipe: Path | str | Mapping[str, Any],
    *overrides: str,
    imports: Sequence[Path | str] = (),
    store: Path | str | None = None,
    ranks: Ranks = ALONE,
) -> recipes.Recipe:
    """The recipe, checked; nothing is run. Raises RecipeFaults with everything that is wrong.

    Published models that it names are looked up in `store`, by default as `locate` finds it. With `ranks` all its
    trainings are checked for so many processes.
    """
    if not isinstance(recipe, str | Path | Mapping):
        raise _wrong("recipe", "a recipe's file, or the same as a mapping", recipe, "danlu.run('my.yaml')")
    for override in overrides:
        if not isinstance(override, str):
            raise _wrong("overrides", "text", override, "write step.option=value, such as 'tuned.epochs=3'")
    if not isinstance(imports, list | tuple) or not all(isinstance(path, str | Path) for path in imports):
        raise _wrong("imports", "a list of Python files", imports, "imports=['my_plugins.py']")
    path = None if isinstance(recipe, Mapping) else Path(recipe)
    return recipes.load(recipe, overrides, imports, published(store, path), ranks=ranks)


def check_ranks(plan: Plan, store: Store, ranks: Ranks) -> None:
    """Raise RecipeFaults with everything in a plan that so many processes can't train; what is there is not trained."""
    if not in_several(plan.steps, ranks):
        return
    reused = set[str]()
    with suppress(DanluError):  # such as a file that must be fetched first: then nothing is there
        reused = {preview.step.name for preview in plan.preview(store) if preview.status == "reused"}
    if faults := in_several(plan.steps, ranks, but=reused):
        raise RecipeFaults(faults, where=str(plan.path or "recipe"))


def run(
    recipe: Path | str | Mapping[str, Any],
    *overrides: str,
    steps: Sequence[str] = (),
    store: Path | str | None = None,
    imports: Sequence[Path | str] = (),
    trackers: Sequence[Any] = ("console",),
) -> Run:
    """Run a recipe: a file, or the same as a mapping. Steps whose result is there are reused.

    `overrides` are `step.option=value`. Of `steps`, those it names are run and those that they rest on, else all.
    `trackers` are written as a recipe writes plug-ins (`danlu list trackers`), or
    are such plug-ins. Raises RecipeError, DataError, MachineError or GateError by who must act; finished steps stay,
    and the next run goes on where this one stopped. As a rank of torchrun, rank 0 runs the recipe and the others take
    their share of its trainings.
    """
    machine.tune_threads_env()
    checked = check(recipe, *overrides, imports=imports, store=store)
    if not isinstance(steps, list | tuple) or not all(isinstance(step, str) for step in steps):
        raise _wrong("steps", "a list of names", steps, "steps=['data']")
    plan = checked.plan().only(steps)
    place = locate(store, checked.path)
    rank = launch.Place.here()
    if rank and rank.rank:
        return Run(checked.name, place, following.follow(plan, place, rank))
    if not isinstance(trackers, list | tuple):
        raise _wrong("trackers", "a list of trackers", trackers, "trackers=['console']")
    listening = [_tracker(given) for given in trackers]
    reused: list[str] = []

    def note(event: Event) -> None:
        if event.kind == "step_reused":
            reused.append(event.step)

    events = Events([note, *(tracker.on for tracker in listening)])
    try:
        with following.leading(rank) if rank else nullcontext():
            if rank:
                check_ranks(plan, place, Ranks(rank.world, rank.sharded))
            artifacts = plan.run(place, events)
    finally:
        for tracker in listening:
            tracker.close()
    return Run(checked.name, place, artifacts, tuple(reused))


def advise(recipe: Path | str | Mapping[str, Any], *overrides: str) -> dict[str, Any]:
    """Which backbone and method suit a recipe (or a CSV or TSV file), with time, memory and risks; nothing is trained.

    Returns `{name, data, machine, advice: [{about, choice, why, override}], risks: [{what, why, do}]}`. Raises
    RecipeError for a recipe that trains nothing, DataError for rows that can't be read.
    """
    machine.tune_threads_env()
    path = None if isinstance(recipe, Mapping) else Path(recipe)
    found: dict[str, Any] = advising.advise(recipe, overrides, published(None, path))
    return found


def tune(
    recipe: Path | str | Mapping[str, Any],
    *overrides: str,
    minutes: float = 20.0,
    trials: int | None = None,
    jobs: int | None = None,
    store: Path | str | None = None,
    imports: Sequence[Path | str] = (),
    listeners: Sequence[Callable[[Event], None]] = (),
) -> Tuned:
    """Find a better training for a recipe within a budget: baselines, then backbones, methods and settings.

    Trials are judged on the validation rows; the test rows are looked at once, for the winner. `trials` is how many to
    try at most, `jobs` how many to train at once, each in a process with its share of the cores; unless given, as many
    as suit the machine. A tune that was stopped goes on with what it found, and `minutes` count all its sessions.
    Raises RecipeError where there is nothing to tune, or the budget is too small for one trial.
    """
    machine.tune_threads_env()
    checked = check(recipe, *overrides, imports=imports, store=store)
    asked = spaces.Ask(checked, tuple(imports), published(store, checked.path))
    found: Tuned = searching.tune(
        asked, locate(store, checked.path), minutes=minutes, trials=trials, events=Events(listeners), jobs=jobs
    )
    return found


def _wrong(where: str, wanted: str, given: Any, do: str) -> RecipeError:
    """A caller gave something of another type."""
    return RecipeError(f"must be {wanted}, not {type(given).__name__} {given!r:.60}", where=where, do=do)


def _tracker(given: Any) -> Any:
    if not isinstance(given, str | Mapping):
        if not (callable(getattr(given, "on", None)) and callable(getattr(given, "close", None))):
            raise _wrong("trackers", "a tracker's name, or a tracker", given, "danlu list trackers")
        return given
    return _named("trackers", given, "trackers")


def _named(family: str, given: Any, where: str) -> Any:
    """A plug-in, written as in a recipe."""
    faults: list[Fault] = []
    chosen = resolve(family, given, where, faults)
    if faults or chosen is None:
        raise RecipeFaults(faults, where=where)
    return chosen.make(where)


def locate(store: Path | str | None, recipe: Path | None = None) -> Store:
    """The store of a recipe, or of the working folder.

    `store`, else DANLU_STORE, else the nearest `.danlu` in the recipe's folder or above. Where there is none yet it
    belongs into the working folder if the recipe lies below it, else beside the recipe.
    """
    here = Path.cwd()
    near = recipe.absolute().parent if recipe else here
    if not isinstance(store, str | Path | None):
        raise _wrong("store", "a folder", store, "store='my-store'")
    found = Store.locate(Path(store) if store else None, near)
    if not found.path.is_dir() and not store and near.is_relative_to(here):
        return Store.locate(None, here)
    return found


def published(store: Path | str | None, recipe: Path | None = None) -> Versions:
    """What tells a recipe of the versions in a store; see `locate`."""

    def find(reference: str) -> Published:
        found: Published = registry_store.Registry(locate(store, recipe).path).published(reference)
        return found

    return find


def load(
    model: Path | str,
    *,
    form: str = "",
    store: Path | str | None = None,
    imports: Sequence[Path | str] = (),
    batch_size: int = 32,
) -> Model:
    """A model that answers: `name` (its production version), `name@3`, `name@alias`, or the folder of a model.

    `form` is one of its forms, such as `trained`; by default the one that is served. Every byte is checked by SHA-256.
    `imports` are Python files with plug-ins of your own that the model was made with.
    Raises RecipeError when there is no such version, DataError when there is no such form or a file is damaged.
    """
    machine.tune_threads_env()
    if not isinstance(model, str | Path):
        raise _wrong("model", "the name of a model or its folder", model, "danlu.load('my-model')")
    for path in imports:
        plugin.add_file(Path(path))
    folder = Path(model)
    if isinstance(model, Path) or os.sep in model or (folder / "forms.json").is_file():
        if not folder.is_dir():
            what = "this is a file, and a model is a folder" if folder.is_file() else "there is no such folder"
            near = "" if folder.exists() else nearest(folder)
            raise RecipeError(what + near, where=str(model), do="`danlu versions` lists the published models")
        name = folder.name
    else:
        registry = registry_store.Registry(locate(store).path)
        version = registry.resolve(model)
        folder, name = registry.open(version), version.reference
    forms = bundle.Forms.open(folder)
    chosen = form or forms.default
    forms.spec(chosen)
    return Model(name, bundle.load(forms.folder(chosen), batch_size=batch_size), forms.names, chosen)


def clean(store: Path | str | None = None, *, dry_run: bool = False) -> dict[str, Any]:
    """Free what no version and no recent run needs; a version has files of its own, so it needs no artifact.

    Returns `{store, bytes, removed, broken}`: `removed` tells what each thing was and where it lay, `broken` what is
    wrong with the artifacts that were left alone, since nobody can tell what they are.
    """
    place = locate(store)
    with disk_faults(place.path):
        cleaned = place.clean(dry_run=dry_run)
        garbage = registry_store.Registry(place.path).clean(dry_run=dry_run)
    artifacts = [{"what": f"{a.kind} of {a.manifest['step']}", "path": str(a.path)} for a in cleaned.artifacts]
    unused = [{"what": "a file that no version needs", "path": str(path)} for path in sorted(garbage.files)]
    broken = [{"what": fault.what, "path": fault.where, "do": fault.do} for fault in cleaned.broken]
    return {
        "store": str(place.path),
        "bytes": cleaned.bytes + garbage.size,
        "removed": [*artifacts, *unused],
        "broken": broken,
    }
