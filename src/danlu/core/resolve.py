"""Values of a recipe, checked against the index of plug-ins without importing one.

A `Choice` is a plug-in named and every option of it settled, defaults included. It is what reuse keys and manifests are
made of; the plug-in itself is made from it when a step really runs (`Choice.make`).
"""

from __future__ import annotations

import math
import os
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from pydantic import ValidationError

from danlu.core import assets, digests, plugin
from danlu.core.errors import DanluError, Fault, RecipeFaults
from danlu.core.settings import is_pattern, is_url, named, with_main, worded
from danlu.core.wording import hint, key_text, shown, words

_VERSION = re.compile(r"[a-z0-9][a-z0-9._-]*@[^@\s/]+")
_STEP = re.compile(r"\$[A-Za-z_][A-Za-z0-9_-]*")
_INSIDE = ("$defs", "items", "prefixItems", "properties", "additionalProperties", "required")


class Typed(str):
    """Text from the command line: a relative path in it starts at the working folder, not at the recipe's."""

    __slots__ = ()


@dataclass(frozen=True)
class Published:
    """A published version of a model: `name@3`, what it holds, and what gives its folder, each byte of it checked."""

    reference: str
    digest: str
    open: Callable[[], Path]


Versions: TypeAlias = Callable[[str], Published]
"""What `name@3` or `name@alias` stands for. Raises DanluError where there is no such version."""


class Pointer(str):
    """A path or location whose content belongs in a reuse key; it is absolute, or names something."""

    kind: str
    """`files`, `rows`, `location`, `model` or `dataset`."""
    published: Published | None

    def __new__(cls, text: str, kind: str, published: Published | None = None) -> Pointer:
        made = super().__new__(cls, text)
        made.kind, made.published = kind, published
        return made

    @property
    def is_elsewhere(self) -> bool:
        """Whether what lies there is told by the plug-in's own fingerprint: a URL, a pattern."""
        return self.kind == "rows" and (is_url(self) or is_pattern(self))

    def fingerprint(self) -> str:
        """What it holds. Raises DataError when it is missing, MachineError when it must be fetched first."""
        if self.is_elsewhere:
            return ""
        if self.published:
            return self.published.digest
        return assets.fingerprint(str(self)) if self.kind == "location" else digests.path_digest(Path(self))


class Reference(str):
    """`$step` where a plug-in takes a model or a data set: that of a step above, an input of the step by this name."""

    kind = "model"


@dataclass(frozen=True)
class Choice:
    """A plug-in by name, with every option settled; a slot holds a Choice, or a list or mapping of them."""

    family: str
    name: str
    settings: Mapping[str, Any]

    @property
    def entry(self) -> plugin.Entry:
        """What the index knows of the plug-in."""
        return plugin.find(self.family, self.name)

    def plain(self) -> dict[str, Any]:
        """`{name: {option: value}}` in JSON values; resolving it again gives an equal Choice."""
        return {self.name: _each(self.settings, "", lambda leaf, _: _plain(leaf))}

    def nested(self, where: str) -> Iterator[tuple[str, Choice]]:
        """Every plug-in in its slots, and in theirs, with the slot's path; its options' paths begin with `where`."""
        for place, leaf in _leaves(self.settings, where):
            if isinstance(leaf, Choice):
                yield place, leaf
                yield from leaf.nested(f"{place}.{leaf.name}")

    def pointers(self, where: str) -> Iterator[tuple[str, Pointer]]:
        """Every file and location that it and its nested plug-ins point at, with its path; see `nested`."""
        yield from ((place, leaf) for place, leaf in self._all(where) if isinstance(leaf, Pointer))

    def references(self, where: str) -> Iterator[tuple[str, Reference]]:
        """Every model and data set of steps above that it and its nested plug-ins take, with its path; see `nested`."""
        yield from ((place, leaf) for place, leaf in self._all(where) if isinstance(leaf, Reference))

    def _all(self, where: str) -> Iterator[tuple[str, Any]]:
        yield from _leaves(self.settings, where)
        for slot, choice in self.nested(where):
            yield from _leaves(choice.settings, f"{slot}.{choice.name}")

    def filled(self, models: Mapping[str, Path]) -> Choice:
        """This plug-in with folders in the place of references to models and data sets; `models` is by reference."""

        def fill(leaf: Any, _: str) -> Any:
            if isinstance(leaf, Choice):
                return leaf.filled(models)
            return Pointer(str(models[leaf]), leaf.kind) if isinstance(leaf, Reference) else leaf

        return Choice(self.family, self.name, _each(self.settings, "", fill))

    def identity(self) -> dict[str, Any]:
        """What a result depends on: settings with the content of what they point at, and the code of every plug-in.

        A plug-in that says its fingerprint is None is never equal to itself, so that its step runs each time.
        """
        entry = self.entry
        told: dict[str, Any] = {
            "plugin": f"{self.family}/{self.name}",
            "code": plugin.identity(entry),
            "settings": _each(self.settings, "", lambda leaf, _: _identity(leaf)),
        }
        if "fingerprint" in entry.overrides:
            fingerprint = self.make("").fingerprint()
            told["fingerprint"] = secrets.token_hex(16) if fingerprint is None else fingerprint
        return told

    def make(self, where: str) -> Any:
        """The plug-in itself; this imports its class. Raises RecipeFaults when the class refuses its settings.

        `where` is what the paths of its options begin with.
        """
        cls = plugin.load(self.family, self.name)
        try:
            return cls(**_each(self.settings, where, _made))
        except ValidationError as error:
            raise RecipeFaults(worded(error, where, list(self.entry.fields))) from error


