import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from danlu.core import plugin
from danlu.core.errors import MachineError, RecipeError

METHOD = '"""{doc}"""\nfrom danlu.contracts import Method\nclass {name}(Method):\n    """{doc}"""\n    rank: int = 1\n    """Width."""\n'


@pytest.fixture
def add(strangers, tmp_path):
    def add(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return plugin.add_file(tmp_path / name)

    return add


@pytest.fixture
def own_index(tmp_path, monkeypatch):
    """Our own plug-ins are looked up anew, with an empty cache and a wheel's index that the test may write."""
    monkeypatch.setenv("DANLU_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(plugin, "SHIPPED_INDEX", tmp_path / "index.json")
    plugin._own.cache_clear()
    yield tmp_path / "index.json"
    plugin._own.cache_clear()


# ---- strangers' plug-ins ----------------------------------------------------------------------------------------------------


def test_one_class_takes_the_files_name_and_several_their_own(add):
    (entry,) = add(METHOD.format(name="Anything", doc="Trains a little."), "own_method.py")
    assert (entry.family, entry.name, entry.origin, entry.doc) == (
        "methods",
        "own_method",
        "file",
        "Trains a little.\n\nTrains a little.",
    )
    assert plugin.find("methods", "own_method") == entry
    assert plugin.load("methods", "own_method")().name == "own_method"
    two = METHOD.format(name="BigNet", doc="a") + METHOD.format(name="SmallNet", doc="b").partition("\n")[2]
    assert [e.name for e in add(two, "nets.py")] == ["big_net", "small_net"]


def test_an_entry_tells_the_options(add):
    (entry,) = add(METHOD.format(name="A", doc="d"))
    assert entry.fields == {"rank": {"schema": {"type": "integer"}, "required": False, "doc": "Width.", "default": 1}}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x = 1\n", "it holds no plug-in\n  → derive a class"),
        ("import nothing_like_this\n", "importing it failed: ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("def (:\n", "importing it failed: SyntaxError"),
    ],
)
def test_a_file_that_holds_no_plugin(add, text, told):
    with pytest.raises(RecipeError, match=told):
        add(text)


def test_a_file_that_is_not_there(strangers, tmp_path):
    with pytest.raises(RecipeError, match=r"none.py: there is no such file to import"):
        plugin.add_file(tmp_path / "none.py")


def test_a_file_is_run_again_only_when_it_changed(add, tmp_path):
    count = f"from pathlib import Path\nwith Path({str(tmp_path / 'runs')!r}).open('a') as f: f.write('x')\n"
    for _ in range(3):
        first = add(METHOD.format(name="A", doc="one") + count)
    assert (tmp_path / "runs").read_text() == "x"
    second = add(METHOD.format(name="A", doc="two") + count)
    assert (tmp_path / "runs").read_text() == "xx"
    assert plugin.identity(first[0]) != plugin.identity(second[0])


def test_a_name_that_is_taken_is_refused(add):
    with pytest.raises(RecipeError, match=r"there is a metric called accuracy already, in .*accuracy.py\n  → give"):
        add("from danlu.contracts import Metric\nclass A(Metric):\n    ...\n", "accuracy.py")
    add(METHOD.format(name="BigNet", doc="a"), "big_net.py")
    with pytest.raises(RecipeError, match="there is a method called big_net already"):
        add(METHOD.format(name="BigNet", doc="a") + METHOD.format(name="Other", doc="b"), "nets.py")


def test_a_class_is_found_by_its_dotted_name(strangers, tmp_path, monkeypatch):
    (tmp_path / "dotted_pkg.py").write_text(METHOD.format(name="A", doc="d"))
    monkeypatch.syspath_prepend(tmp_path)
    entry = plugin.find("methods", "dotted_pkg:A")
    assert entry.origin == "class"
    assert plugin.load("methods", "dotted_pkg:A")().plain() == {"dotted_pkg:A": {"rank": 1}}
    with pytest.raises(RecipeError, match="dotted_pkg:A is not a plug-in of the family metrics"):
        plugin.find("metrics", "dotted_pkg:A")
    with pytest.raises(RecipeError, match="dotted_pkg:B can't be imported"):
        plugin.find("methods", "dotted_pkg:B")
    sys.modules.pop("dotted_pkg")


class Point:
    """An installed package's entry point."""

    value = "other_pkg:A"

    def __init__(self, load):
        self.load = load


def test_an_installed_package_brings_plugins_and_a_broken_one_is_listed_with_its_error(strangers, add, monkeypatch):
    (entry,) = add(METHOD.format(name="A", doc="d"))
    cls = plugin.load("methods", entry.name)

    def fail():
        raise ImportError("no library")

    monkeypatch.setattr(plugin, "_strangers", {})
    monkeypatch.setattr(
        plugin, "_entry_points", lambda: {("methods", "theirs"): Point(lambda: cls), ("methods", "broken"): Point(fail)}
    )
    assert plugin.find("methods", "theirs").origin == "entry point"
    assert "methods" in plugin.families()
    listed = {e.name: e.error for e in plugin.entries("methods")}
    assert listed["theirs"] == ""
    assert listed["broken"] == "ImportError: no library"
    with pytest.raises(MachineError, match="the method broken can't be used: ImportError: no library"):
        plugin.find("methods", "broken")


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(
        RecipeError, match=r"there is no metric called 'acuracy'; did you mean accuracy\?\n  → danlu list metrics"
    ):
        plugin.find("metrics", "acuracy")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("logistic_regression", "tfidf_lr: logistic regression on TF-IDF"),
        ("bilstm", "lstm: an LSTM that reads in both directions"),
        ("fasttext_like", "fasttext"),
    ],
)
def test_the_usual_name_of_a_backbone_is_answered_with_ours_and_what_it_is(name, meant):
    with pytest.raises(RecipeError, match=rf"there is no backbone called '{name}'; did you mean {meant}\?\n  → danlu"):
        plugin.find("backbones", name)


