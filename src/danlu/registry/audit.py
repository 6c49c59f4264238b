"""Who did what, when and why: a chain of entries to which one can only add. An alias is where its last entry put it.

So history and present cannot disagree, and going back is one more entry. Every entry carries a seal over itself and the
seal before it: an entry that is edited, removed or put elsewhere breaks the chain (`check`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from danlu.core.errors import DataError
from danlu.core.files import sha256_bytes
from danlu.registry.database import Database, audit, versions
from danlu.registry.versions import Entry, now, who

_FIELDS = [column for column in audit.c if column.name != "seal"]


def seal(*values: Any) -> str:
    """The SHA-256 over some values, as 64 hexadecimal digits."""
    return sha256_bytes(json.dumps(values, ensure_ascii=False).encode())


def add(
    connection: Connection, action: str, name: str, after: int, *, alias: str = "", before: int | None = None,
    actor: str, why: str,
) -> Entry:  # fmt: skip
    """Add an entry inside the caller's transaction."""
    last = connection.execute(select(audit.c.id, audit.c.seal).order_by(audit.c.id.desc()).limit(1)).first()
    number, previous = (last.id + 1, last.seal) if last else (1, "")
    entry = Entry(number, now(), actor or who(), action, name, alias, before, after, why)
    connection.execute(audit.insert().values(**vars(entry), seal=_seal(previous, entry)))
    return entry


def _seal(previous: str, entry: Entry) -> str:
    return seal(previous, *vars(entry).values())


def entries(database: Database, name: str = "", alias: str = "") -> list[Entry]:
    """All entries, or those of a model, or those of one of its aliases; the oldest first."""
    query = select(*_FIELDS).order_by(audit.c.id)
    if name:
        query = query.where(audit.c.name == name)
    if alias:
        query = query.where(audit.c.alias == alias)
    return [Entry(**row._mapping) for row in database.rows(query)]


def history(connection: Connection, name: str, alias: str, *, limit: int | None = None) -> list[Entry]:
    """The moves of an alias inside a transaction, the oldest first; at most the last `limit`."""
    query = select(*_FIELDS).where(audit.c.name == name, audit.c.alias == alias).order_by(audit.c.id.desc())
    return [Entry(**row._mapping) for row in connection.execute(query.limit(limit))][::-1]


def places(database: Database, name: str) -> dict[str, int]:
    """Alias → the version it points to. Raises `DataError` when one of the entries that say so was edited."""
    last = select(func.max(audit.c.id)).where(audit.c.name == name, audit.c.alias != "").group_by(audit.c.alias)
    before = audit.alias()
    join = audit.outerjoin(before, before.c.id == audit.c.id - 1)
    query = select(audit, before.c.seal.label("previous")).select_from(join).where(audit.c.id.in_(last))
    found = {}
    for row in database.rows(query.order_by(audit.c.alias)):
        values = dict(row._mapping)
        previous, written, entry = values.pop("previous") or "", values.pop("seal"), Entry(**values)
        if _seal(previous, entry) != written:
            raise _broken(database, f"entry {entry.id} of the audit, which moved {name}@{entry.alias}, was edited")
        found[entry.alias] = entry.after
    return found


def way_back(moves: Sequence[Entry]) -> int | None:
    """Where a rollback leads: the version before the present one, not counting what was already rolled back.

    After 1 → 2 → 3 and a rollback to 2, the next rollback leads to 1 and not back to 3.
    """
    path: list[int] = []
    for move in moves:
        if move.action == "rollback":
            path.pop()
        else:
            path.append(move.after)
    return path[-2] if len(path) > 1 else None


def check(database: Database) -> int:
    """Read the whole chain; return its length. A `DataError` names the first entry that is not as it was written.

    The end of the chain has nobody after it to vouch for it; that every version has its entry is checked as well, so
    cutting off a publication is found. Cutting off the last moves of an alias is not.
    """
    previous, published = "", set()
    rows = database.rows(select(*_FIELDS, audit.c.seal).order_by(audit.c.id))
    for number, row in enumerate(rows, 1):
        values = dict(row._mapping)
        found, entry = values.pop("seal"), Entry(**values)
        previous = _seal(previous, entry)
        if entry.id != number or found != previous:
            raise _broken(database, f"entry {number} of the audit was edited, removed or moved")
        if entry.action == "publish":
            published.add((entry.name, entry.after))
    missing = {tuple(row) for row in database.rows(select(versions.c.name, versions.c.number))} - published
    if missing:
        name, number = min(missing)
        raise _broken(database, f"the audit has no entry for {name}@{number}: its end was removed")
    return len(rows)


def _broken(database: Database, what: str) -> DataError:
    return DataError(
        what, where=str(database.path), do="compare registry.db with a backup, and find out who wrote to it"
    )
