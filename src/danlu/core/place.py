"""The folder of a store: how one begins, and how it is told from any other folder."""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from danlu.core.errors import RecipeError
from danlu.core.files import make_dirs

_MARK = ".store"
_TEXT = "A store of Danlu: `danlu clean` frees what is not needed.\n"
_FOLDERS = ("artifacts", "drafts", "work", "runs", "locks")
_ITS_OWN = ("registry.db", "blobs", "versions", ".gitignore", _MARK)
"""What may be there before a store begins: what the registry makes, and what a killed beginning leaves."""


def make_place(path: Path) -> None:
    """Make a folder a store. Raises RecipeError for one that holds anything else: what is in a store may be cleaned."""
    mark = path / _MARK
    if mark.is_file() and (path / _FOLDERS[-1]).is_dir():
        return
    make_dirs(path)
    foreign = sorted(entry.name for entry in path.iterdir() if not entry.name.startswith(_ITS_OWN))
    if foreign and not mark.is_file():
        what = f"a store wants a folder of its own, and this one holds {foreign[0]}"
        raise RecipeError(what, where=str(path), do=f"--store {shlex.quote(str(path / '.danlu'))}")
    with suppress(FileExistsError), mark.open("x") as file:
        file.write(_TEXT)
    for name in _FOLDERS:
        make_dirs(path / name)
    with suppress(OSError), (path / ".gitignore").open("x") as file:
        file.write("*\n")


def check_place(path: Path) -> None:
    """Raise RecipeError for a folder that no store was begun in."""
    if not (path / _MARK).is_file():
        raise RecipeError("this is no store of Danlu", where=str(path), do="--store names the folder of a run")
