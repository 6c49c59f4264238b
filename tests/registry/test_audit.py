import random
import sqlite3

import pytest

from danlu.core.errors import DataError
from danlu.registry.audit import way_back
from danlu.registry.versions import Entry


@pytest.fixture
def busy(registry, publish):
    """A registry in which a few things were done."""
    publish("a", "b", "c")
    for number in (1, 2, 3):
        registry.move("reviews", "production", to=number, actor="ada", why=f"try {number}")
    registry.move("reviews", "staging", to=1, actor="bob")
    registry.rollback("reviews", actor="eve", why="too slow")
    publish("d", name="digits")
    return registry


def test_every_act_is_written_down_once(busy):
    told = [(e.action, e.name, e.alias, e.before, e.after) for e in busy.audit()]
    assert told == [
        *(("publish", "reviews", "", None, number) for number in (1, 2, 3)),
        ("move", "reviews", "production", None, 1),
        ("move", "reviews", "production", 1, 2),
        ("move", "reviews", "production", 2, 3),
        ("move", "reviews", "staging", None, 1),
        ("rollback", "reviews", "production", 3, 2),
        ("publish", "digits", "", None, 1),
    ]
    assert [e.id for e in busy.audit()] == list(range(1, 10))
    assert [e.at for e in busy.audit()] == sorted(e.at for e in busy.audit())
    assert [(e.actor, e.why) for e in busy.audit("reviews", "production")][-1] == ("eve", "too slow")
    assert all(e.actor for e in busy.audit())
    assert len(busy.audit("digits")) == 1
    assert busy.check_audit() == 9


def edit(path, *statements):
    with sqlite3.connect(path, isolation_level=None) as raw:
        raw.execute("PRAGMA foreign_keys = OFF")
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)


@pytest.mark.parametrize("seed", range(60))
def test_an_edited_removed_or_swapped_entry_is_found(busy, seed):
    chance = random.Random(seed)
    row, other = chance.sample(range(1, 10), 2)
    kind = seed % 3
    if kind == 0:
        column = chance.choice(["at", "actor", "action", "name", "alias", "before", "after", "why", "seal"])
        edit(busy.database.path, f"UPDATE audit SET {column} = '7' WHERE id = {row}")
    elif kind == 1:
        edit(busy.database.path, f"DELETE FROM audit WHERE id = {row}")
    else:
        swap = [f"UPDATE audit SET id = {a} WHERE id = {b}" for a, b in ((99, row), (row, other), (other, 99))]
        edit(busy.database.path, *swap)
    with pytest.raises(DataError, match=r"of the audit was edited, removed or moved|has no entry for digits@1"):
        busy.check_audit()


def test_an_edited_move_leads_nowhere(busy):
    edit(busy.database.path, "UPDATE audit SET after = 3 WHERE action = 'rollback'")
    with pytest.raises(DataError, match="entry 8 of the audit, which moved reviews@production, was edited"):
        busy.resolve("reviews")


def moves(*steps):
    return [
        Entry(k, "", "", "rollback" if step < 0 else "move", "m", "a", None, abs(step), "")
        for k, step in enumerate(steps)
    ]


@pytest.mark.parametrize(
    ("steps", "back"),
    [
        ([], None),
        ([1], None),
        ([1, 2], 1),
        ([1, 2, 3], 2),
        ([1, 2, 3, -2], 1),
        ([1, 2, 3, -2, -1], None),
        ([1, 2, 3, -2, 4], 2),
        ([1, 2, 1, 2], 1),
        ([1, 2, 1, 2, -1, -2], 1),
    ],
)
def test_the_way_back(steps, back):
    assert way_back(moves(*steps)) == back
