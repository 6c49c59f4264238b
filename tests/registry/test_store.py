import dataclasses
import json
import os
import random
import sqlite3
import stat
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from danlu.core.errors import DanluError, DataError, GateError, MachineError, RecipeError
from danlu.core.files import locked, sha256_file
from danlu.registry import content
from danlu.registry.store import Registry

# ---- publishing


def test_publish_gives_numbers_from_1_and_keeps_what_it_was_given(registry, model):
    folder = model()
    manifests = [{"stage": "finetune", "digest": "d1", "inputs": {}, "numbers": {"loss": 0.25}}]
    first = registry.publish(
        "reviews", folder, metadata={"task": {"name": "丹"}}, manifests=manifests, actor="ada", why="try"
    )
    assert (first.reference, first.created) == ("reviews@1", True)
    assert {path: (file.sha256, file.size) for path, file in first.files.items()} == {
        path: (sha256_file(folder / path), (folder / path).stat().st_size) for path in content.listing(folder)
    }
    assert first.size == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    again = registry.resolve("reviews@1")
    assert again == dataclasses.replace(first, created=False)
    assert again.metadata == {"task": {"name": "丹"}}
    assert again.manifests == manifests
    assert registry.publish("reviews", model("second"), metadata={}).number == 2
    assert registry.publish("digits", model("second"), metadata={}).number == 1
    assert registry.names() == ["digits", "reviews"]
    assert [v.reference for v in registry.versions()] == ["digits@1", "reviews@2", "reviews@1"]
    assert [v.reference for v in registry.versions("reviews", limit=1)] == ["reviews@2"]


def test_the_digest_can_be_recomputed_with_sha256sum(registry, model):
    folder = model()
    version = registry.publish("reviews", folder, metadata={})
    command = "find . -type f -printf '%P\\n' | LC_ALL=C sort | xargs sha256sum | sha256sum"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == version.digest


def test_equal_content_is_published_once(registry, publish, model):
    first, second = publish("a", "b")
    audit = registry.audit()
    again = registry.publish("reviews", model("reviews-a"), metadata={"other": 1}, why="again")
    assert again == dataclasses.replace(first, created=False)
    assert registry.audit() == audit
    other = registry.publish("other", model("reviews-b"), metadata={})
    assert (other.reference, other.digest, other.created) == ("other@1", second.digest, True)
    assert len(list(registry.blobs.stored())) == len({f.sha256 for v in (first, second) for f in v.files.values()})


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "Reviews", "a\0b", "..", "a@1"])
def test_a_bad_name_leaves_nothing(registry, model, name):
    with pytest.raises(RecipeError, match="is not a valid model name"):
        registry.publish(name, model(), metadata={})
    assert not registry.store.exists()


def test_a_folder_that_may_not_be_published_leaves_nothing(registry, model, tmp_path):
    def refused(match):
        with pytest.raises(DataError, match=match):
            registry.publish("reviews", folder, metadata={})
        assert not registry.store.exists()

    folder = tmp_path / "nowhere"
    refused("no such folder")
    folder.mkdir()
    (folder / "deep").mkdir()
    refused("no file in it")
    folder = model()
    (folder / "link.json").symlink_to(folder / "bundle.json")
    refused(r"link.json is a link")
    (folder / "link.json").unlink()
    (folder / "link").symlink_to(tmp_path)
    refused("link is a link")
    (folder / "link").unlink()
    os.mkfifo(folder / "pipe.txt")
    refused(r"pipe.txt is a link or a device")
    (folder / "pipe.txt").unlink()
    (folder / "new\nline.txt").touch()
    refused("not a plain path")
    (folder / "new\nline.txt").unlink()
    (folder / "optimizer.pt").write_bytes(b"PK")
    refused(r"the format of optimizer.pt is not accepted")


@pytest.mark.parametrize("value", [float("nan"), {1, 2}, object(), b"x"])
def test_metadata_that_is_not_json_is_refused(registry, model, value):
    with pytest.raises(DataError, match="metadata of a version must be plain JSON"):
        registry.publish("reviews", model(), metadata={"value": value})
    with pytest.raises(DataError, match="manifests of a version must be plain JSON"):
        registry.publish("reviews", model("b"), metadata={}, manifests=[{"value": value}])
    assert not registry.store.exists()


