"""The values of the registry, and the one place where names and references are read."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Final

from danlu.blocks import label_sets
from danlu.core.errors import RecipeError

_NAME = re.compile(r"[a-z0-9]+(?:[._-]+[a-z0-9]+)*")
_LENGTH = 64


class Unchecked(Enum):
    """The type of `ANY`."""

    ANY = "any"


ANY: Final = Unchecked.ANY
"""Instead of the version that an alias is expected to point to: whatever it is."""


@dataclass(frozen=True)
class StoredFile:
    """One file of a version: the SHA-256 of its content (64 hexadecimal digits) and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True)
class Version:
    """A published model: it never changes.

    `digest` is the SHA-256 over the sorted paths and contents of `files`, so equal content has an equal digest.
    `published` is the time in UTC, ISO 8601. `manifests` are those of the artifacts it was made from (`lineage`).
    `created` is true only for the caller whose `publish` made it.
    """

    name: str
    number: int
    digest: str
    published: str
    files: Mapping[str, StoredFile]
    metadata: Mapping[str, Any]
    manifests: Sequence[Mapping[str, Any]]
    created: bool = False

    @property
    def reference(self) -> str:
        """How it is written in recipes and commands: `name@number`."""
        return f"{self.name}@{self.number}"

    @property
    def size(self) -> int:
        """Bytes of all its files; what it shares with other versions is stored once."""
        return sum(file.size for file in self.files.values())


@dataclass(frozen=True)
class Entry:
    """One line of the audit: what was done, by whom, when (UTC, ISO 8601), from and to which version, and why.

    `action` is `publish`, `move` or `rollback`; `alias` is empty for a publish; `before` is None where there was
    nothing.
    """

    id: int
    at: str
    actor: str
    action: str
    name: str
    alias: str
    before: int | None
    after: int
    why: str


def relabelled(before: Version, after: Version) -> str:
    """What callers must know who go from one version to another whose answers have other labels.

    Empty where the labels are the same, in whatever order, and where a version does not tell them.
    """
    old, new = (sorted(version.metadata.get("labels", ())) for version in (before, after))
    if not old or old == new or "labels" not in after.metadata:
        return ""
    what = label_sets.difference(old, new) if new else f"none in place of {label_sets.listed(old)}"
    return (
        f"{after.reference} answers with other labels than {before.reference}: {what}. "
        "Callers that rely on those labels break: change them too, or give the model another name"
    )


def check_name(name: str, what: str = "model name") -> str:
    """Return a name that may stand in references, paths and URLs; raise a `RecipeError` for any other.

    Lowercase letters and digits, inside also `-`, `_` and `.`; at most 64 characters.
    """
    if len(name) > _LENGTH or not _NAME.fullmatch(name) or ".." in name:
        raise RecipeError(
            f"{name!r} is not a valid {what}",
            do=f"use lowercase letters, digits and, inside, - _ . (at most {_LENGTH}){_suggestion(name)}",
        )
    return name


def _suggestion(name: str) -> str:
    plain = "-".join(re.findall(r"[a-z0-9]+", name.lower()))[:_LENGTH].strip("-")
    return f", for example {plain}" if plain else ""


def check_alias(alias: str) -> str:
    """Return an alias: a name that is not a number, since `model@3` is the third version."""
    if alias.isdecimal():
        raise RecipeError(
            f"{alias!r} is not a valid alias: a number means a version", do="use a word such as production"
        )
    return check_name(alias, "alias")


def read_reference(reference: str) -> tuple[str, int | str]:
    """Take `name`, `name@3` or `name@alias` apart: the name, and a version number or an alias.

    A bare name means `name@production`. Raises `RecipeError` when it is none of these.
    """
    name, at, choice = reference.partition("@")
    check_name(name)
    if not at:
        return name, "production"
    if re.fullmatch(r"[1-9][0-9]{0,8}", choice):
        return name, int(choice)
    if not choice or choice.isdecimal():
        raise RecipeError(f"{reference!r} names no version", do=f"write {name}@1 or {name}@production")
    return name, check_alias(choice)


def who() -> str:
    """The person or service that acts, for the audit: `DANLU_ACTOR`, else the login name, else the user's number."""
    try:
        return os.environ.get("DANLU_ACTOR") or getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number that has no name
        return f"uid {os.getuid()}"


def now() -> str:
    """The time in UTC, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