def _plain(leaf: Any) -> Any:
    return leaf.plain() if isinstance(leaf, Choice) else str(leaf) if isinstance(leaf, Pointer | Reference) else leaf


def _identity(leaf: Any) -> Any:
    if isinstance(leaf, Choice):
        return leaf.identity()
    return {"content": leaf.fingerprint()} if isinstance(leaf, Pointer) else leaf


def _made(leaf: Any, where: str) -> Any:
    if isinstance(leaf, Pointer) and leaf.published:
        return str(leaf.published.open())
    return leaf.make(f"{where}.{leaf.name}") if isinstance(leaf, Choice) else _plain(leaf)


def _each(value: Any, where: str, change: Callable[[Any, str], Any]) -> Any:
    """The value with every leaf changed; a leaf is what is neither mapping nor list, and is told its path."""
    if isinstance(value, Mapping):
        return {key: _each(item, f"{where}.{key}", change) for key, item in value.items()}
    if isinstance(value, list):
        return [_each(item, where, change) for item in value]
    return change(value, where)


def _leaves(value: Any, where: str) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    _each(value, where, lambda leaf, place: found.append((place, leaf)))
    return found


def resolve(family: str, value: Any, where: str, faults: list[Fault], base: Path | None = None) -> Choice | None:
    """The plug-in that `value` names (`name`, `{name: {option: value}}` or `{name: main value}`), settled.

    Relative paths start at `base` (default: the working folder). What is wrong is added to `faults`; a Choice with
    faults tells which plug-ins are meant, and nothing else. None: no plug-in is meant.
    """
    return _Resolver(faults, base or Path.cwd()).choice(family, value, where, where)


def resolve_options(
    entry: plugin.Entry,
    options: Mapping[str, Any],
    where: str,
    faults: list[Fault],
    base: Path | None = None,
    versions: Versions | None = None,
) -> Choice:
    """The plug-in of `entry` with these options, settled; see `resolve`. Without `versions` it can name none."""
    return _Resolver(faults, base or Path.cwd(), versions).with_options(entry, options, where)


def resolve_value(
    schema: Mapping[str, Any], value: Any, where: str, faults: list[Fault], base: Path | None = None
) -> Any:
    """A value checked against a JSON Schema, settled as an option of a plug-in is; None where it has a fault."""
    return _Resolver(faults, base or Path.cwd()).value(schema, value, where, schema.get("$defs", {}))