def test_text_that_is_half_a_character_survives(registry, model):
    assert registry.publish("reviews", model(), metadata={"label": "\ud83d"}).metadata == {"label": "\ud83d"}


def test_a_file_that_changes_while_it_is_stored_is_refused(registry, model, monkeypatch):
    folder = model()
    real = content.check_folder

    def check_then_change(path):
        names = real(path)
        monkeypatch.setattr("danlu.registry.blobs._copy_durably", lambda source, target: target.write_text("other"))
        return names

    monkeypatch.setattr(content, "check_folder", check_then_change)
    with pytest.raises(DataError, match="changed while it was read"):
        registry.publish("reviews", folder, metadata={})
    assert registry.versions() == []
    assert list(registry.blobs.stored()) == []


def test_the_metadata_of_a_version_is_that_of_its_first_publication(registry, publish, model):
    publish("a")
    assert registry.publish("reviews", model("reviews-a"), metadata={"n": "changed"}).metadata == {"n": 1}


# ---- an empty store, and finding versions


def test_reading_an_empty_store_makes_nothing(registry):
    assert registry.versions() == registry.names() == registry.audit() == []
    assert registry.aliases("reviews") == {}
    assert registry.check_audit() == 0
    assert registry.clean().files == {}
    with pytest.raises(RecipeError, match="there is no model reviews"):
        registry.resolve("reviews")
    with pytest.raises(RecipeError, match="there is no model reviews"):
        registry.rollback("reviews")
    assert not registry.store.exists()


def test_resolve(registry, publish):
    publish("a", "b", "c")
    registry.move("reviews", "staging", to=3)
    with pytest.raises(RecipeError, match=r"reviews has no alias production; versions: 1 to 3; aliases: staging → 3"):
        registry.resolve("reviews")
    registry.move("reviews", "production", to=2)
    found = [
        registry.resolve(text).number for text in ("reviews", "reviews@production", "reviews@staging", "reviews@1")
    ]
    assert found == [2, 2, 3, 1]
    with pytest.raises(RecipeError, match="there is no version 9 of reviews; versions: 1 to 3"):
        registry.resolve("reviews@9")
    with pytest.raises(RecipeError, match=r"there is no model revews; did you mean reviews\?"):
        registry.resolve("revews@1")
    with pytest.raises(RecipeError, match="there is no model revews"):
        registry.move("revews", "production", to=1)


# ---- aliases


def test_an_alias_moves_by_comparing(registry, publish, monkeypatch):
    publish("a", "b", "c")
    monkeypatch.setenv("DANLU_ACTOR", "ada")
    first = registry.move("reviews", "production", to=1, expect=None, why="first")
    assert (first.before, first.after, first.action, first.actor, first.why) == (None, 1, "move", "ada", "first")
    with pytest.raises(GateError, match=r"expected no version, found reviews@1; ada moved it at 20.*: first"):
        registry.move("reviews", "production", to=2, expect=None)
    registry.move("reviews", "production", to=2, expect=1, actor="bob", why="better")
    with pytest.raises(GateError, match=r"expected reviews@1, found reviews@2; bob moved it at 20.*: better"):
        registry.move("reviews", "production", to=3, expect=1)
    with pytest.raises(GateError, match="expected reviews@1, found none"):
        registry.move("reviews", "staging", to=3, expect=1)
    assert registry.aliases("reviews") == {"production": 2}
    registry.move("reviews", "production", to=3)
    assert [(e.before, e.after) for e in registry.audit("reviews", "production")] == [(None, 1), (1, 2), (2, 3)]


def test_moving_to_where_it_is_writes_nothing(registry, publish):
    publish("a")
    first = registry.move("reviews", "production", to=1)
    assert registry.move("reviews", "production", to=1, expect=1) == first
    with pytest.raises(GateError, match="expected no version"):
        registry.move("reviews", "production", to=1, expect=None)
    assert len(registry.audit("reviews", "production")) == 1


@pytest.mark.parametrize("alias", ["3", "../x", "", "Prod"])
def test_a_bad_alias_is_refused(registry, publish, alias):
    publish("a")
    with pytest.raises(RecipeError, match="is not a valid alias"):
        registry.move("reviews", alias, to=1)
    with pytest.raises(RecipeError, match="is not a valid alias"):
        registry.rollback("reviews", alias)


