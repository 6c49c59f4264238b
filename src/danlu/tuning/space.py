"""What a tune may try: the baselines, and the backbones, methods and settings of the recipe's training.

A candidate is a few overrides of the recipe, so that a trial is a run like any other, and what is found can be written
down as a recipe.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from danlu import recipe as recipes
from danlu.core import assets, plugin
from danlu.core.combine import fitting
from danlu.core.errors import RecipeError, RecipeFaults
from danlu.core.plan import Plan, Step
from danlu.core.resolve import Typed, Versions
from danlu.training.settings import FROM_SCRATCH

METHODS = ("full", "lora", "last_layers", "adapter")
"""Of the methods those that reach most (docs/methods.md); each further one thins out a search of a few trials."""
FEW_SHOT = "few_shot"
"""Tried too where every label has few rows."""
FEW = (2, 64)
"""The rows of the rarest and of the commonest label between which it is tried (docs/methods.md)."""
LEARNT: Mapping[str, Mapping[str, Any]] = {"fasttext": {"lr": 0.01, "epochs": 5}}
"""Baselines that descend a gradient, yet learn in seconds, with what suits them (docs/classic.md)."""
TECHNIQUES = ("label_smoothing", "ema", "r_drop", "fgm")
BEGUN_WITH = ("fgm", "r_drop")
"""Of these the ones that a tune begins with, each at twice the rate: for twice the time of a step they won a point on
the validation rows of movie-snippets (docs/proofs.md)."""
LOOKS = 4
"""Looks at the validation rows in a trial, evenly: what the pruner judges by."""
_ENCODERS = ("minilm",)
"""Assets that are a pretrained encoder which `finetune` takes as it is."""
_LENGTHS, _SIZES, _DROPOUTS = (0.5, 1.0, 2.0), (16, 32, 64), (0.0, 0.1, 0.2)
_TWO_PASSES = "r_drop"
_FACTORS = (0.3, 4.0)
"""The learning rate is searched between these multiples of the recipe's, or of the method's own."""
_A_DOUBLING = 2
"""Rates within each doubling of the rate. Nearer ones are one candidate, which is not trained twice."""
_OWN = "the recipe's"

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Ask:
    """A recipe to tune, its overrides in their places, and the folder in which its relative paths start."""

    recipe: recipes.Recipe
    imports: tuple[Path | str, ...] = ()
    versions: Versions | None = None
    """What tells of published versions that it names."""

    @property
    def base(self) -> Path:
        return self.recipe.path.absolute().parent if self.recipe.path else Path.cwd()

    def given(self) -> dict[str, Any]:
        """The recipe as a mapping of one's own."""
        found: dict[str, Any] = settled(self.recipe.given)
        return {"name": self.recipe.name, **found} if self.recipe.name else found

    def load(self, given: Mapping[str, Any], overrides: Sequence[str] = ()) -> recipes.Recipe:
        """A mapping like `given`, checked. Raises RecipeFaults."""
        return recipes.load(given, overrides, self.imports, self.versions, self.base)


