import subprocess
import sys
from pathlib import Path

import pytest

import danlu
from danlu import api
from danlu.contracts import Tracker
from danlu.core.errors import DataError, RecipeError, RecipeFaults

ROOT = Path(__file__).parents[1]
DIGITS = ROOT / "recipes" / "digits.yaml"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DANLU_STORE", raising=False)
    return tmp_path


@pytest.fixture
def picture():
    from sklearn.datasets import load_digits

    return (load_digits().images[0] * 255 / 16).astype("uint8")


def test_importing_danlu_is_cheap():
    program = "import sys, danlu; print(sorted({'torch', 'numpy', 'pydantic', 'pyarrow', 'rich'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_what_can_be_imported():
    assert danlu.__all__ == ["Model", "Run", "advise", "check", "load", "run", "tune"]
    assert set(danlu.__all__) <= set(dir(danlu))
    assert danlu.run is api.run
    with pytest.raises(AttributeError, match="module 'danlu' has no attribute 'fly'"):
        danlu.fly  # noqa: B018


def test_types_are_told_to_a_checker(here):
    (here / "mine.py").write_text(
        'import danlu\n\nrun = danlu.run("r.yaml", "tuned.epochs=1")\nreveal_type(run.table())\n'
        'reveal_type(danlu.load("x").predict(["a"]))\ndanlu.run("r.yaml", stre=1)\n'
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "mine.py"], capture_output=True, text=True,
    )  # fmt: skip
    assert 'Revealed type is "list[dict[str, Any]]"' in done.stdout.replace("builtins.", "")
    assert 'Revealed type is "list[Any]"' in done.stdout.replace("builtins.", "")
    assert 'Unexpected keyword argument "stre"' in done.stdout


# ---- run -----------------------------------------------------------------------------------------------------------


def test_a_run_tells_what_it_made(digits_run):
    assert digits_run.name == "digits"
    assert list(digits_run.artifacts) == ["data", "tuned", "small", "score", "same", "ship"]
    assert digits_run["tuned"].kind == "model"
    assert digits_run.version == "digits@1"
    assert digits_run.report.read_text(encoding="utf-8").startswith("<!")
    assert digits_run.warnings == digits_run["score"].json("scores.json")["warnings"]
    with pytest.raises(KeyError, match="nothing"):
        digits_run["nothing"]


def test_the_table_of_a_run(digits_run):
    rows = digits_run.table()
    assert [row["name"] for row in rows] == ["trained", "onnx", "int8", "int8 over HTTP", "majority"]
    assert [row["name"] for row in rows if row["default"]] == ["int8"]
    assert [row["name"] for row in rows if row["baseline"]] == ["majority"]
    for row in rows:
        assert row["metrics"]["accuracy"]["low"] <= row["metrics"]["accuracy"]["value"]
        assert set(row["latency_ms"]) == {"1", "32"}
    assert digits_run._repr_html_().count("<tr>") == len(rows) + 1


def test_a_second_run_reuses_every_step(digits_run):
    again = danlu.run(DIGITS, store=digits_run.store.path, trackers=[])
    assert sorted(again.reused) == sorted(digits_run.artifacts)
    assert again.version == "digits@1"


def test_a_run_that_measures_nothing_has_an_empty_table(toys, here):
    (here / "words.txt").write_text("one")
    run = danlu.run({"name": "x", "steps": {"seeds": {"do": "toy_sow", "words": "words.txt"}}}, trackers=[])
    assert (run.table(), run.report, run.version, run.warnings, run.reused) == ([], None, None, [], ())
    assert "<table>" in run._repr_html_()


def test_trackers_hear_the_run_and_are_closed(toys, here):
    heard = []

    class Mine(Tracker):
        """Keeps what it hears."""

        def on(self, event):
            heard.append(event.kind)

        def close(self):
            heard.append("closed")

    (here / "words.txt").write_text("one")
    steps = {"seeds": {"do": "toy_sow", "words": "words.txt"}, "plant": {"do": "toy_grow"}}
    danlu.run({"steps": steps}, trackers=[Mine(), {"jsonl": "e.jsonl"}])
    assert (heard[0], heard[-2:]) == ("run_started", ["run_done", "closed"])
    assert (here / "e.jsonl").is_file()
    heard.clear()
    with pytest.raises(ValueError, match="planted"):
        danlu.run({"steps": steps}, "plant.fail=value", trackers=[Mine()])
    assert heard[-1] == "closed"
    with pytest.raises(RecipeFaults, match="there is no tracker called 'consul'; did you mean console"):
        danlu.run({"steps": steps}, trackers=["consul"])


def test_check_runs_nothing(here):
    assert danlu.check(DIGITS, "tuned.epochs=1").name == "digits"
    with pytest.raises(RecipeFaults, match=r"tuned\.epochz"):
        danlu.check(DIGITS, "tuned.epochz=1")
    assert list(here.iterdir()) == []


