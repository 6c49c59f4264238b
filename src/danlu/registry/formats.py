"""Which files a version may hold: only formats whose reading cannot run code, judged by content and by name.

There is no list of bad formats to keep up: what is not on the short list of good ones is refused, and what is on it
must parse as what its name says. So a pickle or an archive does not get in under another name.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from danlu.core.errors import DataError

HEADER_LIMIT: Final = 100_000_000
"""Bytes; the limit of the safetensors format itself for its header."""

_PLAIN = "only safetensors, ONNX, JSON and plain text formats are stored, since reading them cannot run code"


def check_format(path: Path, name: str) -> None:
    """Raise a `DataError` naming `name` unless its format is allowed and the file at `path` really is of that format.

    Reads headers and structure, not weights: a NaN in a tensor is for others to find. Text may say anything: a chat
    template is checked where it is run.
    """
    check = _CHECKS.get(Path(name).suffix)
    if check is None:
        allowed = " ".join(sorted(_CHECKS))
        raise DataError(f"the format of {name} is not accepted: {_PLAIN}", where=str(path), do=f"accepted: {allowed}")
    try:
        check(path)
    except (ValueError, IndexError, RecursionError) as fault:
        what = f"{name} is not what its name says ({fault})"
        raise DataError(what, where=str(path), do=f"save it anew; {_PLAIN}") from fault


def _text(path: Path) -> str:
    text = path.read_bytes().decode("utf-8")
    if "\0" in text:
        raise ValueError("it is not text: there is a NUL in it")
    return text


def _json(path: Path) -> None:
    json.loads(_text(path))


def _json_lines(path: Path) -> None:
    for line in filter(None, _text(path).split("\n")):
        json.loads(line)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in the header")
    return found


def _safetensors(path: Path) -> None:
    """Check the header and that the tensors cover the rest of the file, without gap or overlap.

    The format: 8 bytes little-endian length, that many bytes of JSON, then the tensors.
    https://huggingface.co/docs/safetensors
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(HEADER_LIMIT, size - 8):
            raise ValueError("no safetensors header: its length is impossible")
        header = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_unique)
    if not isinstance(header, dict):
        raise ValueError("the safetensors header is not a table of tensors")
    spans = sorted(_span(entry) for tensor, entry in header.items() if tensor != "__metadata__")
    place = 0
    for begin, end in spans:
        if begin != place or end < begin:
            raise ValueError("the tensors overlap, or there is a gap between them")
        place = end
    if 8 + length + place != size:
        raise ValueError(f"{size:,} bytes, where the header speaks of {8 + length + place:,}")


def _span(entry: Any) -> tuple[int, int]:
    match entry:
        case {"dtype": str(), "shape": [*shape], "data_offsets": [int(begin), int(end)]} if all(
            isinstance(length, int) and length >= 0 for length in shape
        ):
            return begin, end
    raise ValueError("the safetensors header does not describe a tensor")


_ONNX_PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "ModelProto": {7: "GraphProto", 20: "TrainingInfoProto", 25: "FunctionProto"},
    "TrainingInfoProto": {1: "GraphProto", 2: "GraphProto"},
    "FunctionProto": {7: "NodeProto", 11: "AttributeProto"},
    "GraphProto": {1: "NodeProto", 5: "TensorProto", 15: "SparseTensorProto"},
    "NodeProto": {5: "AttributeProto"},
    "AttributeProto": {
        5: "TensorProto", 10: "TensorProto", 6: "GraphProto", 11: "GraphProto", 22: "SparseTensorProto",
        23: "SparseTensorProto",
    },
    "SparseTensorProto": {1: "TensorProto", 2: "TensorProto"},
    "TensorProto": {},
}  # fmt: skip
"""Where tensors may hide in an ONNX file: message → field number → message (onnx.proto3)."""

_EXTERNAL_DATA, _DATA_LOCATION, _IR_VERSION, _GRAPH = 13, 14, 1, 7
_NUMBER, _NESTED, _FIXED = 0, 2, {1: 8, 5: 4}  # wire types of protobuf; of the fixed ones with their bytes


def _onnx(path: Path) -> None:
    """Walk the protobuf of an ONNX model; refuse tensors that are kept in other files.

    A path inside a model is a way out of its folder (CVE-2022-25882 and its four successors), so there is none.
    """
    if not path.stat().st_size:
        raise ValueError("it is empty")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tops = set()
        todo = [("ModelProto", 0, len(data))]
        while todo:
            message, begin, end = todo.pop()
            for field, kind, first, last in _fields(data, begin, end):
                if message == "ModelProto":
                    tops.add(field)
                elif message == "TensorProto" and _is_external(data, field, first, last):
                    raise ValueError("its weights are in another file; save them inside the model")
                part = _ONNX_PARTS[message].get(field)
                if part and kind == _NESTED:
                    todo.append((part, first, last))
    if not {_IR_VERSION, _GRAPH} <= tops:
        raise ValueError("there is no ONNX graph in it")


def _is_external(data: mmap.mmap, field: int, first: int, last: int) -> bool:
    location = field == _DATA_LOCATION and any(byte & 127 for byte in data[first:last])
    return location or field == _EXTERNAL_DATA


def _fields(data: mmap.mmap, begin: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a protobuf message: number, wire type, start and end of the content."""
    place = begin
    while place < end:
        tag, first = _varint(data, place, end)
        field, kind = tag >> 3, tag & 7
        if kind == _NUMBER:
            _, place = _varint(data, first, end)
        elif kind == _NESTED:
            length, first = _varint(data, first, end)
            place = first + length
        elif kind in _FIXED:
            place = first + _FIXED[kind]
        else:
            raise ValueError("it is not a protobuf")
        if not field or place > end:
            raise ValueError("it is not a whole protobuf")
        yield field, kind, first, place


def _varint(data: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    value = 0
    for k in range(min(10, end - place)):
        byte = data[place + k]
        value |= (byte & 127) << (7 * k)
        if byte < 128:
            return value, place + k + 1
    raise ValueError("it is not a whole protobuf")


_CHECKS: Final[Mapping[str, Callable[[Path], object]]] = {
    ".safetensors": _safetensors,
    ".onnx": _onnx,
    ".json": _json,
    ".jsonl": _json_lines,
    **dict.fromkeys((".txt", ".md", ".html", ".jinja", ".yaml", ".csv", ".svg"), _text),
}