def test_no_other_name_is_that_of_a_plugin_or_of_two():
    names = {(entry.family, entry.name) for entry in plugin.entries()}
    others = [(entry.family, other) for entry in plugin.entries() for other in entry.known_as]
    assert len(others) >= 2
    assert len({*others, *names}) == len(others) + len(names)


def test_a_lazy_module_is_imported_at_first_use_and_a_missing_one_names_its_extra():
    assert plugin.lazy("json").dumps([1]) == "[1]"
    with pytest.raises(MachineError, match=r"the package no_such_pkg is not installed\n  → pip install 'danlu\[gpu\]'"):
        plugin.lazy("no_such_pkg", "gpu").anything  # noqa: B018


# ---- the index ---------------------------------------------------------------------------------------------------------------


def test_every_file_that_a_plugin_derives_from_is_part_of_the_index():
    derived = {
        Path(sys.modules[base.__module__].__file__).relative_to(plugin.PACKAGE).as_posix()
        for entry in plugin.entries()
        if entry.origin == "danlu"
        for base in plugin.load(entry.family, entry.name).__mro__[1:]
        if base.__module__.startswith("danlu.")
    }
    assert "contracts.py" in derived
    assert derived <= set(plugin._BASES)


def test_every_plugin_of_ours_can_be_described():
    broken = {f"{e.family}/{e.name}": e.error for e in plugin.entries() if e.error and e.origin == "danlu"}
    assert broken == {}
    assert len(plugin._own()) == len(list(plugin._own_files())) > 0


def rewrite(path, change):
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize(
    ("change", "doc"),
    [
        (lambda data: data["entries"]["metrics/accuracy"].update(doc="from the index"), "from the index"),
        (lambda data: data["entries"]["metrics/accuracy"].update(doc="stale", sha256="0"), None),
        (lambda data: (data.update(bases="0"), data["entries"]["metrics/accuracy"].update(doc="stale")), None),
    ],
)
def test_the_index_is_used_while_file_and_contracts_are_the_same_and_never_stale(own_index, change, doc):
    true = plugin.find("metrics", "accuracy").doc
    plugin.write_index(own_index)
    shutil.rmtree(own_index.parent / "cache")
    rewrite(own_index, change)
    plugin._own.cache_clear()
    assert plugin.find("metrics", "accuracy").doc == (doc or true)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"bases": "0"}'])
def test_an_index_that_is_damaged_is_made_anew(own_index, text):
    own_index.write_text(text)
    assert plugin.find("metrics", "accuracy").doc


def test_with_an_index_nothing_is_imported(own_index, tmp_path):
    count = plugin.write_index(tmp_path / "whole.json")
    script = f"""
import sys
from pathlib import Path
from danlu.core import plugin
plugin.SHIPPED_INDEX = Path({str(tmp_path / "whole.json")!r})
assert len(plugin.entries()) == {count}
loaded = [name for name in sys.modules if name.startswith(('danlu.plugins.', 'danlu.stages.', 'torch', 'pyarrow'))]
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_index_of_a_wheel_is_kept_out_of_git():
    root = Path(plugin.PACKAGE).parent.parent
    if not (root / ".git").exists():
        pytest.skip("not a checkout")
    assert (
        subprocess.run(["git", "check-ignore", "-q", "src/danlu/core/index.json"], cwd=root, check=False).returncode
        == 0
    )


def test_our_code_is_identified_by_the_version_or_while_it_is_developed_by_its_content(monkeypatch):
    plugin.code_identity.cache_clear()
    monkeypatch.setattr(plugin.importlib.metadata, "version", lambda name: "1.2.0")
    assert plugin.code_identity() == "1.2.0"
    plugin.code_identity.cache_clear()
    monkeypatch.setattr(plugin.importlib.metadata, "version", lambda name: "1.2.0.dev0")
    assert plugin.code_identity().startswith("1.2.0.dev0+")
    plugin.code_identity.cache_clear()


def test_a_development_version_is_known_by_its_sources_in_python_and_c(monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "1.2.0.dev0")
    monkeypatch.setattr(plugin, "PACKAGE", tmp_path)
    (tmp_path / "blocks").mkdir()
    found = set()
    for name in ("a.py", "blocks/b.py", "blocks/c.c", "blocks/d.h"):
        (tmp_path / name).write_text("one")
        plugin.code_identity.cache_clear()
        found.add(plugin.code_identity())
    (tmp_path / "blocks/c.c").write_text("two")
    plugin.code_identity.cache_clear()
    found.add(plugin.code_identity())
    plugin.code_identity.cache_clear()
    assert len(found) == 5
