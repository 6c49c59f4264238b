"""Publish a model as the next version under a name, if it keeps what the recipe requires of it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from danlu.contracts import Stage
from danlu.core import plugin
from danlu.core.artifact import Artifact, Draft, Store
from danlu.core.errors import DanluError, GateError
from danlu.core.files import link_or_copy
from danlu.core.settings import MetricName
from danlu.registry import card, facts
from danlu.registry.metadata import Metadata
from danlu.registry.store import Registry
from danlu.registry.versions import Version, check_alias, check_name, relabelled

if TYPE_CHECKING:
    from danlu.core.events import Events

Requirement = Annotated[str, Field(pattern=r"^\s*(>=|<=|>|<)\s*-?\d+(\.\d+)?\s*$")]
_HOLDS = {
    ">=": lambda value, bound: value >= bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    "<": lambda value, bound: value < bound,
}


class Publish(Stage):
    """A version is a number that never changes its meaning; one alias, if named, moves to it.

    What is published is what was measured: where the recipe has a `verify` step every form must have passed it, and
    `require` must hold for every form; `size` for every form that has files, which the one over HTTP has not. Content
    that is published already, byte for byte, keeps its version and record. Labels that differ from those of the version
    before are a warning: whoever calls it may rely on them.
    """

    needs: ClassVar[Mapping[str, str]] = {"model": "model", "scores": "scores?", "parity": "parity?"}
    makes: ClassVar[str] = "version"

    name: str = Field(min_length=1)
    """The model's name: lowercase letters, digits, `-`, `_` and `.`; the recipe's own name unless given."""
    alias: str | None = Field(default=None, pattern=r"^[a-z][a-z0-9]*([._-]+[a-z0-9]+)*$")
    """The alias to move to the new version, such as `production`; no other is touched."""
    require: dict[MetricName, Requirement] = Field(default_factory=dict)
    """Metric → bound, such as `{accuracy: ">= 0.86"}`; each must hold for every form of the version."""
    description: str = ""
    """What the model is for and what it is not for, in the words of its card."""
    licence: str = ""
    """The licence of the model, for its card."""
    why: str = ""
    """The reason, kept in the audit."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `version.json`, `card.md` and `card.html`.

        Raises GateError when a form or a requirement is missed, when something else was measured than is published,
        and when somebody else moves the alias meanwhile.
        """
        check_name(self.name)
        if self.alias:
            check_alias(self.alias)
        model, scores, parity = inputs["model"], inputs.get("scores"), inputs.get("parity")
        for measured in filter(None, (scores, parity)):
            _check_same_model(measured, model)
        scored = scores.json("scores.json") if scores else None
        compared = parity.json("parity.json") if parity else None
        forms = model.json("forms.json")
        self.check_gates(scored, compared, tuple(forms["forms"]))
        line = facts.ancestors(inputs.values(), Store(out.store))
        recipe = facts.recipe_text(self.name, line, out.about)
        metadata = self.described(facts.gather(line, scored, compared, default=forms["default"], recipe=recipe))
        registry = Registry(out.store)
        before = registry.aliases(self.name).get(self.alias) if self.alias else None
        version = self.store_files(registry, model, out, metadata, [artifact.manifest for artifact in line])
        _write(version, self.alias, out)
        if self.alias:
            registry.move(self.name, self.alias, to=version.number, expect=before, why=self.why)
        _tell(version, self.alias, before, events)
        if warning := _relabelled(registry, version, before):
            out.notes.append(warning)
            events.warn(warning)

    def check_gates(self, scores: Any, parity: Any, forms: tuple[str, ...]) -> None:
        """Raise GateError, saying everything that is missed, unless all forms passed and every requirement holds."""
        compared = parity["forms"] if parity else {}
        missed = [f"the form {name} did not pass" for name, told in compared.items() if not told["passed"]]
        missed += [f"the form {name} was not verified" for name in forms if parity and name not in compared]
        measured = {name: told["metrics"] for name, told in compared.items()}
        if scores and not parity:
            measured = {scores["form"]: scores["metrics"]}
        for metric, bound in self.require.items():
            if not measured:
                missed.append(f"{metric} {bound}: nothing was measured; add a step {{do: verify}} above")
            asked = [form for form in measured if form in forms or metric in measured[form] or not _of_files(metric)]
            missed += [fault for form in asked if (fault := _missed(metric, bound, form, measured[form]))]
        if missed:
            raise GateError("it is not published: " + "; ".join(missed), do="train longer, or require less, knowingly")

    def described(self, metadata: Metadata) -> Metadata:
        """The metadata with what only the recipe can say."""
        told: Metadata = {"required": dict(self.require)}
        if self.description:
            told["description"] = self.description
        if self.licence:
            told["licence"] = self.licence
        return {**metadata, **told}

    def store_files(
        self, registry: Registry, model: Artifact, out: Draft, metadata: Metadata, manifests: list[Mapping[str, Any]]
    ) -> Version:
        """Publish the model's files without their manifest: that tells of one run, a version of what the model is."""
        folder = out.work / "version"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            for name in model.manifest["files"]:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(model.file(name), target)
            return registry.publish(self.name, folder, metadata=metadata, manifests=manifests, why=self.why)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def still(self, artifact: Artifact, store: Path) -> bool:
        """Whether the version is there and the alias points to it: a rollback since then is not quietly kept."""
        told = artifact.json("version.json")
        registry = Registry(store)
        try:
            version = registry.version(self.name, told["number"])
            points = registry.aliases(self.name).get(self.alias) if self.alias else version.number
        except DanluError:
            return False
        return version.digest == told["digest"] and points == version.number


