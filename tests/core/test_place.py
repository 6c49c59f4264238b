import pytest

from danlu.core.artifact import Store
from danlu.core.errors import RecipeError
from danlu.core.place import make_place


def strangers(folder):
    """A folder of somebody's own that looks like a store."""
    for name in ("work/results", "drafts/letter", "artifacts/" + "a" * 64, "blobs/ab", "versions/1"):
        (folder / name).mkdir(parents=True)
        (folder / name / "f.txt").write_text("mine")
    (folder / ".gitignore").write_text("secrets.env\n")
    return folder


def content(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in folder.rglob("*")}


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_folder_that_is_no_store_is_not_cleaned(tmp_path, dry_run):
    strangers(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RecipeError, match="this is no store of Danlu"):
        Store(tmp_path).clean(dry_run=dry_run)
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    "write", [lambda s: s.work("1" * 64), lambda s: s.draft("1" * 64), lambda s: make_place(s.path)]
)
def test_no_store_begins_among_other_things(tmp_path, write):
    strangers(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RecipeError, match=r"a store wants a folder of its own, and this one holds artifacts"):
        write(Store(tmp_path))
    assert content(tmp_path) == before


def test_a_store_begins_beside_a_registry_and_where_a_kill_left_its_mark(tmp_path):
    (tmp_path / "registry.db").write_text("")
    (tmp_path / "registry.db.lock").write_text("")
    (tmp_path / ".store").write_text("")
    make_place(tmp_path)
    make_place(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"artifacts", "drafts", "work", "runs", "locks", ".gitignore"}


def test_a_dry_run_counts_what_a_killed_run_left_and_leaves_it(tmp_path):
    store = Store(tmp_path / "store")
    (store.draft("1" * 64).path / "half").write_text("x" * 1000)
    before = content(store.path)
    assert store.clean(dry_run=True).bytes == 1000
    assert content(store.path).items() >= before.items()
    store.clean()
    assert list((store.path / "drafts").iterdir()) == []
