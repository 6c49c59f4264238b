"""Typed, frozen settings, and the root class of every plug-in.

A plug-in's fields are its recipe options and its docstring is its documentation. A field whose type is a family's
base class (`backbone: Backbone`) is a *slot*: it takes an instance, `name`, `{name: {option: value}}`, or `{name:
value}` when the named class marks one field as its `main`.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, PydanticUndefined, core_schema, to_jsonable_python

from danlu.core import plugin
from danlu.core.errors import DanluError, Fault, RecipeError

_SHORTER = {
    "greater than or equal to": ">=",
    "greater than": ">",
    "less than or equal to": "<=",
    "less than": "<",
    "a valid number, unable to parse string as a number": "a number",
    "a valid integer, unable to parse string as an integer": "a whole number",
    "a valid integer, got a number with a fractional part": "a whole number",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean, unable to interpret input": "true or false",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid dictionary": "a mapping",
}
"""How pydantic says it → how a recipe's reader says it; the longer before what it begins with."""

Files = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-points": "files"})]
"""A file or folder. What it holds is part of a reuse key (its SHA-256), where it lies is not."""

Rows = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-points": "rows"})]
"""A file, a folder, a pattern (`data/*.csv`) or a URL. What a file or folder holds is part of a reuse key; for the
others the plug-in's `fingerprint` says it."""

Location = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-points": "location"})]
"""Where a model lies: `asset:name`, `./folder` or `hub:org/name@revision`; its content is part of a reuse key."""

Model = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-points": "model"})]
"""A model of ours: the folder that has `forms.json` in it; in a recipe also a published version (`name@3`,
`name@alias`) or the model of a step above (`$step`), of which the plug-in gets the folder. What it holds is part of a
reuse key."""

Prepared = Annotated[str, WithJsonSchema({"type": "string", "minLength": 1, "x-points": "dataset"})]
"""A data set of ours: in a recipe that of a step above (`$step`), of which the plug-in gets the folder, or a folder
that has `dataset.json` in it. What it holds is part of a reuse key."""


MetricName = Annotated[str, WithJsonSchema({"type": "string", "x-names": "metrics"})]
"""The name of a metric, as the key of a mapping."""

AnswerMetricName = Annotated[
    str, WithJsonSchema({"type": "string", "x-names": "metrics", "x-facts": {"of": "answers"}})
]
"""The name of a metric that judges answers."""


def is_url(place: str) -> bool:
    """Whether a `Rows` lies elsewhere: `s3://…`, `https://…`."""
    return "://" in place


def is_pattern(place: str) -> bool:
    """Whether a `Rows` is a pattern that files match, and not itself one that is there."""
    return not is_url(place) and any(sign in place for sign in "*?[") and not Path(place).exists()


def slot(default: Any) -> Any:
    """The default of a slot, as a recipe writes it: `method: Method = slot("full")`."""
    return Field(default=default, validate_default=True)


class Settings(BaseModel):
    """Frozen options: an unknown key is refused, the docstring under a field is its documentation."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True, protected_namespaces=()
    )


def _is_base(cls: type) -> bool:
    """A family's base class is the one that says `family` itself."""
    return bool(cls.__dict__.get("family"))


class Plugin(Settings):
    """The root of every family. A family's base class names its `family`; a plug-in derives from that."""

    family: ClassVar[str] = ""
    """The folder it lives in: `methods`."""
    version: ClassVar[int] = 1
    """Raised by the author when the same settings would give another result; part of every reuse key."""
    main: ClassVar[str] = ""
    """The field that `{name: value}` sets."""
    extra: ClassVar[str] = ""
    """The part of `danlu[extra]` that installs what this plug-in needs."""
    known_as: ClassVar[Mapping[str, str]] = {}
    """Other names that people look for → what it is under that name; a recipe with such a name is told this one."""
    gives: ClassVar[Mapping[str, str]] = {}
    """Facts that hold wherever this plug-in is chosen: `{"modality": "text"}`."""
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Facts it needs of the others: `{"modality": ("text", "image")}`; a recipe that gives another one is refused."""
    asks_class: ClassVar[tuple[str, ...]] = ()
    """Methods that a planner must ask the class itself for, when a plug-in of the family writes its own."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if not _is_base(cls):
            return handler(source)
        to_plain = core_schema.plain_serializer_function_ser_schema(lambda chosen: chosen.plain())
        return core_schema.no_info_plain_validator_function(cls.choose, serialization=to_plain)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        if not _is_base(cls):
            return handler(schema)
        return {"x-slot": cls.family, "type": ["string", "object"]}

    @classmethod
    def choose(cls, value: Any) -> Self:
        """The plug-in of this family that `value` names: an instance, `name`, `{name: options}` or `{name: main
        value}`.

        Raises ValueError (which pydantic reports with its place) on anything else.
        """
        if isinstance(value, cls):
            return value
        try:
            name, options = named(value, cls.family)
            chosen = plugin.load(cls.family, name)
            return chosen(**with_main(options, plugin.find(cls.family, name)))  # type: ignore[no-any-return]
        except ValidationError as error:
            faults = worded(error, name, list(plugin.find(cls.family, name).fields))
            raise ValueError("\n".join(str(fault) for fault in faults)) from error
        except DanluError as error:
            raise ValueError(error.what) from error

    @classmethod
    def describe(cls) -> dict[str, Any]:
        """What the index keeps of this class; see `core.plugin.Entry`."""
        schema = cls.model_json_schema()
        definitions = schema.get("$defs", {})
        decorators = cls.__pydantic_decorators__
        overrides = [name for name in cls.asks_class if getattr(cls, name) is not getattr(_base_of(cls), name)]
        if decorators.model_validators or decorators.field_validators:
            overrides.append("validators")
        return {
            "doc": _documentation(cls),
            "version": cls.version,
            "main": cls.main,
            "extra": cls.extra,
            "known_as": dict(cls.known_as),
            "gives": dict(cls.gives),
            "wants": {fact: list(values) for fact, values in cls.wants.items()},
            "facts": _facts(cls),
            "fields": {name: _field(cls, name, schema, definitions) for name in cls.model_fields},
            "overrides": overrides,
        }

    if TYPE_CHECKING:

        @property
        def name(self) -> str:
            """The name a recipe uses for this plug-in, unless it has an option that is called `name`."""

    else:

        def __getattr__(self, attribute):
            # Not a property, which would stand before an option of that name: `publish` has one.
            return plugin.name_of(type(self)) if attribute == "name" else super().__getattr__(attribute)

    def plain(self) -> dict[str, Any]:
        """`{name: {option: value}}` in JSON values, which `choose` turns back into an equal plug-in."""
        return {plugin.name_of(type(self)): self.model_dump(mode="json")}


