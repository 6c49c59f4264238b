import pytest

from artifacts import KEY, change, drafts, fill, kill_at_every_call, store, told  # noqa: F401 - a fixture
from danlu.core.errors import DataError


def test_clean_keeps_what_versions_rest_on_and_tells_first(store):
    data = fill(store, "1" * 64, {"a": "1" * 1000}, kind="dataset")
    model = fill(store, "2" * 64, {"a": "2" * 100}, inputs={"dataset": told(data)})
    other = fill(store, "3" * 64, {"a": "3" * 10})
    (store.work("4" * 64) / "checkpoint").write_text("4" * 7)
    dry = store.clean(dry_run=True, keep={model.digest})
    assert [a.key for a in dry.artifacts] == [other.key]
    assert dry.bytes == 10 + 7 + (other.path / "manifest.json").stat().st_size
    assert len(store.artifacts()) == 3
    assert store.clean(keep={model.digest}) == dry
    assert {a.key for a in store.artifacts()} == {data.key, model.key}
    assert list((store.path / "work").iterdir()) == []
    assert store.clean(keep={model.digest}).bytes == 0
    store.clean()
    assert store.artifacts() == []


def test_clean_leaves_a_broken_artifact_alone_and_frees_the_others(store):
    broken, other = fill(store, "1" * 64), fill(store, "2" * 64)
    change(broken.path / "manifest.json", "no manifest")
    with pytest.raises(DataError, match="can't be read"):
        store.artifacts()
    safe = store.clean(keep={"d" * 64})
    assert (safe.artifacts, len(safe.broken)) == ((), 1), "the broken one may be what a version rests on"
    cleaned = store.clean()
    assert [artifact.key for artifact in cleaned.artifacts] == [other.key]
    assert [fault.where for fault in cleaned.broken] == [str(broken.path)]
    assert (broken.path.is_dir(), other.path.is_dir()) == (True, False)


def test_a_look_at_sizes_finds_less_than_a_check_of_digests(store):
    made = fill(store)
    change(made.path / "weights.txt", "1 2 4")
    made.verify(sizes_only=True)
    with pytest.raises(DataError, match=r"weights.txt was changed"):
        made.verify()
    change(made.path / "weights.txt", "1 2")
    with pytest.raises(DataError, match=r"weights.txt was changed"):
        made.verify(sizes_only=True)


def test_clean_counts_a_linked_file_once_and_only_when_its_last_name_goes(store, tmp_path):
    made = fill(store, "1" * 64, {"a": "x" * 1000})
    (tmp_path / "published").hardlink_to(made.path / "a")
    assert store.clean(dry_run=True).bytes == (made.path / "manifest.json").stat().st_size


def test_a_kill_at_any_moment_of_a_clean_leaves_whole_artifacts_only(store):
    killed = 0
    for key in ("1", "2"):
        fill(store, key * 64)
    for _ in kill_at_every_call(store, lambda store: store.clean()):
        killed += 1
        for found in store.artifacts():
            found.verify()
        store.sweep()
        assert not drafts(store)
        for key in ("1", "2"):
            if not store.find(key * 64):
                fill(store, key * 64)
    assert store.artifacts() == []
    assert killed >= 6


def test_clean_frees_texts_that_were_cut_into_tokens(store):
    data = fill(store, "1" * 64, {"a": "1"}, kind="dataset")
    folder = store.path / "tokens" / "abc"
    folder.mkdir(parents=True)
    (folder / "ids.npy").write_bytes(b"x" * 1000)
    assert store.clean(dry_run=True, keep={data.digest}).bytes == 1000
    assert folder.is_dir()
    assert store.clean(keep={data.digest}).bytes == 1000
    assert not folder.exists()
