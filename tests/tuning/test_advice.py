"""What is advised before any training, and that nothing is trained or written."""

import csv

import pytest

import danlu
from danlu.core.errors import RecipeError


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
