"""What a model's files may not say: code to run, and weights that are not numbers.

Looked for before anything is loaded, in the files of a model that comes from elsewhere. Formats are another question
(`registry.formats`): here every file is already one whose reading runs nothing.

- JSON: keys that name code to import (`auto_map`, `custom_pipelines`), and an attention implementation that names a
  place to fetch code from (CVE-2026-4372).
- Chat templates, which are programs: those that reach for what is private (`__class__`), or compute the name of what
  they reach for, as every escape from a template does (CVE-2024-34359). Where a template is run it is run in a sandbox.
- Text: pickles of the first protocol, which are text. Nothing here would load one; others might.
- safetensors: NaN.
"""

from __future__ import annotations

import functools
import json
import pickletools
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, TemplateError, nodes

from danlu.core.errors import DataError

_CODE = {"auto_map", "custom_pipelines", "custom_pipeline", "trust_remote_code"}
_VOCABULARIES = {"vocab", "merges", "added_tokens_decoder"}
_TEMPLATED = ("tokenizer_config.json", "chat_template.json", "processor_config.json")
_FETCHING = "attn_implementation"
_PRIVATE = ("gi_", "cr_", "ag_", "f_", "func_", "tb_", "mro")
"""How the inner attributes of generators, frames and functions begin, by which one gets from them to everything."""
_BINARY = (".safetensors", ".onnx")
_BUILDING = {"GLOBAL", "INST", "STACK_GLOBAL", "REDUCE", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4"}
_MOST_TEMPLATE = 1_000_000
_MARK = re.compile(r"({%[-+]?\s*)(end)?generation(\s*[-+]?%})")
_AT_ONCE = 1 << 22
_NOT_NUMBERS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "F64": ("<f8", np.isnan),
    "F32": ("<f4", np.isnan),
    "F16": ("<f2", np.isnan),
    "BF16": ("<u2", lambda bits: (bits & 0x7FFF) > 0x7F80),
    "F8_E4M3": ("u1", lambda bits: (bits & 0x7F) == 0x7F),
    "F8_E5M2": ("u1", lambda bits: (bits & 0x7F) > 0x7C),
}
"""Type of safetensors → how its bits are read, and which of them are not numbers."""


def check_model(folder: Path) -> None:
    """Check what is read of a pretrained model's folder: templates and safetensors; raises DataError.

    Settings that name code are no fault here: `blocks.hf` strips them before a configuration is used. Done once for
    each state of the files.
    """
    names = sorted(
        path.name for path in folder.iterdir() if path.suffix in (".jinja", ".safetensors") or path.name in _TEMPLATED
    )
    stamps = [(folder / name).stat() for name in names]
    _check_once(folder, tuple(names), tuple((stamp.st_size, stamp.st_mtime_ns, stamp.st_ino) for stamp in stamps))


@functools.lru_cache(maxsize=32)
def _check_once(folder: Path, names: tuple[str, ...], stamps: object) -> None:
    check_words(folder, names, code=False)
    check_weights(folder, names)


def check_words(folder: Path, names: Iterable[str], *, code: bool = True) -> None:
    """Check the JSON files and templates among these files of a folder; raises DataError naming the first bad one.

    Without `code` settings may name code to run.
    """
    for name in names:
        path = folder / name
        try:
            if path.suffix == ".json":
                _check_json(json.loads(path.read_bytes()), code)
            elif path.suffix == ".jinja":
                check_template(path.read_text("utf-8"))
            elif path.suffix not in _BINARY and _is_program(path.read_bytes()):
                raise DataError("it is a pickle, which is a program", do="remove it")
        except DataError as fault:
            raise DataError(f"{name}: {fault.what}", where=str(folder), do=fault.do) from fault
        except (OSError, ValueError, RecursionError) as fault:
            raise DataError(f"{name} can't be read: {fault}", where=str(folder), do="get the model again") from fault


def check_weights(folder: Path, names: Iterable[str]) -> None:
    """Check the safetensors files among these; raises DataError naming a tensor that holds what is not a number."""
    for name in names:
        if name.endswith(".safetensors"):
            try:
                broken = next(_broken_tensors(folder / name), None)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as fault:
                what = f"the weights can't be read: {name} is not a whole safetensors file ({fault})"
                raise DataError(what, where=str(folder), do="get the model again") from fault
            if broken:
                what = f"{name}: the tensor {broken} has values that are not numbers"
                raise DataError(what, where=str(folder), do="train it again with a lower lr, or get it elsewhere")


