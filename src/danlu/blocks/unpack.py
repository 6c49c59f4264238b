"""Unpack gzip, bzip2, xz and Zstandard files in constant memory, with a bound on what comes out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pyarrow as pa

from danlu.core.errors import DataError
from danlu.core.files import disk_faults

_CHUNK = 1 << 20
_XZ_MEMORY = 256 << 20  # bytes: the largest preset, -9, needs 65 MiB
_SMALL = 64 << 20  # bytes: what unpacks to less harms nobody, whatever the ratio
ARCHIVES = (".zip", ".tar", ".tgz", ".rar", ".7z")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a file may grow: `total` bytes in all, and `ratio` times its own size."""

    total: int
    ratio: float

    def check(self, grown: int, size: int, name: str) -> None:
        """Raise DataError when a file of `size` bytes has grown to more than is allowed."""
        if grown > self.total:
            what = f"it unpacks to more than {self.total / 1e9:g} GB"
            raise DataError(what, where=name, do="if it is no bomb: a higher `unpacked_gb`")
        if grown > max(_SMALL, self.ratio * size):
            what = f"it unpacks to more than {self.ratio:g} times its size, as only a bomb or very dull data does"
            raise DataError(what, where=name, do="if it is no bomb: a higher `unpacked_ratio`")


def _xz(path: Path) -> Iterator[bytes]:
    """The standard library's LZMAFile takes as much memory as the file asks for, up to 4 GB."""
    with path.open("rb") as stream:
        packed = stream.read(_CHUNK)
        while packed:
            unpacker = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            while not unpacker.eof:
                if unpacker.needs_input and not packed:
                    raise EOFError("it ends in the middle")
                yield unpacker.decompress(packed, _CHUNK)
                packed = stream.read(_CHUNK) if unpacker.needs_input else b""
            packed = (unpacker.unused_data or stream.read(_CHUNK)).lstrip(b"\0")  # padding between streams


def _zstd(path: Path) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _by(opened: Callable[[Path], Any]) -> Callable[[Path], Iterator[bytes]]:
    def chunks(path: Path) -> Iterator[bytes]:
        with opened(path) as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    return chunks


_UNPACKERS: Mapping[str, Callable[[Path], Iterator[bytes]]] = MappingProxyType(
    {".gz": _by(gzip.open), ".bz2": _by(bz2.open), ".xz": _xz, ".zst": _zstd}
)
PACKED = tuple(_UNPACKERS)


def unpack(path: Path, target: Path, limits: Limits, name: str) -> None:
    """Write what a packed file holds to `target`; the ending of `name`, which errors tell, says how it is packed.

    Raises DataError for a file that is cut off or not what its name says, and for one that grows beyond `limits`.
    """
    size, grown = path.stat().st_size, 0
    chunks = _UNPACKERS[Path(name).suffix.lower()](path)
    with disk_faults(target), target.open("wb") as out:
        while chunk := _next(chunks, name):
            grown += len(chunk)
            limits.check(grown, size, name)
            out.write(chunk)


def _next(chunks: Iterator[bytes], name: str) -> bytes:
    try:
        return next((chunk for chunk in chunks if chunk), b"")
    except (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException, ValueError) as fault:
        what = f"it can't be unpacked: {str(fault) or type(fault).__name__}"
        raise DataError(what, where=name, do="get the file again, whole") from fault
