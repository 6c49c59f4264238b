"""Files behind a URL: `s3://` through Arrow, `http(s)://` through the standard library, all others through fsspec.

S3's credentials and region are found as its own tools find them (environment, `~/.aws`); the endpoint of another
server than Amazon's is AWS_ENDPOINT_URL, or said in the URL: `s3://bucket/key?endpoint_override=host:9000&scheme=http`.
A name that begins with a dot is passed over. Of several files a few are copied at once, where a client can do that.
"""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Event
from typing import IO, Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import pyarrow as pa
from pyarrow import fs

from danlu.core.errors import DanluError, DataError, MachineError, RecipeError
from danlu.core.files import disk_faults
from danlu.core.plugin import lazy

_fsspec: Any = lazy("fsspec.core")
_arrow: Any = lazy("fsspec.implementations.arrow")

AHEAD = 4
"""Files that are copied at once, or wait, beside the one that is read."""
_CHUNK = 1 << 20
_PATIENCE = 60  # seconds without a byte
_STATES = ("ETag", "etag", "mtime", "LastModified")
_OF_OBJECT = ("ETag", "Content-Length", "Last-Modified")
_LARGER = "if that is right: a higher `unpacked_gb`"
_TRY = "check the address, the network and the credentials"


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file elsewhere: `name` is its path below the URL that was named, `shown` how errors call it."""

    name: str
    shown: str
    tell: Callable[[], str]
    open: Callable[[], IO[bytes]]
    together: bool = True
    """Whether other files of its server may be read meanwhile."""

    def state(self) -> str:
        """What tells one state of the file from another: the server's word for it, else the SHA-256 of its content."""
        with _told(self.shown):
            if said := self.tell():
                return said
            with self.open() as stream:
                return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]

    def fetch(self, target: Path, most: int, do: str = _LARGER, stopped: Event | None = None) -> None:
        """Copy the file to `target`; raises DataError when it has more than `most` bytes or changes meanwhile.

        `do` is what to do about one that is too large. Once `stopped` is set no more of it is copied.
        """
        with _told(self.shown):
            before, copied = self.tell(), 0
            with self.open() as stream, disk_faults(target), target.open("wb") as out:
                while chunk := stream.read(_CHUNK):
                    if stopped is not None and stopped.is_set():
                        return
                    copied += len(chunk)
                    if copied > most:
                        raise DataError(f"it has more than {most / 1e9:g} GB", where=self.shown, do=do)
                    out.write(chunk)
                if getattr(stream, "length", 0):  # of HTTP: what is still to come
                    raise MachineError("the connection broke off", where=self.shown, do="run again")
            if self.tell() != before:
                raise DataError("it was changed while it was read", where=self.shown, do="try again when it is whole")


class Fetching:
    """Copies of files, made ahead of who takes them, in their order; to be entered and left.

    On leaving, what is still being copied is dropped at its next byte: the folder can then be removed.
    """

    def __init__(self, files: Sequence[RemoteFile], folder: Path, most: int, do: str = _LARGER) -> None:
        """`most` and `do` are those of `fetch`, asked for `AHEAD` files at once where the client can."""
        self._left = ((one, folder / str(number)) for number, one in enumerate(files))
        self._most, self._do, self._stopped = most, do, Event()
        self._coming: deque[tuple[Path, Future[None]]] = deque()
        self._ahead = AHEAD if all(one.together for one in files) else 1
        self._threads = ThreadPoolExecutor(self._ahead, "fetching")

    def take(self) -> Path:
        """The copy of the next file, for the caller to remove. Raises what `fetch` raised for it."""
        for one, target in islice(self._left, self._ahead - len(self._coming)):
            fetched = self._threads.submit(one.fetch, target, self._most, self._do, self._stopped)
            self._coming.append((target, fetched))
        target, fetched = self._coming.popleft()
        try:
            fetched.result()
        except DanluError:
            target.unlink(missing_ok=True)
            raise
        return target

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._threads.shutdown(cancel_futures=True)


