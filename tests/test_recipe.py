import subprocess
import sys
from pathlib import Path

import pytest

from danlu import recipe
from danlu.core import plugin
from recipe_texts import WHOLE, faults, load, write  # noqa: F401 - fixtures


def step(loaded, name):
    return next(step for step in loaded.steps if step.name == name)


def test_a_whole_recipe_becomes_steps_with_their_inputs(load, tmp_path):
    loaded = load(WHOLE)
    assert (loaded.name, loaded.seed) == ("garden", 3)
    assert [(s.name, s.stage.name, s.kind, s.inputs) for s in loaded.steps] == [
        ("data", "toy_sow", "seeds", {}),
        ("tuned", "toy_grow", "plant", {"seeds": "data"}),
        ("score", "toy_pick", "score", {"seeds": "data", "plant": "tuned"}),
    ]
    assert loaded.steps[0].stage.settings["words"] == str(tmp_path / "words.txt")
    assert loaded.plan().steps == loaded.steps


def test_name_and_seed_of_the_recipe_fill_the_stages_own(load):
    loaded = load(WHOLE)
    assert [s.stage.settings["seed"] for s in loaded.steps] == [3, 3, 3]
    assert step(loaded, "score").stage.settings["name"] == "garden"
    loaded = load(WHOLE, "score.name=mine", "tuned.seed=9")
    assert step(loaded, "score").stage.settings["name"] == "mine"
    assert step(loaded, "tuned").stage.settings["seed"] == 9


def test_a_recipe_without_a_name_is_called_as_its_file(write):
    path = write(WHOLE.replace("name: garden", ""), "My Garden_2.yaml")
    assert recipe.load(path).name == "my-garden-2"


def test_the_nearest_step_above_is_the_input_unless_another_is_named(load):
    text = WHOLE.replace("  score:", "  other: {do: toy_grow, backbone: toy_counts}\n  score:")
    assert step(load(text), "score").inputs["plant"] == "other"
    assert step(load(text, "score.plant=$tuned"), "score").inputs["plant"] == "tuned"


@pytest.mark.parametrize(
    ("override", "where", "what", "do"),
    [
        ("score.plant=$data", "score.plant", "wants a plant, but data makes a seeds", "score.plant='$tuned'"),
        ("score.plant=$tunde", "score.plant", "there is no step 'tunde' above it; did you mean tuned?", "score.plant='$tuned'"),
        ("score.plant=$score", "score.plant", "there is no step 'score' above it", "score.plant='$tuned'"),
        ("tuned.seeds=$score", "tuned.seeds", "there is no step 'score' above it", "tuned.seeds='$data'"),
        ("score.plant=tuned", "score.plant", "must name a step above as `$step`, not 'tuned'", "score.plant='$tuned'"),
        ("score.plant=3", "score.plant", "must name a step above as `$step`, not 3", "score.plant='$tuned'"),
    ],
)  # fmt: skip
def test_references_are_checked(load, override, where, what, do):
    found = faults(load, WHOLE, override)
    assert list(found) == [where]
    assert found[where][0].startswith(what)
    assert found[where][1] == do


def test_an_input_that_nobody_makes(load):
    found = faults(load, "steps: {tuned: {do: toy_grow, backbone: toy_counts}}")
    assert found == {
        "tuned.seeds": ("it needs a seeds, and no step above makes one", "add a step above it: {do: toy_sow}")
    }


# ---- overrides ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("tuned.steps=7", ("tuned", "steps"), 7),
        ("tuned.wait=1e-3", ("tuned", "wait"), 0.001),
        ("data.shares.test=0.3", ("data", "shares"), {"validation": 0.1, "test": 0.3}),
        ("data.limits.deep=1", ("data", "limits"), {"deep": 1.0}),
        ("data.limits={a: 1}", ("data", "limits"), {"a": 1.0}),
        ("data.note=no", ("data", "note"), "no"),
        ("data.note=", ("data", "note"), None),
        ("data.note='a=b.c'", ("data", "note"), "a=b.c"),
        ("score.name = spaced", ("score", "name"), "spaced"),
    ],
)
def test_an_override_replaces_the_value_at_its_path(load, override, path, value):
    assert step(load(WHOLE, override), path[0]).stage.settings[path[1]] == value


def method(loaded):
    return step(loaded, "tuned").stage.settings["method"].plain()


