"""What is advised before any training, and that nothing is trained or written."""

import csv
import shlex

import pytest

import danlu
from danlu.core.errors import DataError, RecipeError


def texts(rows, kind="text", **step):
    tuned = {"do": "finetune", "backbone": "tfidf_lr", **step}
    data = {"do": "prepare", "source": {"synthetic": {"kind": kind, "size": rows}}, "task": f"{kind}_classification"}
    return {"name": "moods", "steps": {"data": data, "tuned": tuned}}


def about(told, what):
    return next((one for one in told["advice"] if one["about"] == what), None)


def test_time_and_memory_of_a_small_network_grow_with_its_epochs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    steps = texts(400, backbone={"gru": {"size": "tiny"}}, epochs=1)
    found = danlu.advise(steps)
    assert about(found, "backbone")["choice"] == "gru tiny"
    assert about(found, "method") == {
        "about": "method", "choice": "full", "why": about(found, "method")["why"], "override": "tuned.method=full",
    }  # fmt: skip
    assert about(found, "time")["choice"]
    assert about(found, "memory")["choice"].endswith(" MB")
    assert found["data"]["train_rows"] == 280
    assert list(tmp_path.iterdir()) == []


def test_a_model_without_room_is_advised_lora(tiny_bert, monkeypatch):
    from danlu.core import machine

    whole = danlu.advise(texts(300, backbone={"pretrained": str(tiny_bert)}))
    assert about(whole, "method")["override"] == "tuned.method=full"
    monkeypatch.setattr(machine, "available_memory", lambda: 10)
    short = danlu.advise(texts(300, backbone={"pretrained": str(tiny_bert)}))
    assert about(short, "method")["override"] == "tuned.method=lora"
    assert about(short, "length")["override"] == "tuned.steps=600"


def reviews(folder, counts, labels=True):
    """A recipe on a CSV with so many rows of each label; English sentences."""
    path = folder / "reviews.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"] if labels else ["text"])
        for label, count in counts.items():
            for k in range(count):
                text = f"this is the {label or 'other'} review number {k} and it was what you would have liked"
                writer.writerow([text, label] if labels else [text])
    recipe = texts(1)
    recipe["steps"]["data"]["source"] = {"csv": str(path)}
    return recipe


@pytest.mark.parametrize(
    ("counts", "method"),
    [
        ({"good": 20, "bad": 20}, "few_shot"),
        ({"good": 6, "bad": 90}, "few_shot"),
        ({"good": 100, "bad": 100}, "full"),
        ({"good": 20, "bad": 200}, "full"),
        ({"good": 1, "bad": 40}, "zero_shot"),
    ],
)
def test_rows_a_label_choose_the_method(tmp_path, tiny_bert, counts, method):
    recipe = reviews(tmp_path, counts)
    recipe["steps"]["tuned"] = {"do": "finetune", "backbone": {"pretrained": str(tiny_bert)}, "epochs": 2}
    found = danlu.advise(recipe)
    told = about(found, "method")
    assert told["choice"] == method
    changed = danlu.check(recipe, *shlex.split(told["override"]))
    [tuned] = [step for step in changed.steps if step.name == "tuned"]
    assert tuned.stage.settings["method"].name == method
    assert ("0.721 on movie-snippets" in told["why"]) == (method == "few_shot")
    assert ("compare it with zero_shot" in told["why"]) == (counts["good"] == 6)
    assert (about(found, "length") is None) == (method != "full")
    assert (about(found, "time") is None) == (method == "zero_shot")
    if method == "few_shot":
        assert (tuned.stage.settings["keep"], tuned.stage.settings["epochs"]) == ("last", None)  # its own 20 steps


def test_descriptions_of_the_recipe_are_not_overridden(tmp_path, tiny_bert):
    recipe = reviews(tmp_path, {"good": 20, "bad": 20})
    method = {"few_shot": {"descriptions": {"good": "It was great.", "bad": "It was bad."}}}
    tuned = {"do": "finetune", "backbone": {"pretrained": str(tiny_bert)}, "method": method, "keep": "last"}
    recipe["steps"]["tuned"] = tuned
    assert about(danlu.advise(recipe), "method")["override"] == ""