def settled(value: Any) -> Any:
    """A copy in which paths that were typed start where they were typed."""
    if isinstance(value, Mapping):
        return {str(key): settled(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [settled(item) for item in value]
    if isinstance(value, Typed):
        return str(Path(value).absolute()) if ("/" in value or "." in value) and Path(value).exists() else str(value)
    return value


@dataclass(frozen=True)
class Space:
    """What may be tried of one recipe."""

    ask: Ask
    step: str
    """The step that trains."""
    data: str
    """The step whose data set it learns from."""
    backbones: Mapping[str, Any]
    """A name for people → what a recipe writes; None for the recipe's own, which is the first."""
    baselines: tuple[str, ...]
    methods: Mapping[str, tuple[str, ...]]
    """Backbone's label → the methods that fit it."""
    techniques: tuple[str, ...]
    left_out: tuple[str, ...] = field(default=())
    """What is not tried, and why."""
    watch: str = ""
    """The metric that every trial watches, where the recipe names none."""

    @property
    def recipe(self) -> recipes.Recipe:
        """The recipe as it was asked for."""
        return self.ask.recipe

    @property
    def own(self) -> Mapping[str, Any]:
        """The training's options as the recipe has them, defaults included."""
        options: Mapping[str, Any] = _step(self.recipe, self.step).stage.settings
        return options

    def own_plain(self) -> dict[str, Any]:
        """The same, in JSON values."""
        return _step(self.recipe, self.step).stage.plain()

    def words(self, params: Params) -> str:
        """A candidate for people: what differs from one to the next."""
        backbone = str(params["backbone"])
        parts = [backbone, str(params[f"method of {backbone}"])]
        entry, own = self._entry(backbone), backbone == next(iter(self.backbones))
        parts.append(f"lr {self._rate(own, parts[1], entry) * params['lr']:.2g}")
        parts += [f"{name} {value:g}" for name, value in self._length(params["length"], parts[1]).items() if value]
        parts += [f"batch {params['batch_size']}"] if "batch_size" in params else []
        parts += [f"dropout {params['dropout']:g}"] if params.get("dropout") is not None else []
        parts += [params["technique"]] if params.get("technique", "none") != "none" else []
        return ", ".join(parts)

    # ---- what a trial is ---------------------------------------------------------------------------------------------

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The next candidate, asked of an Optuna trial."""
        backbone = trial.suggest_categorical("backbone", list(self.backbones))
        found = {
            "backbone": backbone,
            f"method of {backbone}": trial.suggest_categorical(f"method of {backbone}", list(self.methods[backbone])),
            "lr": _rounded(trial.suggest_float("lr", *_FACTORS, log=True)),
            "length": trial.suggest_categorical("length", list(_LENGTHS)),
        }
        if self.own["batch_size"] != "auto":
            found["batch_size"] = trial.suggest_categorical("batch_size", self.sizes)
        if "dropout" in self._entry(backbone).fields:
            found["dropout"] = trial.suggest_categorical("dropout", [None, *_DROPOUTS])
        if self.techniques:
            found["technique"] = trial.suggest_categorical("technique", ["none", *self.techniques])
            if found["technique"] == _TWO_PASSES and found.get("dropout") == 0:
                found["technique"] = "none"  # without dropout both passes say the same, and the training refuses it
        return found

    @property
    def sizes(self) -> list[int]:
        return sorted({*_SIZES, int(self.own["batch_size"])})

    def first(self) -> list[dict[str, Any]]:
        """What to begin with: the recipe as it is, a higher rate, techniques, other methods, other backbones."""
        rest: dict[str, Any] = {"length": 1.0, "technique": "none", "dropout": None}
        if self.own["batch_size"] != "auto":
            rest["batch_size"] = self.own["batch_size"]
        own, *others = self.backbones
        as_it_is, *methods = self.methods[own]
        made = [(own, as_it_is, 1.0, "none"), (own, as_it_is, 2.0, "none")]
        made += [(own, as_it_is, 2.0, name) for name in BEGUN_WITH if name in self.techniques]
        made += [(own, method, 1.0, "none") for method in methods]
        made += [(label, self.methods[label][0], 1.0, "none") for label in others]
        return [{**rest, "backbone": b, f"method of {b}": m, "lr": rate, "technique": t} for b, m, rate, t in made]

    def overrides(self, params: Params, rows: int) -> list[str]:
        """A candidate as overrides of the recipe; `rows` are those it trains on."""
        backbone = str(params["backbone"])
        entry, method = self._entry(backbone), str(params[f"method of {backbone}"])
        own = backbone == next(iter(self.backbones))
        made: dict[str, Any] = {} if own else {"backbone": self.backbones[backbone]}
        own_method = self.own["method"].name
        if not (own and method == own_method):
            made["method"] = method
        if params.get("dropout") is not None:
            made[f"backbone.{entry.name}.dropout"] = params["dropout"]
        made |= self._length(params["length"], method)
        made["lr"] = float(f"{self._rate(own, method, entry) * params['lr']:.3g}")
        if "batch_size" in params:
            made["batch_size"] = params["batch_size"]
        if params.get("technique", "none") != "none":
            made["techniques"] = [params["technique"]]
        made |= self._looks(made, rows)
        if self.watch:
            made["watch"] = self.watch
        return [f"{self.step}.{name}={_written(value)}" for name, value in made.items()]

    def baseline(self, name: str) -> list[str]:
        """A baseline as an override: the whole step, since the recipe's rate and method are not for it."""
        told = {"do": "finetune", "dataset": f"${self.data}", "backbone": name, **LEARNT.get(name, {})}
        return [f"{self.step}={_written(told)}"]

    def trial(self, overrides: Sequence[str]) -> recipes.Recipe:
        """The steps that a trial runs, the training and what it builds on. Raises RecipeFaults where it can't be so."""
        return self.ask.load(part(self.ask, self.step), overrides)

    def plan(self, overrides: Sequence[str]) -> Plan:
        """A trial's plan; its runs have a name of their own, so that `danlu clean` keeps the recipe's."""
        return replace(self.trial(overrides).plan(), name=f"{self.recipe.name}.tune", path=self.recipe.path)

    # ---- parts of a candidate ----------------------------------------------------------------------------------------

    def _entry(self, label: str) -> plugin.Entry:
        value = self.backbones[label]
        name = (
            self.own["backbone"].name if value is None else next(iter(value)) if isinstance(value, Mapping) else value
        )
        return plugin.find("backbones", name)

    def _rate(self, own: bool, method: str, entry: plugin.Entry) -> float:
        """The rate that the search is centred on: the recipe's, else the method's, else that of fresh weights."""
        given = self.own["lr"]
        if own and method == self.own["method"].name and isinstance(given, float):
            return given
        found = plugin.find("methods", method).facts["lr"] if entry.name == "pretrained" else FROM_SCRATCH
        return float(found) * float(self.own["optimizer"].entry.facts.get("lr_scale", 1.0))

    def _length(self, factor: float, method: str) -> dict[str, Any]:
        """How long: the recipe's own length times this, or the method's, where it has one that the recipe leaves."""
        steps = plugin.find("methods", method).facts.get("steps")
        named = self.own["steps"] or self.own["epochs"]
        if steps and not (named and method == self.own["method"].name):
            return {"steps": max(1, round(steps * factor)), "epochs": None}
        if self.own["steps"]:
            return {"steps": max(1, round(self.own["steps"] * factor))}
        return {"epochs": (self.own["epochs"] or 2.0) * factor}

    def _looks(self, made: Mapping[str, Any], rows: int) -> dict[str, Any]:
        if self.own["evaluate_every"] or "batch_size" not in made:
            return {}
        steps = made.get("steps") or math.ceil(
            made["epochs"] * math.ceil(rows / made["batch_size"] / self.own["accumulate"])
        )
        return {"evaluate_every": max(1, math.ceil(steps / LOOKS))}


def part(ask: Ask, last: str) -> dict[str, Any]:
    """The recipe with no other steps than `last` and what it builds on."""
    wanted, given = {last}, ask.given()
    for step in reversed(ask.recipe.steps):
        if step.name in wanted:
            wanted |= set(step.inputs.values())
    return given | {"steps": {name: step for name, step in given["steps"].items() if name in wanted}}


def _step(recipe: recipes.Recipe, name: str) -> Step:
    return next(step for step in recipe.steps if step.name == name)


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# ---- finding out what fits ------------------------------------------------------------------------------------------


def _rounded(factor: float) -> float:
    return float(2 ** (round(math.log2(factor) * _A_DOUBLING) / _A_DOUBLING))


def of(ask: Ask, language: str = "", counts: Mapping[str, int] | None = None) -> Space:
    """What may be tried of a recipe; `language` is that of its texts and `counts` are the training rows of each label,
    where they are known.

    Raises RecipeError for a recipe that trains nothing.
    """
    recipe = ask.recipe
    trainings = [step for step in recipe.steps if step.stage.name == "finetune"]
    if not trainings:
        raise RecipeError("it has no step that trains", where=str(recipe.path or "recipe"), do="add {do: finetune}")
    step = trainings[-1]
    own, given = step.stage.settings, _gives(recipe, step)
    if own["folds"]:
        what = "a training in folds learns the validation rows, and a tune judges by them"
        raise RecipeError(what, where=f"{step.name}.folds", do=f"{step.name}.folds=null, and folds for the winner")
    backbones: dict[str, Any] = {}
    left_out: list[str] = []
    if own["backbone"] is None:
        backbones[_OWN] = "pretrained"  # a base of another step: its methods are those of trained weights
    elif own["backbone"].entry.gives.get("learning") == "descent":
        backbones[label(own["backbone"].plain())] = None
    if "base" not in step.inputs:
        name = own["backbone"].name if own["backbone"] else ""
        others = [*_weights(given, language, left_out), *(one for one in _small(given) if one != name)]
        backbones |= {name: one for one in others if (name := label(one)) not in backbones}
    draft = Space(ask, step.name, step.inputs["dataset"], backbones, (), {}, (), tuple(left_out))
    few = bool(counts and FEW[0] <= min(counts.values()) and max(counts.values()) <= FEW[1])
    return _checked(draft, given, (*METHODS, FEW_SHOT) if few else METHODS)


def _checked(draft: Space, given: Mapping[str, str], known: Sequence[str]) -> Space:
    """The space without what `danlu check` refuses; `known` are the methods to try on trained weights."""
    simple = [e for e in fitting("backbones", given) if _is_baseline(e) and _here(e)]
    simple.sort(key=lambda entry: (bool(_read(entry)), entry.name in LEARNT))  # seconds before minutes
    baselines = tuple(e.name for e in simple if _fits(draft, draft.baseline(e.name)))
    methods = {}
    for named, value in draft.backbones.items():
        own = [draft.own["method"].name] if value is None or named == _OWN else []
        trained = draft._entry(named).name == "pretrained"
        names = dict.fromkeys([*own, *(known if trained else ("full",))])
        more = [] if value is None or named == _OWN else [f"{draft.step}.backbone={_written(value)}"]
        fits = [name for name in names if _fits(draft, [*more, f"{draft.step}.method={name}"])]
        if fits:
            methods[named] = tuple(fits)
    tried = () if draft.own["techniques"] else TECHNIQUES
    techniques = tuple(t for t in tried if _fits(draft, [f"{draft.step}.techniques=[{t}]"]))
    backbones = {named: draft.backbones[named] for named in methods}
    return replace(draft, backbones=backbones, baselines=baselines, methods=methods, techniques=techniques)


def _is_baseline(entry: plugin.Entry) -> bool:
    """Whether a backbone counts, or learns as fast as if it did."""
    return entry.gives.get("learning", "descent") != "descent" or entry.name in LEARNT


def _read(entry: plugin.Entry) -> str:
    """The asset with the encoder that a baseline reads; empty for one that reads none."""
    model = str(entry.fields.get("model", {}).get("default"))
    return model.removeprefix("asset:") if model.startswith("asset:") else ""


def _here(entry: plugin.Entry) -> bool:
    """Whether the asset that a baseline reads, where it reads one, is on this machine."""
    return not (asset := _read(entry)) or assets.is_here(assets.find(asset))


def _fits(draft: Space, overrides: Sequence[str]) -> bool:
    try:
        draft.trial(overrides)
    except RecipeFaults:
        return False
    return True


def _gives(recipe: recipes.Recipe, step: Step) -> dict[str, str]:
    """The facts that the data's task gives."""
    data = _step(recipe, step.inputs["dataset"]).stage.settings
    return dict(data["task"].entry.gives)


def label(value: Any) -> str:
    """`pretrained minilm`, `gru`, `cnn small`: a backbone for people."""
    if not isinstance(value, Mapping):
        return str(value)
    name, options = next(iter(value.items()))
    told = options.get("model") or options.get("size") if isinstance(options, Mapping) else options
    return f"{name} {str(told).removeprefix('asset:')}" if isinstance(told, str) else str(name)


def _weights(given: Mapping[str, str], language: str, left_out: list[str]) -> list[Any]:
    """Pretrained encoders that are on this machine and know the data's language."""
    if not any(entry.name == "pretrained" for entry in fitting("backbones", given)):
        return []
    found = []
    for asset in map(assets.find, _ENCODERS):
        if not assets.is_here(asset):
            left_out.append(f"{asset.name}: not on this machine; `danlu assets get {asset.name}`")
        elif language and language not in asset.language.replace(",", " ").split():
            left_out.append(f"{asset.name}: it knows {asset.language}, and the texts are in another language")
        else:
            found.append({"pretrained": {"model": f"asset:{asset.name}"}})
    return found


def _small(given: Mapping[str, str]) -> list[str]:
    """Networks from scratch that need little data, recurrent and convolutional ones, but for those tried before."""
    entries = [e for e in fitting("backbones", given) if e.gives.get("learning") == "descent" and e.name not in LEARNT]
    needs_nothing = [e for e in entries if not any(f.get("required") for f in e.fields.values())]
    return [e.name for e in needs_nothing if e.gives.get("layers") == "other" and e.origin == "danlu"]