def test_overrides_in_a_slot(load):
    assert method(load(WHOLE, "tuned.method=toy_full")) == {"toy_full": {}}
    assert method(load(WHOLE, "tuned.method={toy_lora: 3}")) == {"toy_lora": {"rank": 3, "alpha": 16.0}}
    assert method(load(WHOLE, "tuned.method.toy_lora.alpha=2")) == {"toy_lora": {"rank": 4, "alpha": 2.0}}
    assert method(load(WHOLE, "tuned.method=toy_lora", "tuned.method.toy_lora.rank=5"))["toy_lora"]["rank"] == 5
    assert method(
        load(WHOLE, "tuned.method=toy_full", "tuned.method={toy_lora: 2}", "tuned.method.toy_lora.alpha=1")
    ) == {"toy_lora": {"rank": 2, "alpha": 1.0}}


def test_an_override_reaches_into_a_default_and_into_a_list(load):
    loaded = load(WHOLE, "tuned.backbone.toy_net.layers=5", "data.operators.toy_upper.form=NFC")
    assert step(loaded, "tuned").stage.settings["backbone"].settings["layers"] == 5
    assert step(loaded, "data").stage.settings["operators"][0].settings == {"form": "NFC"}


@pytest.mark.parametrize("typed", [">= 0.5", "> 0.5", ">2", "|x", "@x", "%x", "*.csv", "<3"])
def test_an_override_whose_first_sign_makes_no_sense_in_one_line_is_plain_text(load, typed):
    assert step(load(WHOLE, f"data.note= {typed} "), "data").stage.settings["note"] == typed


def test_top_level_overrides(load):
    loaded = load(WHOLE, "name=mine", "seed=8")
    assert (loaded.name, loaded.seed, step(loaded, "tuned").stage.settings["seed"]) == ("mine", 8, 8)
    assert loaded.overrides == ("name=mine", "seed=8")