# ---- where the store lies ------------------------------------------------------------------------------------------


def test_the_store(here, monkeypatch):
    recipe = here / "recipes" / "x.yaml"
    recipe.parent.mkdir()
    assert api.locate(None, recipe).path == here / ".danlu", "a recipe below the working folder"
    assert api.locate(None, Path("/elsewhere/x.yaml")).path == Path("/elsewhere/.danlu")
    assert api.locate("own", recipe).path == here / "own"
    (here / "recipes" / ".danlu").mkdir()
    assert api.locate(None, recipe).path == here / "recipes" / ".danlu", "the nearest that is there"
    monkeypatch.setenv("DANLU_STORE", str(here / "env"))
    assert api.locate(None, recipe).path == here / "env"
    assert api.locate("own", recipe).path == here / "own"


# ---- load ----------------------------------------------------------------------------------------------------------


def test_a_published_model_answers(digits_run, picture):
    model = danlu.load("digits", store=digits_run.store.path)
    assert (model.name, model.form) == ("digits@1", "int8")
    assert set(model.forms) == {"trained", "onnx", "int8"}
    (answer,) = model.predict([picture])
    assert answer["label"] == "0"
    assert answer["confidence"] == answer["scores"]["0"] == max(answer["scores"].values())
    assert model.predict([]) == []
    assert list(model.stream(picture))[-1][1]["label"] == "0"
    assert "Predictor" not in repr(model)


def test_every_form_and_a_folder_answer_alike(digits_run, picture):
    for model in ("digits@1", digits_run["small"].path, str(digits_run["small"].path)):
        for form in ("trained", "onnx"):
            loaded = danlu.load(model, form=form, store=digits_run.store.path)
            assert loaded.form == form
            assert loaded.predict([picture])[0]["label"] == "0"


def test_what_can_not_be_loaded(digits_run, here):
    store = digits_run.store.path
    with pytest.raises(RecipeError, match="there is no model digit; did you mean digits"):
        danlu.load("digit", store=store)
    with pytest.raises(DataError, match="there is no form 'int4'"):
        danlu.load("digits", form="int4", store=store)
    with pytest.raises(DataError, match="this is no model of Danlu"):
        danlu.load(here)
    with pytest.raises(DataError, match="there is no such picture"):
        danlu.load("digits", store=store).predict(["missing.png"])


# ---- clean ---------------------------------------------------------------------------------------------------------


def test_clean_keeps_what_recent_runs_and_versions_need(digits_store):
    freed = api.clean(digits_store, dry_run=True)
    assert freed == {"store": str(digits_store), "bytes": 0, "removed": [], "broken": []}


def test_clean_frees_the_artifacts_of_older_runs(toys, here):
    (here / "words.txt").write_text("one")
    seeds = {"do": "toy_sow", "words": "words.txt"}
    for note in "abcde":
        danlu.run({"name": "x", "steps": {"seeds": seeds}}, f"seeds.note={note}", trackers=[])
    freed = api.clean(dry_run=True)
    assert [thing["what"] for thing in freed["removed"]] == ["seeds of seeds"] * 2
    assert freed["bytes"] > 0
    assert api.clean()["removed"] == freed["removed"]
    assert len(list((here / ".danlu" / "artifacts").iterdir())) == 3
    assert not any(Path(thing["path"]).exists() for thing in freed["removed"])


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: danlu.run(None),
            r"^recipe: must be a recipe's file, or the same as a mapping, not NoneType None\n  → ",
        ),
        (lambda: danlu.check(3), "^recipe: must be a recipe's file"),
        (lambda: danlu.run(DIGITS, 5), "^overrides: must be text, not int 5\n  → write step.option=value"),
        (lambda: danlu.run(DIGITS, imports="mine.py"), "^imports: must be a list of Python files, not str 'mine.py'"),
        (lambda: danlu.run(DIGITS, store=7), "^store: must be a folder, not int 7"),
        (lambda: danlu.run(DIGITS, trackers="console"), "^trackers: must be a list of trackers, not str 'console'"),
        (lambda: danlu.run(DIGITS, trackers=[5]), "^trackers: must be a tracker's name, or a tracker, not int 5"),
        (lambda: danlu.load(5), "^model: must be the name of a model or its folder, not int 5"),
        (lambda: danlu.load(Path("nowhere")), "^nowhere: there is no such folder\n  → `danlu versions`"),
        (lambda: danlu.load(DIGITS), "digits.yaml: this is a file, and a model is a folder\n  → `danlu versions`"),
        (lambda: danlu.Model("m", list, (), "trained").predict("text"), r"^inputs: must be a list of inputs, not str"),
    ],
)
def test_arguments_of_a_wrong_type_are_told_with_their_place_and_mend(here, call, told):
    with pytest.raises(RecipeError, match=told):
        call()
    assert not list(here.iterdir())
