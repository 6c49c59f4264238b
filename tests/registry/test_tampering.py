"""The files of a version and the records about it: what was changed behind the registry is refused."""

import random
import sqlite3
import stat

import pytest
from safetensors.numpy import load_file

from danlu.core.errors import DanluError, DataError, MachineError
from danlu.registry import content
from danlu.registry.store import Registry

# ---- files


def test_open_gives_a_read_only_folder_that_libraries_can_load(registry, model):
    folder = model()
    version = registry.publish("reviews", folder, metadata={})
    opened = registry.open(version)
    assert content.listing(opened) == content.listing(folder)
    assert load_file(opened / "model.safetensors")["weight"].sum() == 66
    assert all((opened / path).samefile(registry.blobs.path(f.sha256)) for path, f in version.files.items())
    modes = {stat.S_IMODE(path.stat().st_mode) for path in opened.rglob("*") if path.is_file()}
    assert modes == {0o444}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (opened, opened / "onnx")} == {0o555}
    assert registry.open(version) == opened
    registry.verify(version)


def test_open_copies_where_the_disk_has_no_links(registry, model, monkeypatch):
    monkeypatch.setattr(content, "link_or_copy", lambda source, target: target.write_bytes(source.read_bytes()))
    version = registry.publish("reviews", model(), metadata={})
    opened = registry.open(version)
    (opened / "README.md").chmod(0o644)
    (opened / "README.md").write_text("edited")
    for call in (registry.open, registry.verify):
        with pytest.raises(DataError, match=r"README.md of reviews@1 was changed: its SHA-256 differs") as caught:
            call(version)
        assert caught.value.where == str(opened)
        assert "built again from the store, which is whole" in caught.value.do
    content.remove(opened)
    assert registry.open(version) == opened


def test_open_when_another_process_builds_it_first(registry, model, monkeypatch):
    version = registry.publish("reviews", model(), metadata={})
    real = content.publish_dir

    def late(temp, final):
        monkeypatch.setattr(content, "publish_dir", real)
        registry.open(version)
        real(temp, final)

    monkeypatch.setattr(content, "publish_dir", late)
    opened = registry.open(version)
    assert [path.name for path in opened.parent.iterdir()] == [version.digest]


def flip(path, place=None):
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    mode = path.stat().st_mode
    path.chmod(0o644)
    path.write_bytes(data)
    path.chmod(mode)


@pytest.mark.parametrize("where", ["blob", "folder"])
def test_one_flipped_bit_in_any_file_is_refused(registry, model, where):
    """By hand in the store, or in the built folder: that is a hard link, so it damages the blob as well."""
    folder = model()
    version = registry.publish("reviews", folder, metadata={})
    opened = registry.open(version)
    assert len(version.files) == 10
    for path, file in version.files.items():
        flip(registry.blobs.path(file.sha256) if where == "blob" else opened / path)
        for call in (registry.open, registry.verify):
            with pytest.raises(DataError, match=f"{path} of reviews@1 (was changed|is damaged)") as caught:
                call(version)
            assert "publish the same content again, which mends it" in caught.value.do
        again = registry.publish("reviews", folder, metadata={})
        assert not again.created
        assert load_file(registry.open(version) / "model.safetensors")["weight"].sum() == 66
        registry.verify(version)


def test_flips_at_random_places_before_the_folder_is_built(registry, model):
    version = registry.publish("reviews", model(), metadata={})
    chance = random.Random(0)
    for _ in range(200):
        path, file = chance.choice(sorted(version.files.items()))
        blob, place = registry.blobs.path(file.sha256), chance.randrange(file.size)
        flip(blob, place)
        with pytest.raises(DataError, match=f"{path} of reviews@1"):
            registry.open(version)
        assert not (registry.store / "versions" / version.digest).exists()
        flip(blob, place)
    registry.open(version)


def test_a_missing_and_an_extra_file_are_refused(registry, model):
    version = registry.publish("reviews", model(), metadata={})
    opened = registry.open(version)
    opened.chmod(0o755)
    (opened / "extra.json").write_text("{}")
    with pytest.raises(DataError, match=r"extra.json of reviews@1 does not belong to it"):
        registry.open(version)
    (opened / "extra.json").unlink()
    (opened / "README.md").unlink()
    with pytest.raises(DataError, match=r"README.md of reviews@1 is missing"):
        registry.open(version)
    registry.blobs.path(version.files["README.md"].sha256).unlink()
    content.remove(opened)
    with pytest.raises(DataError, match=r"README.md of reviews@1 is missing") as caught:
        registry.open(version)
    assert "publish the same content again" in caught.value.do
    with pytest.raises(DataError, match=r"README.md of reviews@1 is damaged or missing"):
        registry.verify(version)


