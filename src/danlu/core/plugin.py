"""Find plug-ins by file name, and answer questions about them without importing them.

A plug-in is one class in one file: `plugins/methods/lora.py` holds `LoRA`, and `method: lora` finds it. There is no
list to edit. Importing a plug-in may cost seconds (torch, transformers), so what `--help`, `list`, `show`, `schema`,
`check` and `plan` need (fields, defaults, documentation, what it combines with) is kept in an index. An entry is
valid for the SHA-256 of the plug-in's file and of the contracts it is written against, so it is never stale; a
missing or outdated one is made anew by importing that one file.

Strangers' plug-ins come by entry point (`danlu.methods`), by `package.module:Class`, or by `add_file` (`--import
file.py`). This is the one module that imports inside functions: finding code is its job.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from danlu.core.errors import DanluError, MachineError, RecipeError

PACKAGE = Path(__file__).resolve().parent.parent
# Not in git, where it would be stale at the next change of a plug-in. `write_index` makes it for a wheel; where it is
# missing, the index is made on demand, in the cache.
SHIPPED_INDEX = PACKAGE / "core" / "index.json"
_ABOVE_PLUGINS = ("stages", "apps")  # families that may import engines live beside plugins/, not in it
_BASES = (
    "contracts.py", "rows.py", "fresh.py", "descent.py", "learning.py", "explaining.py", "values.py",
    "core/settings.py", "core/plugin.py", "blocks/confusion.py", "training/settings.py", "training/teaching.py",
    "blocks/file_source.py", "blocks/delimited_source.py", "blocks/media_source.py", "blocks/augment.py",
    "blocks/picture_changes.py", "blocks/waves.py", "blocks/tokenizers.py", "blocks/fresh_text.py",
    "blocks/recurrent.py", "blocks/text_task.py", "blocks/adapting.py", "blocks/described.py",
    "blocks/ranking_task.py", "blocks/linear_grams.py", "blocks/chat_task.py", "blocks/pair_rows.py",
    "core/moments.py",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """What the index knows of one plug-in: plain data, so that it survives a trip through JSON."""

    family: str
    name: str
    target: str
    """`module:Class`."""
    origin: str
    """`danlu`, `entry point`, `file` or `class`."""
    path: str
    sha256: str
    doc: str = ""
    version: int = 1
    main: str = ""
    extra: str = ""
    known_as: Mapping[str, str] = field(default_factory=dict)
    gives: Mapping[str, str] = field(default_factory=dict)
    wants: Mapping[str, list[str]] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The other public class attributes, such as a stage's `needs` and `makes`."""
    fields: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Option name → `{schema, required, default, doc}`; `schema` is JSON Schema with `x-slot` and `x-points`."""
    overrides: list[str] = field(default_factory=list)
    """Methods that a caller must ask the class itself for: `fingerprint`, `still`, `validators`."""
    error: str = ""
    """Why the file could not be imported; such an entry is listed but can't be used."""

    @property
    def summary(self) -> str:
        """The first sentence of the documentation."""
        return self.doc.strip().split("\n\n")[0].replace("\n", " ")


class Lazy:
    """A module that is imported when it is first used: for a plug-in's costly or optional need."""

    def __init__(self, name: str, extra: str = "") -> None:
        self._name, self._extra = name, extra

    def __getattr__(self, attribute: str) -> Any:
        return getattr(_import_needed(self._name, self._extra), attribute)


def lazy(name: str, extra: str = "") -> Any:
    """The module `name`, imported at first use; `extra` is the part of `danlu[extra]` that installs it."""
    return Lazy(name, extra)