def _is_program(text: bytes) -> bool:
    """Whether text is a pickle that builds more than plain values; it is only read, opcode by opcode."""
    try:
        return any(opcode.name in _BUILDING for opcode, _, _ in list(pickletools.genops(text)))
    except (ValueError, UnicodeDecodeError, IndexError):
        return False


def _check_json(whole: Any, code: bool) -> None:
    todo = [whole]
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            for key, inner in value.items():
                if code:
                    _check_code(key, inner)
                if key in ("chat_template", "template") and isinstance(inner, str):
                    check_template(inner)
                if key not in _VOCABULARIES:
                    todo.append(inner)


def _check_code(key: str, value: Any) -> None:
    if key in _CODE and value:
        raise DataError(f"it names code to run ({key}), and a model's own code is never run", do="remove that entry")
    if _FETCHING in key and isinstance(value, str) and any(sign in value for sign in "/:@"):
        raise DataError(f"it names code to fetch ({key}: {value!r:.60})", do="remove that entry")


def check_template(text: str) -> None:
    """Raise DataError for a chat template that is none, or reaches beyond the values it is given. It is not run."""
    do = "use a template that only reads the messages it is given"
    if len(text) > _MOST_TEMPLATE:
        raise DataError("the chat template is longer than a million characters", do=do)
    try:
        tree = Environment(extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"]).parse(without_marks(text))  # noqa: S701 - only parsed
        found = next(_reaches(tree), None)
    except (TemplateError, RecursionError, SyntaxError) as fault:
        raise DataError(f"the chat template can't be read: {fault}", do=do) from fault
    if found:
        raise DataError(f"the chat template reaches beyond what it is given: {found}", do=do)


def without_marks(text: str) -> str:
    """A template without `{% generation %}`, by which transformers marks answers; plain Jinja does not know it."""
    return _MARK.sub(lambda mark: f"{mark[1]}{'endif' if mark[2] else 'if true'}{mark[3]}", text)


def _reaches(tree: nodes.Node) -> Iterator[str]:
    """What in a template gives it away."""
    if any(True for _ in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))):
        yield "another template"
    for node in tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Name, nodes.Filter, nodes.Const)):
        match node:
            case nodes.Getattr(attr=str(name)) | nodes.Name(name=str(name)) if name.startswith("_"):
                yield name
            case nodes.Getattr(attr=str(name)) if name.startswith(_PRIVATE):
                yield name
            case nodes.Filter(name="attr"):
                yield "attr"
            case nodes.Const(value=str(text)) if "__" in text:
                yield text[:40]
            case nodes.Getitem(arg=computed) if _is_computed_text(computed):
                yield "an item whose name is computed"


def _is_computed_text(node: nodes.Node) -> bool:
    """Whether a name is put together: text added, joined, formatted, filtered or called for."""
    if isinstance(node, nodes.Concat | nodes.Call):
        return True
    together = isinstance(node, nodes.Add | nodes.Mod | nodes.Mul | nodes.Filter | nodes.CondExpr)
    return together and any(isinstance(one.value, str) for one in node.find_all(nodes.Const))


def _broken_tensors(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > path.stat().st_size:
            raise ValueError("its header is longer than the file")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    ends = [0, *sorted(told["data_offsets"][1] for told in header.values())]
    if sorted(told["data_offsets"][0] for told in header.values()) != ends[:-1]:
        raise ValueError("its tensors overlap, or there is a gap between them")
    for name, told in header.items():
        kind, broken = _NOT_NUMBERS.get(told.get("dtype", ""), ("", None))
        if broken is None:
            continue
        begin, end = told["data_offsets"]
        count = (end - begin) // np.dtype(kind).itemsize
        values = np.memmap(path, kind, "r", 8 + length + begin, (count,)) if count else np.zeros(0, kind)
        if any(broken(values[place : place + _AT_ONCE]).any() for place in range(0, count, _AT_ONCE)):
            yield name
