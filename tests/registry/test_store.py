import dataclasses
import json
import os
import subprocess
import sys

import pytest

from danlu.core.errors import DataError, GateError, RecipeError
from danlu.core.files import locked, sha256_file
from danlu.registry import content

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