def _import_needed(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        wanted = f"danlu[{extra}]" if extra else (error.name or name)
        raise MachineError(f"the package {error.name} is not installed", do=f"pip install '{wanted}'") from error


@functools.cache
def code_identity() -> str:
    """What identifies Danlu's own code in a reuse key: its version; for a development version, its sources' SHA-256."""
    version = importlib.metadata.version("danlu")
    if "dev" not in version:
        return version
    digest = hashlib.sha256()
    for path in sorted([*PACKAGE.rglob("*.py"), *PACKAGE.glob("blocks/*.[ch]")]):
        digest.update(path.relative_to(PACKAGE).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return f"{version}+{digest.hexdigest()[:16]}"


def identity(entry: Entry) -> str:
    """What identifies a plug-in's code in a reuse key: ours by version, a stranger's by the SHA-256 of its file."""
    own = entry.origin == "danlu"
    return f"danlu {code_identity()} v{entry.version}" if own else f"sha256 {entry.sha256} v{entry.version}"


# ---- our own plug-ins: files below the package ---------------------------------------------------------------------


def _own_files() -> Iterator[tuple[str, str, Path]]:
    folders = [*(PACKAGE / "plugins").glob("*/"), *(PACKAGE / family for family in _ABOVE_PLUGINS)]
    for folder in sorted(folders):
        for path in sorted(folder.glob("*.py")):
            if not path.name.startswith("_"):
                yield folder.name, path.stem, path


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _base_sha256() -> str:
    return hashlib.sha256(b"".join((PACKAGE / name).read_bytes() for name in _BASES)).hexdigest()


def _cached_index() -> Path:
    root = Path(os.environ.get("DANLU_CACHE") or Path.home() / ".cache" / "danlu")
    return root / f"index-{hashlib.sha256(str(PACKAGE).encode()).hexdigest()[:12]}.json"


def _read_index(path: Path, bases: str) -> dict[str, dict[str, Any]]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data["entries"] if isinstance(data, dict) and data.get("bases") == bases else {}


def write_index(path: Path) -> int:
    """Write the index of our own plug-ins to `path`, for a wheel; returns how many entries it holds."""
    entries = {f"{e.family}/{e.name}": asdict(e) | {"path": ""} for e in _own().values()}
    data = {"bases": _base_sha256(), "entries": entries}
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    temporary.replace(path)
    return len(entries)


@functools.cache
def _own() -> dict[tuple[str, str], Entry]:
    bases = _base_sha256()
    known = _read_index(SHIPPED_INDEX, bases) | _read_index(_cached_index(), bases)
    shipped = _read_index(SHIPPED_INDEX, bases)
    entries, fresh = {}, False
    for family, name, path in _own_files():
        sha256, key = _sha256(path), f"{family}/{name}"
        record = next((r[key] for r in (shipped, known) if key in r and r[key]["sha256"] == sha256), None)
        if record is None:
            entries[family, name], fresh = _describe_own(family, name, path, sha256), True
        else:
            entries[family, name] = Entry(**(record | {"path": str(path)}))
    if fresh:
        _keep_index(entries, bases)
    return entries


def _keep_index(entries: Mapping[tuple[str, str], Entry], bases: str) -> None:
    whole = {f"{f}/{n}": asdict(e) for (f, n), e in entries.items() if not e.error}
    path = _cached_index()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(json.dumps({"bases": bases, "entries": whole}), encoding="utf-8")
        temporary.replace(path)
    except OSError:
        pass  # a cache that can't be written costs time, nothing else


def _describe_own(family: str, name: str, path: Path, sha256: str) -> Entry:
    inside = "" if family in _ABOVE_PLUGINS else "plugins."
    module = f"danlu.{inside}{family}.{name}"
    common: dict[str, Any] = {"family": family, "name": name, "origin": "danlu", "path": str(path), "sha256": sha256}
    try:
        cls = _only_class(importlib.import_module(module), family)
    except (ImportError, DanluError) as error:
        return Entry(target=f"{module}:?", error=f"{type(error).__name__}: {error}", **common)
    return Entry(target=f"{module}:{cls.__name__}", **common, **cls.describe())


def _plugin_classes(module: ModuleType) -> list[Any]:
    return [
        c
        for c in vars(module).values()
        if isinstance(c, type)
        and getattr(c, "family", "") != ""
        and c.__module__ == module.__name__
        and hasattr(c, "describe")
    ]


def _only_class(module: ModuleType, family: str) -> Any:
    classes = [c for c in _plugin_classes(module) if c.family == family and not c.__name__.startswith("_")]
    if len(classes) != 1:
        raise RecipeError(
            f"must hold one plug-in of the family {family}, it holds {len(classes)}", where=module.__name__
        )
    return classes[0]


# ---- strangers' plug-ins -------------------------------------------------------------------------------------------

_strangers: dict[tuple[str, str], Entry] = {}


def _describe_stranger(cls: Any, name: str, origin: str) -> Entry:
    source = sys.modules[cls.__module__].__file__ or ""
    sha256 = _sha256(Path(source)) if source else ""
    target = f"{cls.__module__}:{cls.__name__}"
    return Entry(
        family=cls.family, name=name, target=target, origin=origin, path=source, sha256=sha256, **cls.describe()
    )


def add_file(path: Path) -> list[Entry]:
    """Import a stranger's file (`--import file.py`) and make its plug-ins known.

    One class takes the file's name; several take their own names in snake_case. This runs the file: it is for code the
    user names, never for a path found in data. A file that is known and unchanged is not run again. Raises RecipeError
    when the file is missing, fails, holds no plug-in, or one whose name is taken.
    """
    path = path.resolve()
    if not path.is_file():
        raise RecipeError("there is no such file to import", where=str(path), do="check the path")
    sha256 = _sha256(path)
    if known := [e for e in _strangers.values() if (e.path, e.sha256, e.origin) == (str(path), sha256, "file")]:
        return known
    module_name = f"danlu_import_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise RecipeError("is not a Python file", where=str(path), do="name a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[module_name]
        raise RecipeError(f"importing it failed: {type(error).__name__}: {error}", where=str(path)) from error
    classes = _plugin_classes(module)
    if not classes:
        raise RecipeError("it holds no plug-in", where=str(path), do="derive a class from danlu.contracts, e.g. Method")
    names = [path.stem] if len(classes) == 1 else [_snake(c.__name__) for c in classes]
    entries = [_describe_stranger(c, n, "file") for c, n in zip(classes, names, strict=True)]
    for entry in entries:
        _refuse_taken(entry)
    _strangers.update({(e.family, e.name): e for e in entries})
    return entries


def _refuse_taken(entry: Entry) -> None:
    taken = _own().get((entry.family, entry.name)) or _strangers.get((entry.family, entry.name))
    if taken and taken.path != entry.path:
        what = f"there is a {singular(entry.family)} called {entry.name} already, in {taken.path}"
        raise RecipeError(what, where=entry.path, do="give the file or the class another name")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@functools.cache
def _entry_points() -> dict[tuple[str, str], Any]:
    points = importlib.metadata.entry_points()
    groups = [group for group in points.groups if group.startswith("danlu.")]
    return {(group.removeprefix("danlu."), p.name): p for group in groups for p in points.select(group=group)}


def _from_entry_point(family: str, name: str) -> Entry | None:
    point = _entry_points().get((family, name))
    if point is None:
        return None
    try:
        entry = _describe_stranger(point.load(), name, "entry point")
    except Exception as error:  # noqa: BLE001 - a stranger's package may raise anything
        common: dict[str, Any] = {"target": point.value, "origin": "entry point", "path": "", "sha256": ""}
        return Entry(family=family, name=name, error=f"{type(error).__name__}: {error}", **common)
    _strangers[family, name] = entry
    return entry


def _from_dotted(family: str, name: str) -> Entry:
    module_name, _, class_name = name.partition(":")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise RecipeError(
            f"{name} can't be imported: {error}",
            do="check the spelling, and that its package is installed; an option needs a space after its colon",
        ) from error
    if getattr(cls, "family", "") != family or not hasattr(cls, "describe"):
        raise RecipeError(
            f"{name} is not a plug-in of the family {family}", do="derive it from the family's class in danlu.contracts"
        )
    entry = _describe_stranger(cls, name, "class")
    _strangers[family, name] = entry
    return entry


# ---- look-up -------------------------------------------------------------------------------------------------------


def families() -> list[str]:
    """The families that have at least one plug-in, in alphabetical order."""
    return sorted(
        {family for family, _ in _own()} | {family for family, _ in _strangers} | {f for f, _ in _entry_points()}
    )


def entries(family: str | None = None) -> list[Entry]:
    """Every plug-in known: our own, those of installed packages, those of imported files."""
    installed = {key: _from_entry_point(*key) for key in _entry_points() if key not in _strangers}
    known = {key: entry for key, entry in installed.items() if entry} | _strangers | _own()
    return [known[key] for key in sorted(known) if family in (None, key[0])]


def find(family: str, name: str) -> Entry:
    """The plug-in called `name`, which may also be `package.module:Class`.

    Raises RecipeError with the nearest names when there is none, and MachineError when its file can't be imported.
    """
    entry = _own().get((family, name)) or _strangers.get((family, name))
    if entry is None and ":" in name and "/" not in name:
        entry = _from_dotted(family, name)
    entry = entry or _from_entry_point(family, name)
    if entry is None:
        what = f"there is no {singular(family)} called {name!r}{nearest(name, entries(family))}"
        raise RecipeError(what, do=f"danlu list {family}")
    if entry.error:
        raise MachineError(f"the {singular(family)} {name} can't be used: {entry.error}", where=entry.path)
    return entry


def load(family: str, name: str) -> Any:
    """The class of a plug-in; this is what imports it."""
    module, _, cls = find(family, name).target.partition(":")
    return getattr(_import_needed(module, ""), cls)


def name_of(cls: type) -> str:
    """The name a recipe uses for this class: its file's name for ours, the registered one for a stranger's."""
    target = f"{cls.__module__}:{cls.__name__}"
    stranger = next((e.name for e in _strangers.values() if e.target == target), None)
    if stranger or not cls.__module__.startswith("danlu."):
        return stranger or target
    return cls.__module__.rpartition(".")[2]


def singular(family: str) -> str:
    """`methods` → `method`: a family's name as a person says it of one."""
    return family.removesuffix("s")


def nearest(name: str, known: list[Entry]) -> str:
    """`; did you mean …?` with the plug-in that is also known by this name and what it is, else the nearest names."""
    same = [f"{entry.name}: {entry.known_as[name]}" for entry in known if name in entry.known_as]
    return f"; did you mean {' or '.join(same)}?" if same else did_you_mean(name, [entry.name for entry in known])


def did_you_mean(name: str, names: list[str]) -> str:
    """`; did you mean …?` with the nearest names, else the names there are, else nothing."""
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"; there are: {', '.join(names[:20])}" if names else ""