@contextmanager
def _told(shown: str) -> Iterator[None]:
    """Whatever a client of a server raises, as an error that says where and hides what a URL's query holds."""
    try:
        yield
    except DanluError:
        raise
    except urllib.error.HTTPError as fault:
        kind = DataError if fault.code in (404, 410) else MachineError
        raise kind(f"the server says {fault.code} {fault.reason}", where=shown, do=_TRY) from fault
    except FileNotFoundError as fault:
        raise DataError("there is no such file", where=shown, do="check the path") from fault
    except (OSError, http.client.HTTPException, pa.ArrowException, ValueError, ImportError) as fault:
        said = (str(fault).splitlines() or [type(fault).__name__])[0]
        raise MachineError(f"it can't be read: {said}", where=shown, do=_TRY) from fault


def find(url: str, wanted: Callable[[str], bool]) -> list[RemoteFile]:
    """The files behind a URL, in the order of their names: itself, or the wanted ones below it or that match it.

    HTTP has no folders: there a URL is one file. Raises DataError when there is none, RecipeError for a password in the
    URL, MachineError when the server can't be reached.
    """
    parts = urlsplit(url)
    if parts.password:
        raise RecipeError("a URL with a password in it would be kept in every manifest", do="leave it out")
    shown = urlunsplit((*parts[:3], "", ""))
    with _told(shown):
        if parts.scheme in ("http", "https"):
            return [_of_http(url, shown)]
        system, path = _filesystem(url)
        found = sorted(_below(system, path, shown, wanted))
        if not found:
            raise DataError("there is no such file, and none below it", where=shown, do="check the path")
        place = f"{parts.scheme}://"
        together = isinstance(getattr(system, "fs", None), fs.S3FileSystem) or bool(system.async_impl)
        return [
            RemoteFile(name, place + one, _teller(system, one), _opener(system, one), together) for name, one in found
        ]


def _below(system: Any, path: str, shown: str, wanted: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Name and path of each file."""
    root = path.rstrip("/")
    if any(sign in path for sign in "*?["):
        root = path[: min(path.find(sign) for sign in "*?[" if sign in path)].rpartition("/")[0]
        found = [one for one in system.glob(path) if not system.isdir(one)]
    elif system.isfile(path):
        yield path.rpartition("/")[2], path
        return
    else:
        found = [one for one in system.find(path) if wanted(one)]
    for one in found:
        name = one.removeprefix(root).lstrip("/")
        if ".." in name.split("/"):
            raise DataError(f"{name!r} leads out of the folder", where=shown, do="name the file itself")
        if not any(part.startswith(".") for part in name.split("/")):
            yield name, one


def _filesystem(url: str) -> tuple[Any, str]:
    if url.startswith("s3://"):
        s3, path = fs.FileSystem.from_uri(url)
        return _arrow.ArrowFSWrapper(s3), path
    system, path = _fsspec.url_to_fs(url)
    return system, path


def _teller(system: Any, path: str) -> Callable[[], str]:
    def of_object() -> str:
        # S3 counts time in whole seconds, and a listing has no ETag: two states of one size and second look alike
        with system.fs.open_input_stream(path) as stream:
            told = stream.metadata()
        return " ".join(told[key].decode() for key in _OF_OBJECT if key in told)

    def tell() -> str:
        if isinstance(getattr(system, "fs", None), fs.S3FileSystem):
            return of_object()
        system.invalidate_cache()
        info = system.info(path)
        return " ".join(str(info[key]) for key in ("size", *_STATES) if key in info and info.keys() & set(_STATES))

    return tell


def _opener(system: Any, path: str) -> Callable[[], IO[bytes]]:
    return lambda: system.open(path, "rb")


# ---- HTTP ------------------------------------------------------------------------------------------------------------


def _of_http(url: str, shown: str) -> RemoteFile:
    name = unquote(urlsplit(url).path).rpartition("/")[2] or "index"

    def tell() -> str:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_PATIENCE) as answer:  # noqa: S310 - http alone comes here
                told = answer.headers
        except urllib.error.HTTPError as fault:
            if fault.code in (403, 405, 501):  # a server, or a signed URL, that knows GET alone
                return ""
            raise
        if told["ETag"] or told["Last-Modified"]:
            return f"{told['ETag']} {told['Last-Modified']} {told['Content-Length']}"
        return ""

    return RemoteFile(name, shown, tell, lambda: urllib.request.urlopen(url, timeout=_PATIENCE))  # noqa: S310