def test_typed_paths_start_at_the_working_folder(load, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.txt").write_text("x")
    monkeypatch.chdir(elsewhere)
    assert step(load(WHOLE, "data.words=mine.txt"), "data").stage.settings["words"] == str(elsewhere / "mine.txt")


@pytest.mark.parametrize(
    ("override", "where", "what", "do"),
    [
        ("tunde.steps=3", "tunde.steps=3", "there is no step called 'tunde'; did you mean tuned?", "begin it with a step's name, as in tuned.epochs=3"),
        ("sed=3", "sed=3", "there is no step called 'sed'; did you mean seed?", "begin it with a step's name, as in tuned.epochs=3"),
        ("tuned.steps", "tuned.steps", "'tuned.steps' is not an override", "write step.option=value, such as tuned.epochs=3"),
        ("=3", "=3", "'=3' is not an override", "write step.option=value, such as tuned.epochs=3"),
        ("tuned.method.toy_full.x=3", "tuned.method", "the method is toy_lora, not toy_full", "tuned.method='{toy_full: {x: 3}}'"),
        ("tuned.method.rank=3", "tuned.method", "rank is an option of the method toy_lora, whose name is missing", "tuned.method.toy_lora.rank=3"),
        ("tuned.steps.more=3", "tuned.steps", "is 3, which has nothing inside", "tuned.steps=3"),
        ("data.operators.toy_lower.form=NFC", "data.operators", "toy_lower is not among toy_upper", "data.operators='[…]' gives the whole list"),
        ("tuned.step=3", "tuned.step", "toy_grow has no such option; did you mean steps?", "danlu show toy_grow"),
        ("tuned.steps=[1", "tuned.steps=:1:3", "is not YAML: expected ',' or ']', but got '<stream end>'", ""),
    ],
)  # fmt: skip
def test_overrides_that_fit_nothing(load, override, where, what, do):
    assert faults(load, WHOLE, override)[where] == (what, do)


# ---- what goes together --------------------------------------------------------------------------------------------------


def test_what_does_not_go_together_is_refused_with_the_reason_and_what_would_fit(load):
    found = faults(load, WHOLE, "tuned.backbone=toy_counts")
    assert found == {
        "tuned.method": (
            "toy_lora wants learning = descent, but tuned.backbone: toy_counts gives learning = counting",
            "of the methods these fit: full, toy_full, toy_picky" if "full" in names("methods") else "of the methods these fit: toy_full, toy_picky",
        )
    }  # fmt: skip


def names(family):
    return [entry.name for entry in plugin.entries(family)]


PIXELS = """
from danlu.contracts import Stage
class Pixels(Stage):
    makes = "seeds"
    gives = {"modality": "image", "answer": "picture"}
    def run(self, inputs, out, events): ...
"""


def test_facts_come_down_from_the_steps_above(write):
    path = write("import: [pixels.py]\n" + WHOLE.strip(), "r.yaml")
    (path.parent / "pixels.py").write_text(PIXELS)
    found = faults(recipe.load, path, ["data={do: pixels}"])
    assert set(found) == {"tuned.backbone", "score.metrics"}
    assert found["score.metrics"][0] == "toy_score wants answer = label, but data: pixels gives answer = picture"
    assert "toy_counts" in found["tuned.backbone"][1]


# ---- other ways in -------------------------------------------------------------------------------------------------------


def test_a_mapping_from_python_is_a_recipe_too(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = tmp_path / "w.txt"
    words.write_text("x")
    lora = plugin.load("methods", "toy_lora")(rank=2)
    loaded = recipe.load(
        {"name": "d", "steps": {"a": {"do": "toy_sow", "words": words}, "b": {"do": "toy_grow", "method": lora}}}
    )
    assert loaded.steps[1].stage.settings["method"].settings == {"rank": 2, "alpha": 16.0}
    again = tmp_path / "again.yaml"
    again.write_text(loaded.text)
    assert recipe.load(again).steps == loaded.steps


def test_loading_changes_nothing_that_was_given(toys, tmp_path):
    data = {"steps": {"a": {"do": "toy_sow", "words": str(tmp_path), "shares": {}}}}
    recipe.load(data, ["a.shares.test=0.5", "a.note=x"])
    assert data == {"steps": {"a": {"do": "toy_sow", "words": str(tmp_path), "shares": {}}}}


def test_plugins_are_imported_from_the_recipes_folder_and_from_the_working_folder(strangers, tmp_path, monkeypatch):
    folder = tmp_path / "recipes"
    folder.mkdir()
    (folder / "pixels.py").write_text(PIXELS)
    path = folder / "r.yaml"
    path.write_text("import: [pixels.py]\nsteps: {a: {do: pixels}}")
    assert recipe.load(path).steps[0].stage.name == "pixels"
    monkeypatch.setattr(plugin, "_strangers", {})
    path.write_text("steps: {a: {do: pixels}}")
    monkeypatch.chdir(folder)
    assert recipe.load(path, imports=["pixels.py"]).steps[0].stage.name == "pixels"
    assert faults(recipe.load, path, (), ["none.py"])["import"][0] == "none.py: there is no such file to import"


def test_the_short_form_is_the_standard_steps(toys, tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "STANDARD_STEPS", {"data": "toy_sow", "tuned": "toy_grow", "score": "toy_pick"})
    (tmp_path / "words.txt").write_text("x")
    path = tmp_path / "short.yaml"
    path.write_text("words: words.txt\nsteps_typo: 1\nmethod: toy_lora")
    assert list(faults(recipe.load, path)) == ["steps_typo"]
    path.write_text("seed: 2\nwords: words.txt\nmethod: toy_lora")
    loaded = recipe.load(path, ["method.toy_lora.rank=2", "tuned.steps=5", "metrics=[]"])
    assert [s.name for s in loaded.steps] == ["data", "tuned", "score"]
    assert loaded.steps[1].stage.settings["method"].settings["rank"] == 2
    assert loaded.steps[1].stage.settings["steps"] == 5
    assert loaded.steps[2].stage.settings["metrics"] == []
    assert [s.stage.settings["seed"] for s in loaded.steps] == [2, 2, 2]


def test_checking_imports_no_model_library(tmp_path):
    script = f"""
import sys
from pathlib import Path
from danlu import recipe
try:
    recipe.load({str(tmp_path / "none.yaml")!r})
except Exception as error:
    assert 'no such recipe' in str(error), error
heavy = [name for name in ('torch', 'transformers', 'onnxruntime', 'sklearn', 'pyarrow') if name in sys.modules]
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("source", "task", "backbone"),
    [("digits", "image_classification", "cnn"), ({"asset": "movie-snippets"}, "text_classification", "pretrained")],
)
def test_the_shortest_recipe_is_a_source_and_a_task(source, task, backbone):
    loaded = recipe.load({"name": "mine", "source": source, "task": task})
    assert [s.stage.name for s in loaded.steps] == list(recipe.STANDARD_STEPS.values())
    assert step(loaded, "tuned").stage.settings["backbone"].name == backbone
    assert step(loaded, "ship").stage.settings["name"] == "mine"


def test_a_short_recipe_without_a_name_is_not_published_and_a_named_backbone_is_taken():
    loaded = recipe.load({"source": "digits", "task": "image_classification", "backbone": "majority"})
    assert [s.name for s in loaded.steps] == ["data", "tuned", "score", "same"]
    assert list(faults(recipe.load, {"source": "digits", "task": "image_classification", "alias": "best"})) == [
        "ship.name"
    ]
    assert step(loaded, "tuned").stage.settings["backbone"].name == "majority"


@pytest.mark.parametrize("name", ["digits", "review_sentiment"])
def test_the_shipped_recipes_have_no_fault(name):
    loaded = recipe.load(Path(__file__).parent.parent / "recipes" / f"{name}.yaml")
    assert loaded.name == name.replace("_", "-")