def test_few_rows_are_given_to_an_encoder_also_where_the_recipe_has_fresh_weights(tmp_path, monkeypatch):
    from danlu.core import assets

    monkeypatch.setattr(assets, "is_here", lambda asset: False)
    for backbone, stays in (("gru", "so few rows teach gru little"), ("tfidf_lr", "tfidf_lr stays the baseline")):
        recipe = reviews(tmp_path, {"good": 20, "bad": 20})
        recipe["steps"]["tuned"]["backbone"] = backbone
        found = danlu.advise(recipe)
        assert (about(found, "backbone")["choice"], stays in about(found, "backbone")["why"]) == (
            "pretrained minilm", True,
        )  # fmt: skip
        assert about(found, "method")["choice"] == "few_shot"


@pytest.mark.parametrize("column", [True, False])
@pytest.mark.parametrize("by", ["task", "method"])
def test_rows_without_any_label_lead_to_zero_shot_where_the_labels_are_named(tmp_path, tiny_bert, column, by):
    recipe = reviews(tmp_path, {"": 30}, labels=column)
    tuned = {"do": "finetune", "backbone": {"pretrained": str(tiny_bert)}}
    columns = {"text": "text", "label": "label"}
    recipe["steps"]["data"]["task"] = {"text_classification": columns}
    recipe["steps"]["tuned"] = tuned
    with pytest.raises(DataError, match="label"):
        danlu.advise(recipe)
    if by == "task":
        columns["labels"] = ["bad", "good"]
    else:
        tuned["method"] = {"few_shot": {"descriptions": {"bad": "It was bad.", "good": "It was great."}}}
    found = danlu.advise(recipe)
    assert found["data"]["labels"] == {"bad": 0, "good": 0}
    assert about(found, "method")["choice"] == "zero_shot"
    changed = danlu.check(recipe, *shlex.split(about(found, "method")["override"]))
    [after] = [step.stage.settings["method"] for step in changed.steps if step.name == "tuned"]
    assert (after.name, sorted(after.settings["descriptions"])) == ("zero_shot", ["bad", "good"] * (by == "method"))
    assert "no row has a label" in about(found, "method")["why"]
    assert about(found, "time") is None
    assert "30 rows without a label" in {one["what"] for one in found["risks"]}


def test_few_rows_and_uneven_labels_are_risks_with_what_to_do(tmp_path):
    with (tmp_path / "my.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for k in range(200):
            writer.writerow(
                [f"this is the review number {k} and it was what you would have liked", "bad" if k < 8 else "good"]
            )
    source = {"csv": str(tmp_path / "my.csv")}
    recipe = texts(1)
    recipe["steps"]["data"]["source"] = source
    risks = {one["what"]: one for one in danlu.advise(recipe)["risks"]}
    assert "8 rows of the label bad" in risks
    assert risks["uneven labels"]["do"].startswith("tuned.techniques=[class_weights]")
    assert "20 validation rows" in risks


def test_even_labels_are_no_risk():
    assert "uneven labels" not in {one["what"] for one in danlu.advise(texts(400))["risks"]}


def test_texts_that_minilm_cannot_read_are_not_given_to_it(tmp_path):
    with (tmp_path / "zh.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([f"这家餐厅的服务非常好第{k}次", "好" if k % 2 else "坏"] for k in range(60))
    recipe = texts(1, backbone={"pretrained": "asset:minilm"})
    recipe["steps"]["data"]["source"] = {"csv": str(tmp_path / "zh.csv")}
    from danlu.core import assets

    told = about(danlu.advise(recipe), "backbone")
    assert assets.find("minilm").language == "en"
    assert told["choice"] == "tfidf_lr"
    assert "Chinese" in told["why"]
    assert told["override"] == "tuned={do: finetune, backbone: tfidf_lr}"


def test_a_recipe_that_trains_nothing_is_refused():
    recipe = texts(100)
    del recipe["steps"]["tuned"]
    with pytest.raises(RecipeError, match="it has no step that trains"):
        danlu.advise(recipe)