def _check_same_model(measured: Artifact, model: Artifact) -> None:
    told = measured.manifest["inputs"]["model"]
    if told["digest"] != model.digest:
        step = measured.manifest["step"]
        what = f"the step {step} measured the model of {told['step']}, and another one would be published"
        raise GateError(what, do=f"{step}.model='${model.manifest['step']}', or move {step} below it")


def _of_files(metric: str) -> bool:
    """Whether a metric looks at a form itself, so that the served one, which has no files of its own, may lack it."""
    return any(entry.name == metric and entry.facts["of"] == "form" for entry in plugin.entries("metrics"))


def _missed(metric: str, bound: str, form: str, metrics: Mapping[str, Any]) -> str:
    """What a form lacks of a requirement, or nothing."""
    if metric not in metrics:
        return f"{metric} was not measured on the form {form}; add it to the metrics of verify"
    value = metrics[metric]["value"]
    if value is None:
        return f"{metric} of the form {form} has no single number, so nothing can be required of it"
    sign, number = re.findall(r"[<>]=?|[-\d.]+", bound)
    return "" if _HOLDS[sign](value, float(number)) else f"{metric} of the form {form} is {value:.4f}, not {bound}"


def _tell(version: Version, alias: str | None, before: int | None, events: Events) -> None:
    size = f"{version.size / 1e6:.1f} MB"
    published = f"published {version.reference}, {size}"
    there = f"{version.reference} has this content already, byte for byte, and keeps its number and its card"
    moved = f", before to {version.name}@{before}" if before not in (None, version.number) else ""
    points = f"; {version.name}@{alias} points to it{moved}" if alias else ""
    events.note((published if version.created else there) + points)


def _relabelled(registry: Registry, version: Version, pointed: int | None) -> str:
    """What changed in the labels since the version that the alias pointed to, else since the one before; or nothing."""
    if pointed is None:
        pointed = max((one.number for one in registry.versions(version.name) if one.number < version.number), default=0)
    return relabelled(registry.version(version.name, pointed), version) if pointed else ""


def _write(version: Version, alias: str | None, out: Draft) -> None:
    told: dict[str, Any] = {name: getattr(version, name) for name in ("reference", "name", "number", "digest")}
    told |= {"alias": alias}
    (out.path / "version.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (out.path / "card.md").write_text(card.markdown(version), encoding="utf-8")
    (out.path / "card.html").write_text(card.html(version), encoding="utf-8")
    out.numbers.update(version=version.number, bytes=version.size)