def test_an_alias_points_only_to_what_exists(registry, publish):
    publish("a")
    with pytest.raises(RecipeError, match="there is no version 2 of reviews"):
        registry.move("reviews", "production", to=2)
    assert registry.aliases("reviews") == {}


def test_rollback_goes_back_step_by_step(registry, publish):
    publish("a", "b", "c")
    for number in (1, 2, 3):
        registry.move("reviews", "production", to=number)
    assert [registry.rollback("reviews", why="slow").after for _ in range(2)] == [2, 1]
    with pytest.raises(RecipeError, match="cannot go back: reviews@1 is the first version it pointed to"):
        registry.rollback("reviews")
    registry.move("reviews", "production", to=3)
    entry = registry.rollback("reviews", actor="eve", why="slow")
    assert (entry.action, entry.before, entry.after, entry.actor, entry.why) == ("rollback", 3, 1, "eve", "slow")
    assert registry.resolve("reviews").number == 1


def test_two_who_roll_back_at_once_go_back_one_version(registry, publish):
    publish("a", "b", "c")
    for number in (1, 2, 3):
        registry.move("reviews", "production", to=number)
    registry.rollback("reviews", expect=3)
    with pytest.raises(GateError, match=r"expected reviews@3, found reviews@2"):
        registry.rollback("reviews", expect=3)
    with pytest.raises(RecipeError, match="reviews has no alias staging"):
        registry.rollback("reviews", "staging")


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


# ---- space


def test_clean_removes_only_what_no_version_needs(registry, publish, model):
    versions = publish("a", "b")
    opened = registry.open(versions[0])
    orphan = registry.blobs.put(model("orphan") / "bundle.json")[0]
    half = registry.blobs.path(orphan.sha256).with_name(".tmp-1234")
    half.write_bytes(b"12345")
    built = opened.parent / ".tmp-5678"
    built.mkdir()
    (built / "bundle.json").hardlink_to(opened / "bundle.json")  # frees nothing
    (built / "own.json").write_text("1234567")
    built.chmod(0o555)
    (opened.parent / ("0" * 64)).mkdir()
    live = set(registry.blobs.stored()) - {half, registry.blobs.path(orphan.sha256)}
    planned = registry.clean(dry_run=True)
    assert planned.size == orphan.size + 5 + 7
    assert len(planned.files) == 4
    assert half.exists()
    assert registry.clean() == planned
    assert set(registry.blobs.stored()) == live
    assert list(opened.parent.iterdir()) == [opened]
    assert registry.clean().files == {}
    for version in versions:
        registry.verify(version)
        registry.open(version)


def test_clean_waits_for_who_builds_a_folder(registry, publish, monkeypatch):
    (version,) = publish("a")
    real = content.publish_dir

    def slow(temp, final):
        with pytest.raises(BlockingIOError, match="unavailable"), locked(registry.blobs.folder / ".lock", wait=False):
            pass
        real(temp, final)

    monkeypatch.setattr(content, "publish_dir", slow)
    registry.open(version)


def test_clean_refuses_when_the_database_is_lost(registry, publish):
    publish("a")
    blobs = sorted(registry.blobs.stored())
    registry.database.path.unlink()
    with pytest.raises(DataError, match=r"registry.db is gone"):
        registry.clean()
    assert sorted(registry.blobs.stored()) == blobs


# ---- cost


def test_reading_imports_no_heavy_library(registry, publish):
    publish("a")
    code = (
        "import sys; from pathlib import Path; from danlu.registry.store import Registry\n"
        "print(len(Registry(Path(sys.argv[1])).versions()))\n"
        "heavy = {'torch', 'transformers', 'pyarrow', 'numpy', 'onnx', 'jinja2', 'safetensors', 'sklearn'}\n"
        "print(sorted(heavy & {name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(registry.store)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["1", "[]"]


def test_what_is_published_reads_back_as_json(registry, publish):
    (version,) = publish("a")
    assert json.loads(json.dumps(dataclasses.asdict(version)))["files"]["bundle.json"]["size"] > 0
