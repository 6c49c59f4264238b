"""A model on disk: its weights, and the list of parts that built it.

A bundle is a folder. `bundle.json` names backbone, task and parts with their settings; loading replays the list and
then fills the weights in, so that no method has code of its own for loading and a server knows none of them. A form
that is not torch (ONNX) replays task and processor only, and is loaded without torch.

A model with several forms is a folder of bundles with a `forms.json`; see `Forms`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from danlu.contracts import Backbone, Compressor, Plugin, Processor, Runtime, Task, head_under
from danlu.core import assets, plugin
from danlu.core.errors import DataError
from danlu.core.files import disk_faults, link_or_copy, publish_dir, safe_join, sha256_file, temp_beside, write_atomic
from danlu.core.settings import worded
from danlu.predictor import Predictor

if TYPE_CHECKING:
    from torch import nn

    from danlu.blocks.shared_weights import SharedWeights

FORMAT = 1
_FILE, _FORMS = "bundle.json", "forms.json"
_AGAIN = "get the model again: publish it anew, or run the recipe"

_Read = TypeVar("_Read", bound=BaseModel)

_weights: Any = plugin.lazy("danlu.blocks.weights")

# ---- bundle.json -----------------------------------------------------------------------------------------------------


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Part(_Strict):
    """A plug-in with its settings."""

    family: Literal["backbones", "tasks", "methods", "compressors", "runtimes"]
    name: str
    version: int
    settings: dict[str, Any]

    @classmethod
    def of(cls, chosen: Plugin) -> Self:
        settings = chosen.model_dump(mode="json")
        return cls.model_validate(
            {"family": chosen.family, "name": chosen.name, "version": chosen.version, "settings": settings}
        )


class Weights(_Strict):
    """A file that is filled in after so many parts were wrapped."""

    file: str
    after: Annotated[int, Field(ge=0)]


class Description(_Strict):
    """What `bundle.json` says."""

    format: int
    danlu: str
    """The version of Danlu that wrote it."""
    backbone: Part
    task: Part
    parts: list[Part]
    """What changed the set of weight names, in the order it was wrapped."""
    form: Part
    """The runtime that loads the form."""
    compressed: list[Part]
    """The compressors that went over the form after its export."""
    weights: list[Weights]
    files: dict[str, str]
    """File → SHA-256, of every file but this one."""


def describe(folder: Path) -> Description:
    """What the bundle in a folder says of itself; nothing is loaded. Raises DataError when it is not a bundle."""
    path = folder / _FILE
    plain = _read_json(path)
    if isinstance(plain.get("format"), int) and plain["format"] > FORMAT:
        by, found = plain.get("danlu"), plain["format"]
        what = f"was written by a newer Danlu ({by}) in format {found}; this one reads up to {FORMAT}"
        raise DataError(what, where=str(path), do="pip install --upgrade danlu")
    return _validated(Description, plain, path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        plain = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        what = f"there is no {path.name}, so this is no model of Danlu"
        raise DataError(what, where=str(path.parent), do="`danlu versions` lists the published models") from error
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"can't be read: {error}", where=str(path), do=_AGAIN) from error
    if not isinstance(plain, dict):
        raise DataError("is not as it was written: it must be a mapping", where=str(path), do=_AGAIN)
    return plain


def _validated(kind: type[_Read], plain: dict[str, Any], path: Path) -> _Read:
    try:
        return kind.model_validate(plain)
    except ValidationError as error:
        first = worded(error, "", list(kind.model_fields))[0]
        what = f"is not as it was written: {first.where}: {first.what:.200}"
        raise DataError(what, where=str(path), do=_AGAIN) from error


def check_files(folder: Path, description: Description) -> None:
    """Raises DataError unless every file is there and has its SHA-256, and none is there beside them.

    A file that is not named could change the answers unseen, as an added vocabulary does; names that begin with a dot
    are passed over.
    """
    _refuse_pickles(folder)
    for name, digest in description.files.items():
        path, base = safe_join(folder, name), len(description.weights) > 1 and name == description.weights[0].file
        if not path.is_file():
            what = "the frozen backbone, on which the adapter stands," if base else "a file of the model"
            raise DataError(f"{what} is missing; its SHA-256 is {digest}", where=str(path), do=_AGAIN)
        if sha256_file(path) != digest:
            what = "this is not the backbone the adapter was trained on" if base else "it was changed"
            raise DataError(f"a file of the model: {what}; its SHA-256 is another", where=str(path), do=_AGAIN)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in {_FILE, *description.files} and not path.name.startswith("."):
            what = f"{_FILE} does not name this file, so nobody knows what it holds"
            raise DataError(what, where=str(path), do=f"remove it, or {_AGAIN}")


def _refuse_pickles(folder: Path) -> None:
    if pickled := assets.pickles(folder):
        what = "a pickled file lies among the model's files; loading one can run any program, so it must not be there"
        raise DataError(what, where=str(pickled[0]), do="remove it")


# ---- loading ---------------------------------------------------------------------------------------------------------


def load(folder: Path, *, batch_size: int = 32, check: bool = True, threads: int = 0, shared: Any = None) -> Predictor:
    """The predictor of a bundle. Every file's SHA-256 is checked first, unless `check` is off.

    `threads` is how many cores one pass may use, where the runtime has such an option; 0: as it was exported. With
    `shared` (`SharedWeights`) a torch form stands on weights that others hold, where their file's SHA-256 is the same.

    A form that is not torch imports neither torch nor the backbone. Raises DataError for a bundle that is damaged, or
    needs plug-ins that are not there or older than those it was saved with.
    """
    description = _opened(folder, check)
    task: Task = _chosen(description.task, folder)
    form = description.form
    if threads and "threads" in form.settings:
        form = form.model_copy(update={"settings": {**form.settings, "threads": threads}})
    runtime: Runtime = _chosen(form, folder)
    processor = load_processor(description.backbone, folder)

    def module() -> tuple[nn.Module, Backbone]:
        backbone: Backbone = _chosen(description.backbone, folder)
        return _replay(description, folder, backbone, task, processor, shared), backbone

    return Predictor(runtime.load(folder, module), task, processor, batch_size)


def load_module(folder: Path, *, check: bool = True) -> tuple[nn.Module, Backbone, Task, Processor]:
    """The torch module of a bundle, to go on training, compressing or exporting. Raises as `load` does."""
    description = _opened(folder, check)
    if not description.weights:
        what = f"holds no torch module, only its {description.form.name} form"
        raise DataError(what, where=str(folder), do="use the form `trained` of the same model")
    task: Task = _chosen(description.task, folder)
    backbone: Backbone = _chosen(description.backbone, folder)
    processor = backbone.processor(folder)
    return _replay(description, folder, backbone, task, processor), backbone, task, processor


def _opened(folder: Path, check: bool) -> Description:
    description = describe(folder)
    if loose := {weights.file for weights in description.weights} - description.files.keys():
        raise DataError(f"{_FILE} has no SHA-256 for {min(loose)}", where=str(folder), do=_AGAIN)
    if check:
        check_files(folder, description)
    return description


def _replay(
    description: Description, folder: Path, backbone: Backbone, task: Task, processor: Processor,
    shared: SharedWeights | None = None,
) -> nn.Module:  # fmt: skip
    parts = [_chosen(part, folder) for part in description.parts]
    module = backbone.build(head_under(task.head(), parts), processor, folder)
    files = {weights.file: weights.after for weights in description.weights}
    hold = shared and (lambda file, read, base: shared.of(description.files[file], read, base))
    return cast("nn.Module", _weights.replay(module, parts, folder, files, hold))


def load_processor(backbone: Part, folder: Path) -> Processor:
    """The processor, by the class that the index names: that spares importing the backbone. Raises DataError."""
    module, _, name = _entry(backbone, folder).facts["processor_class"].partition(":")
    processor: Processor = getattr(plugin.lazy(module), name).load(folder)
    return processor


def _entry(part: Part, folder: Path) -> plugin.Entry:
    one = plugin.singular(part.family)
    if ":" in part.name and part.name.partition(":")[0] not in sys.modules:
        what = f"needs the {one} {part.name}; a model does not choose what is imported"
        raise DataError(what, where=str(folder), do=f"import {part.name.partition(':')[0]} first, where you trust it")
    entry = plugin.find(part.family, part.name)
    if part.version > entry.version:
        what = f"was saved with version {part.version} of the {one} {part.name}; here is version {entry.version}"
        raise DataError(what, where=str(folder), do="pip install --upgrade danlu, or the package the plug-in is from")
    return entry


def _chosen(part: Part, folder: Path) -> Any:
    entry = _entry(part, folder)
    try:
        return plugin.load(part.family, part.name)(**part.settings)
    except ValidationError as error:
        first = worded(error, part.name, list(entry.fields))[0]
        what = f"the settings of {first.where} are not as they were written: {first.what:.200}"
        raise DataError(what, where=str(folder / _FILE), do=_AGAIN) from error


# ---- saving ----------------------------------------------------------------------------------------------------------


def save(
    folder: Path,
    *,
    backbone: Backbone,
    task: Task,
    processor: Processor,
    module: nn.Module,
    parts: Sequence[Plugin] = (),
) -> None:
    """Write the torch form of a model, whole or not at all; `folder` must not exist.

    `parts` are the methods and compressors that changed the set of weight names and are still in `module`, in the order
    they were wrapped. Raises ValueError when they do not build this module, MachineError when the disk refuses.
    """
    with _whole(folder) as temp:
        backbone.save(temp, module, processor)
        found = _weights.places(backbone.build(head_under(task.head(), parts), processor, temp), parts)
        files = _weights.write(temp, module, found)
        weights = [{"file": file, "after": after} for file, after in files.items()]
        runtime = plugin.load("runtimes", "torch")()
        _write(temp, backbone=Part.of(backbone), task=Part.of(task), parts=parts, runtime=runtime, weights=weights)


def save_form(
    folder: Path,
    *,
    of: Path,
    runtime: Runtime,
    compressed: Sequence[Compressor] = (),
    write: Callable[[Path], None],
) -> None:
    """Write another form of the bundle in `of`, whole or not at all; `folder` must not exist.

    `write(path)` writes the form's own files into the folder it is given; task and processor are those of `of`.
    """
    source = describe(of)
    with _whole(folder) as temp:
        load_processor(source.backbone, of).save(temp)
        write(temp)
        _write(temp, backbone=source.backbone, task=source.task, runtime=runtime, compressed=compressed)


@contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    temp = temp_beside(folder)
    with disk_faults(folder):
        temp.mkdir(parents=True)
        try:
            yield temp
            publish_dir(temp, folder)
        finally:
            shutil.rmtree(temp, ignore_errors=True)


def _write(
    folder: Path,
    *,
    backbone: Part,
    task: Part,
    runtime: Runtime,
    parts: Sequence[Plugin] = (),
    compressed: Sequence[Compressor] = (),
    weights: Sequence[Mapping[str, Any]] = (),
) -> None:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    description = Description(
        format=FORMAT,
        danlu=plugin.code_identity(),
        backbone=backbone,
        task=task,
        parts=[Part.of(part) for part in parts],
        form=Part.of(runtime),
        compressed=[Part.of(part) for part in compressed],
        weights=[Weights.model_validate(file) for file in weights],
        files={path.relative_to(folder).as_posix(): sha256_file(path) for path in paths},
    )
    write_atomic(folder / _FILE, description.model_dump_json(indent=1) + "\n")


# ---- several forms of one model --------------------------------------------------------------------------------------


class FormSpec(_Strict):
    """What one form of a model promises."""

    of: str | None = None
    """The form it was made from; None for the trained one."""
    exact: bool = True
    """Its answers are the trained ones up to rounding; else up to a loss within `tolerance`."""
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    """The greatest `Task.distance` of an exact form, the 99th percentile of a lossy one."""


class _FormsFile(_Strict):
    default: str
    forms: dict[str, FormSpec]


@dataclass(frozen=True)
class Forms:
    """The forms of one model: a folder with a bundle for each, and `forms.json`."""

    path: Path
    default: str
    """The form that is served."""
    specs: dict[str, FormSpec]

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises DataError when the folder is not a model's, when a form is missing, or a pickle lies in it."""
        file = path / _FORMS
        read = _validated(_FormsFile, _read_json(file), file)
        forms = cls(path, read.default, read.forms)
        forms._check()
        _refuse_pickles(path)
        return forms

    def _check(self) -> None:
        named = {self.default, *(spec.of for spec in self.specs.values() if spec.of)}
        unknown = named - self.specs.keys()
        missing = [name for name in self.specs if not (self.folder(name) / _FILE).is_file()]
        if unknown or missing:
            what = f"the form {[*sorted(unknown), *missing][0]} is named, but it is not there"
            raise DataError(what, where=str(self.path / _FORMS), do=_AGAIN)

    @property
    def names(self) -> tuple[str, ...]:
        """The forms in the order they were made; the trained one is the first."""
        return tuple(self.specs)

    def folder(self, name: str) -> Path:
        """The bundle of a form; raises DataError when there is no such form."""
        return safe_join(self.path, name)

    def spec(self, name: str) -> FormSpec:
        """What a form promises; raises DataError, with the forms there are, when there is no such form."""
        if name not in self.specs:
            raise DataError(f"there is no form {name!r}", where=str(self.path), do=f"one of: {', '.join(self.names)}")
        return self.specs[name]

    @classmethod
    def write(cls, path: Path, forms: Mapping[str, FormSpec], default: str) -> Self:
        """Write `forms.json` beside the bundles that lie in `path`. Raises DataError when one of them does not."""
        made = cls(path, default, dict(forms))
        made._check()
        write_atomic(path / _FORMS, _FormsFile(default=default, forms=made.specs).model_dump_json(indent=1) + "\n")
        return made

    def copy_to(self, out: Path, names: Sequence[str]) -> None:
        """Put the bundles of some forms into another folder, as hard links where the disk has them."""
        for name in names:
            self.spec(name)
            for file in sorted(path for path in self.folder(name).rglob("*") if path.is_file()):
                target = out / name / file.relative_to(self.folder(name))
                target.parent.mkdir(parents=True, exist_ok=True)
                link_or_copy(file, target)