@dataclass
class _Resolver:
    faults: list[Fault]
    base: Path
    versions: Versions | None = None

    def fault(self, where: str, what: str, do: str = "") -> None:
        self.faults.append(Fault(where, what, do))

    def choice(self, family: str, value: Any, where: str, inside: str) -> Choice | None:
        """`where` is the place of the slot, `inside` what the paths of the plug-in's options begin with."""
        try:
            name, given = named(value, family)
            entry = plugin.find(family, str(name))
            options = with_main(given, entry)
        except DanluError as error:
            self.fault(where, error.what, error.do)
            return None
        return self.with_options(entry, options, f"{inside}.{entry.name}")

    def with_options(self, entry: plugin.Entry, options: Mapping[str, Any], where: str) -> Choice:
        before = len(self.faults)
        for unknown in [key for key in options if key not in entry.fields]:
            near = plugin.did_you_mean(str(unknown), list(entry.fields)) or "; it has no options"
            self.fault(f"{where}.{unknown}", f"{entry.name} has no such option{near}", f"danlu show {entry.name}")
        choice = Choice(entry.family, entry.name, self.fields(entry, options, where))
        if "validators" in entry.overrides and len(self.faults) == before:
            try:
                choice.make(where)
            except RecipeFaults as refused:
                self.faults += refused.faults
        return choice

    def fields(self, entry: plugin.Entry, options: Mapping[str, Any], where: str) -> dict[str, Any]:
        settled = {}
        for name, field in entry.fields.items():
            place = f"{where}.{name}"
            if name in options or "default" in field:
                value = options[name] if name in options else field["default"]
                settled[name] = self.value(field["schema"], value, place, field["schema"].get("$defs", {}))
            elif field["required"]:
                doc = " ".join(field["doc"].split())
                self.fault(place, f"{entry.name} needs it" + (f": {doc}" if doc else ""), f"{place}=…")
        return settled

    def value(self, schema: Mapping[str, Any], value: Any, where: str, defs: Mapping[str, Any]) -> Any:
        if "$ref" in schema:
            return self.value(defs[schema["$ref"].rpartition("/")[2]], value, where, defs)
        if "x-slot" in schema:
            return self.choice(schema["x-slot"], value, where, where)
        if "anyOf" in schema:
            return self.any_of(schema, value, where, defs)
        own = {word: rule for word, rule in schema.items() if word not in _INSIDE}
        if not Draft202012Validator(own).is_valid(value) or not _is_finite(value):
            self.fault(where, f"must be {words(schema, defs)}, not {shown(value)}", hint(schema, value))
            return None
        if isinstance(value, Mapping):
            return self.mapping(schema, value, where, defs)
        if isinstance(value, list):
            return self.list(schema, value, where, defs)
        return self.leaf(schema, value, where)

    def any_of(self, schema: Mapping[str, Any], value: Any, where: str, defs: Mapping[str, Any]) -> Any:
        """The first alternative without a fault; else, if only one is of the value's type, what is wrong there."""
        tried = []
        for alternative in schema["anyOf"]:
            trial = _Resolver([], self.base, self.versions)
            settled = trial.value(alternative, value, where, defs)
            if not trial.faults:
                return settled
            tried.append(trial.faults)
        deeper = [faults for faults in tried if all(fault.where != where for fault in faults)]
        others = [faults for faults, option in zip(tried, schema["anyOf"], strict=True) if option.get("type") != "null"]
        if value is not None and (len(deeper) == 1 or len(others) == 1):
            self.faults += deeper[0] if len(deeper) == 1 else others[0]
        else:
            self.fault(where, f"must be {words(schema, defs)}, not {shown(value)}")
        return None

    def mapping(
        self, schema: Mapping[str, Any], value: Mapping[Any, Any], where: str, defs: Mapping[str, Any]
    ) -> dict[str, Any]:
        known: Mapping[str, Any] = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        settled: dict[str, Any] = {}
        for key, item in ((key_text(key), item) for key, item in value.items()):
            self.name(schema.get("propertyNames", {}), key, f"{where}.{key}")
            if key in known:
                settled[key] = self.value(known[key], item, f"{where}.{key}", defs)
            elif others is False:
                self.fault(f"{where}.{key}", f"there is no such option{plugin.did_you_mean(key, list(known))}")
            else:
                settled[key] = self.value(others if isinstance(others, Mapping) else {}, item, f"{where}.{key}", defs)
        for key in (key for key in known if key not in settled):
            if "default" in known[key]:
                settled[key] = self.value(known[key], known[key]["default"], f"{where}.{key}", defs)
            elif key in schema.get("required", ()):
                self.fault(f"{where}.{key}", f"must be given: {words(known[key], defs)}", f"{where}.{key}=…")
        for key, cases in schema.get("x-needs", {}).items():
            if (option := cases.get(settled.get(key))) and settled.get(option) is None:
                self.fault(f"{where}.{option}", f"must be given where {key} is {settled[key]}", f"{where}.{option}=…")
        sum_of = schema.get("x-sum", {"of": (), "below": math.inf})
        shares = {key: settled[key] for key in sum_of["of"] if isinstance(settled.get(key), float)}
        total, limit = sum(shares.values()), sum_of["below"]
        if total >= limit:
            told = " and ".join(f"{key} {share:g}" for key, share in shares.items())
            self.fault(where, f"{told} add up to {total:g}, and must stay below {limit:g}")
        return settled

    def name(self, schema: Mapping[str, Any], key: str, where: str) -> None:
        """A key that must be a plug-in's name, and that of one with certain facts."""
        family = schema.get("x-names")
        if not family:
            return
        try:
            entry = plugin.find(family, key)
        except DanluError as error:
            self.fault(where, error.what, error.do)
            return
        self.facts(schema, entry, where)

    def facts(self, schema: Mapping[str, Any], entry: plugin.Entry, where: str) -> None:
        """That a plug-in is of the kind which is wanted here."""
        for fact, wanted in schema.get("x-facts", {}).items():
            if entry.facts.get(fact) != wanted:
                fits = ", ".join(e.name for e in plugin.entries(entry.family) if e.facts.get(fact) == wanted)
                one = plugin.singular(entry.family)
                article = "an" if one[0] in "aeiou" else "a"
                what = f"{entry.name} is {article} {one} of the {entry.facts.get(fact)}, and one of {wanted} is wanted"
                self.fault(where, what, f"these fit: {fits}")

    def list(self, schema: Mapping[str, Any], value: Sequence[Any], where: str, defs: Mapping[str, Any]) -> list[Any]:
        first = schema.get("prefixItems", ())
        settled = []
        for k, item in enumerate(value):
            inner = first[k] if k < len(first) else schema.get("items") or {}
            place = f"{where}[{k}]"
            if "x-slot" in inner:
                chosen = self.choice(inner["x-slot"], item, place, where)
                if chosen is not None:
                    self.facts(inner, chosen.entry, place)
                settled.append(chosen)
            else:
                settled.append(self.value(inner, item, place, defs))
        return settled

    def leaf(self, schema: Mapping[str, Any], value: Any, where: str) -> Any:
        if isinstance(value, str):
            kind = schema.get("x-points")
            if kind in ("model", "dataset"):
                return self.made(value, kind, where)
            return Pointer(self.place(value, kind), kind) if kind else str(value)
        if schema.get("type") == "number":
            return float(value)
        return int(value) if schema.get("type") == "integer" else value

    def made(self, text: str, kind: str, where: str) -> Pointer | Reference | None:
        folder, step = Pointer(self.place(text, kind), kind), Reference(text)
        if _STEP.fullmatch(text):
            step.kind = kind
            return step
        if kind != "model" or not _VERSION.fullmatch(text) or Path(folder).exists():
            return folder
        if self.versions is None:
            self.fault(where, f"{text} is a published version, and here is no registry to ask", "name a folder")
            return None
        try:
            found = self.versions(text)
        except DanluError as error:
            self.fault(where, error.what, error.do)
            return None
        return Pointer(found.reference, "model", found)

    def place(self, text: str, kind: str) -> str:
        if kind == "location" and text.startswith(("asset:", "hub:")):
            return str(text)
        if kind == "rows" and is_url(text):
            return str(text)
        start = Path.cwd() if isinstance(text, Typed) else self.base
        return str(Path(start, os.path.expanduser(text)).resolve())  # noqa: PTH111 - Path drops the ./ of ./~name


def _is_finite(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