def named(value: Any, family: str) -> tuple[str, Any]:
    """The name and the options in a slot's value. Raises RecipeError when it is neither of the three forms."""
    if isinstance(value, str) and value:
        return value, {}
    if isinstance(value, Mapping) and len(value) == 1:
        name, options = next(iter(value.items()))
        if isinstance(name, str):
            return name, {} if options is None else options
    one = plugin.singular(family)
    raise RecipeError(
        f"must name one {one}, as `name` or `{{name: {{option: value}}}}`, not {value!r}", do=f"danlu list {family}"
    )


def with_main(options: Any, entry: plugin.Entry) -> dict[str, Any]:
    """The options as a mapping; a bare value belongs to the plug-in's main field.

    Raises RecipeError when there is no main field. A mapping is always options, so a main field holds no mapping.
    """
    if isinstance(options, Mapping):
        return dict(options)
    if entry.main:
        return {entry.main: options}
    fields = ", ".join(entry.fields) or "none"
    raise RecipeError(
        f"{entry.name} takes options by name, not {options!r}; its options: {fields}", do=f"danlu show {entry.name}"
    )


def worded(error: ValidationError, where: str, options: list[str]) -> list[Fault]:
    """What pydantic refused, each as a fault with its path below `where`, in words for a person."""
    return [_fault(told, where, options) for told in error.errors(include_url=False)]


def _fault(told: Mapping[str, Any], where: str, options: list[str]) -> Fault:
    place = ".".join([where, *(str(part) for part in told["loc"])]).lstrip(".")
    if told["type"] == "extra_forbidden":
        return Fault(place, f"there is no such option{plugin.did_you_mean(str(told['loc'][-1]), options)}")
    if told["type"] == "missing":
        return Fault(place, "must be given")
    if told["type"] in ("value_error", "assertion_error"):
        return Fault(place, str(told["ctx"]["error"]))
    asked = told["msg"].replace("Input should be", "must be")
    for long, short in _SHORTER.items():
        asked = asked.replace(long, short)
    return Fault(place, f"{asked}, not {told['input']!r}")


def _base_of(cls: type[Plugin]) -> type[Plugin]:
    return next(base for base in cls.__mro__ if issubclass(base, Plugin) and _is_base(base))


def _documentation(cls: type[Plugin]) -> str:
    module = inspect.getmodule(cls)
    parts = [inspect.cleandoc(part) for part in (module.__doc__ if module else "", cls.__doc__) if part]
    return "\n\n".join(parts)


def _facts(cls: type[Plugin]) -> dict[str, Any]:
    known = set(Plugin.__class_vars__)
    facts = {}
    for name in sorted(set(cls.__class_vars__) - known):
        value = to_jsonable_python(getattr(cls, name, None), fallback=lambda v: f"{v.__module__}:{v.__qualname__}")
        facts[name] = value
    return facts


def _field(cls: type[Plugin], name: str, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    info = cls.model_fields[name]
    own = {k: v for k, v in schema["properties"][name].items() if k not in ("default", "title", "description")}
    if definitions and "$ref" in repr(own):
        own["$defs"] = definitions
    record: dict[str, Any] = {"schema": own, "required": info.is_required(), "doc": info.description or ""}
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is not PydanticUndefined:
        record["default"] = (
            to_jsonable_python(default, fallback=lambda v: v.plain())
            if not isinstance(default, Plugin)
            else default.plain()
        )
    return record
