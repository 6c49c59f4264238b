import re

import pytest

from danlu.core.runs import all_runs


@pytest.fixture(autouse=True)
def store(moods_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(moods_run))


def test_the_table_and_what_changed(danlu):
    said = danlu("compare", "moods@1", "moods@2")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "moods@2 (form trained) against moods@1 (form trained)"
    assert any(line.startswith("accuracy ") and line.endswith("better") for line in lines)
    assert "McNemar p = " in said.out
    assert "data: the same" in lines
    assert "ms at batch" not in said.out


def test_json_and_the_gate_together(danlu):
    said = danlu("compare", "moods@2", "moods@1", "--fail-if", "worse", "--json")
    assert said.code == 5
    assert "accuracy differs by -" in said.err
    assert said.json["missed"][0].startswith("accuracy differs by -")


def test_the_gate_holds(danlu):
    assert danlu("compare", "moods@1", "moods@2", "--fail-if", "worse", "--fail-if", "accuracy < 0.1").code == 0


def test_latency_is_timed_when_asked(danlu):
    told = danlu("compare", "moods@1", "moods@2", "--latency", "--json").json
    assert told["first"]["latency_ms"]["1"] > 0


def test_a_version_that_is_not_there(danlu):
    said = danlu("compare", "moods@1", "moods@9")
    assert (said.code, "there is no version 9 of moods" in said.err) == (2, True)


# ---- models side by side ---------------------------------------------------------------------------------------------


@pytest.fixture
def beside(methods_run, methods_run_id, monkeypatch):
    """The id of the run of three models; its store is the one that commands use."""
    monkeypatch.setenv("DANLU_STORE", str(methods_run.store.path))
    return methods_run_id


def test_the_models_of_a_run_side_by_side(danlu, beside, tmp_path):
    said = danlu("compare", beside[:15], "--html", tmp_path / "page.html")
    lines = [line.split() for line in said.out.splitlines()]
    assert said.out.startswith("accuracy on ")
    assert [words[0] for words in lines if words and words[0] in ("full", "lora", "words")] == ["full", "lora", "words"]
    assert "<table>" in (tmp_path / "page.html").read_text("utf-8")


def test_changed_inputs_have_a_table_and_a_sentence(danlu, beside):
    said = danlu("compare", beside, "--steps", "words,full", "--under", "{typos: {rate: 0.3}}")
    assert "under typos, which changed" in said.out
    assert re.search(r"full is (no better|worse|better) than words under typos, as far as these rows", said.out)
    wrong = danlu("compare", beside, "--under", "normalize")
    assert (wrong.code, "normalize changes rows and no inputs" in wrong.err) == (2, True)


def test_only_some_steps_as_json(danlu, beside):
    told = danlu("compare", beside, "--steps", "lora,words", "--against", "words", "--on", "validation", "--json").json
    assert [one["name"] for one in told["models"]] == ["lora", "words"]
    assert (told["against"], told["on"], told["models"][0]["differences"]["accuracy"]["value"] < 0) == (
        "words", "validation", True,
    )  # fmt: skip


def test_a_recipe_is_run_and_compared(danlu, beside, methods_run, tmp_path):
    recipe = tmp_path / "three.yaml"
    recipe.write_text((methods_run.store.runs / beside / "recipe.yaml").read_text("utf-8"), "utf-8")
    said = danlu("compare", recipe, "words.backbone.tfidf_lr.c=0.5", "--steps", "full,words", "--json")
    assert [one["name"] for one in said.json["models"]] == ["full", "words"]
    assert "reused" in said.err
    assert "lora" not in said.err, "no step is run that is not asked for"


def test_recipes_of_one_name_are_told_apart(danlu, beside, methods_run, tmp_path):
    text = (methods_run.store.runs / beside / "recipe.yaml").read_text("utf-8")
    recipes = [tmp_path / folder / "three.yaml" for folder in ("a", "b")]
    for recipe, seed in zip(recipes, ("", "\n"), strict=True):
        recipe.parent.mkdir()
        recipe.write_text(text + seed, "utf-8")
    said = danlu("compare", *recipes, "words.backbone.tfidf_lr.c=0.5", "--steps", "words", "--json")
    assert "nothing to compare" in said.err, "they are one model"
    assert f"{tmp_path}/b/three:words" in said.err


def test_versions_beside_each_other_when_a_page_is_wanted(danlu, tmp_path):
    said = danlu("compare", "moods@1", "moods@2", "--html", tmp_path / "page.html", "--json")
    assert [one["name"] for one in said.json["models"]] == ["moods@1", "moods@2"]
    assert said.json["models"][1]["differences"]["accuracy"]["verdict"] == "better"


def test_a_wrong_step_or_page_is_refused_before_the_recipe_is_run(danlu, beside, methods_run, tmp_path):
    recipe, mine = tmp_path / "three.yaml", tmp_path / "mine.csv"
    recipe.write_text((methods_run.store.runs / beside / "recipe.yaml").read_text("utf-8"), "utf-8")
    mine.write_text("text,label\n", "utf-8")
    before = len(all_runs(methods_run.store.runs))
    for options, code, told in (
        (("--steps", "full,word"), 2, "no step 'word' makes a model; did you mean words?"),
        (("--against", "ful"), 2, "'ful' is none of them; did you mean full?"),
        (("--steps", "full"), 2, "there is nothing to compare full with"),
        (("--html", mine), 2, "it is there and is no page"),
        (("--html", tmp_path), 2, "it is there and is no page"),
        (("--html", tmp_path / "no" / "page.html"), 4, "there is no such folder"),
    ):
        said = danlu("compare", recipe, *options)
        assert (said.code, told in said.err) == (code, True)
    assert len(all_runs(methods_run.store.runs)) == before
    assert mine.read_text("utf-8") == "text,label\n"


@pytest.mark.parametrize(("arguments", "told"), [
    (["moods@1", "moods@2", "moods@3", "--fail-if", "worse"], "--fail-if is for two versions"),
    (["moods@1", "tuned.epochs=2"], "overrides a setting of a recipe, and none is named"),
    (["20990101"], "there is no run"),
    (["moods@1"], "nothing to compare moods@1 with"),
    (["moods@1", "moods@1", "moods@1"], "moods@1 is named 3 times"),
])  # fmt: skip
def test_what_makes_no_sense(danlu, arguments, told):
    said = danlu("compare", *arguments)
    assert (said.code, told in said.err) == (2, True)