# ---- nothing changes


def test_no_record_can_be_changed_with_any_sql(registry, publish):
    publish("a", "b")
    registry.move("reviews", "production", to=1)
    with sqlite3.connect(registry.database.path, isolation_level=None) as raw:
        tables = {row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {"versions", "files", "audit"}
        for table in sorted(tables):
            columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            statements = [f"DELETE FROM {table}", f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}"]
            statements += [f"UPDATE OR REPLACE {table} SET {column} = 7" for column in columns]
            for statement in statements:
                with pytest.raises(sqlite3.IntegrityError, match=f"what is in {table} is never changed"):
                    raw.execute(statement)
        late_file = "INSERT INTO files VALUES ('reviews', 1, 'late.json', 'x', 1)"
        same_digest = (
            "INSERT OR REPLACE INTO versions SELECT name, 9, digest, 'x', '{}', '[]', 'x' FROM versions LIMIT 1"
        )
        for statement, table in ((late_file, "files"), (same_digest, "versions")):
            with pytest.raises(sqlite3.IntegrityError, match=f"what is in {table} is never changed"):
                raw.execute(statement)
    assert [v.metadata for v in registry.versions()] == [{"n": 2}, {"n": 1}]
    assert registry.check_audit() == 3


def untie(database):
    """A raw connection to a database whose triggers are gone, as a stranger with a disk editor has it."""
    raw = sqlite3.connect(database.path, isolation_level=None)
    for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        raw.execute(f"DROP TRIGGER {name}")
    return raw


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE versions SET metadata = '{}' WHERE number = 1",
        "UPDATE versions SET manifests = '[{}]' WHERE number = 1",
        "UPDATE versions SET published = 'x' WHERE number = 1",
        "UPDATE versions SET digest = 'x' WHERE number = 1",
        "UPDATE versions SET number = 5 WHERE number = 1",
        "UPDATE files SET sha256 = 'x' WHERE path = 'bundle.json' AND number = 1",
        "UPDATE files SET path = 'b.json' WHERE path = 'bundle.json' AND number = 1",
        "DELETE FROM files WHERE path = 'bundle.json' AND number = 1",
        "INSERT INTO files VALUES ('reviews', 1, 'late.json', 'x', 1)",
    ],
)
def test_a_record_edited_behind_the_triggers_is_refused(registry, publish, statement):
    publish("a", "b")
    raw = untie(registry.database)
    raw.execute(statement)
    raw.close()
    with pytest.raises(DataError, match=r"the record of reviews@[15] is not as it was written"):
        registry.versions()
    assert registry.resolve("reviews@2").number == 2


def test_flipped_bits_in_the_database_never_change_an_answer(registry, publish):
    """Each of 150 flips is refused, or it hit a place that says nothing."""
    publish("a", "b")
    registry.move("reviews", "production", to=1)
    registry.move("reviews", "production", to=2)
    path, chance, refused = registry.database.path, random.Random(0), 0
    whole = path.read_bytes()

    def answers():
        fresh = Registry(registry.store)
        return fresh.resolve("reviews"), fresh.resolve("reviews@1"), fresh.check_audit()

    expected = answers()
    for _ in range(150):
        data = bytearray(whole)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        try:
            assert answers() == expected
        except DanluError:
            refused += 1
    path.write_bytes(whole)
    assert answers() == expected
    assert refused > 15


@pytest.mark.parametrize("content_", [b"", b"SQLite format 3\0" + bytes(100), b"not a database" * 100])
def test_a_file_that_is_no_registry_is_refused(registry, model, content_):
    registry.store.mkdir()
    registry.database.path.write_bytes(content_)
    for call in (registry.versions, lambda: registry.publish("reviews", model(), metadata={})):
        with pytest.raises(DataError, match=r"the registry is damaged|registry format 0"):
            call()
    assert registry.database.path.read_bytes() == content_


def test_a_registry_of_a_newer_danlu_is_refused(registry, publish):
    publish("a")
    with sqlite3.connect(registry.database.path) as raw:
        raw.execute("PRAGMA user_version = 2")
    with pytest.raises(DataError, match="it has the registry format 2, this Danlu reads 1"):
        Registry(registry.store).versions()


def test_a_store_that_cannot_be_a_folder(tmp_path, model):
    (tmp_path / "file").touch()
    for store in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(MachineError, match="a file is where a folder is needed"):
            Registry(store).publish("reviews", model(str(len(str(store)))), metadata={})


def test_a_store_with_an_odd_path(tmp_path, model):
    registry = Registry(tmp_path / "a b?c#d%20e&f=丹")
    registry.open(registry.publish("reviews", model(), metadata={}))
    assert registry.database.path.exists()
