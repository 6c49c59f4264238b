import json
import re
import shutil

import pytest

from danlu import bundle
from danlu.blocks import disturbed
from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Artifact
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.operators.typos import Typos
from danlu.stages.evaluate import Evaluate, cautions, unbeaten
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare


def scores_of(artifact):
    return artifact.json("scores.json")


def test_the_default_form_is_measured_with_intervals(scored, digits, small):
    scores = scores_of(scored)
    data = DataSet.open(digits[0].path)
    inputs, gold = data.judged("test")
    answers = bundle.load(small.path / "int8")(inputs)
    accuracy = sum(a["label"] == g["label"] for a, g in zip(answers, gold)) / len(gold)
    assert scores["form"] == "int8"
    assert scores["rows"] == len(gold)
    assert scores["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert scores["metrics"]["accuracy"]["low"] < accuracy < scores["metrics"]["accuracy"]["high"]
    assert accuracy > 0.8, "the fixture's model learnt nothing"
    assert scored.numbers["accuracy"] == scores["metrics"]["accuracy"]["value"]


def test_the_chosen_metrics_are_measured_with_size_and_latency(scored):
    scores = scores_of(scored)
    assert set(scores["metrics"]) == {"accuracy", "f1", "confusion", "size", "latency"}
    assert scores["primary"] == "accuracy"
    assert scores["size_mb"] == scores["metrics"]["size"]["value"] > 0.01
    assert scores["latency_ms"]["1"] > 0
    assert sum(map(sum, scores["metrics"]["confusion"]["parts"]["matrix"])) == scores["rows"]


def test_a_picture_is_compared_with_the_majority_and_a_text_with_tfidf_too(run, scored, texts):
    data, _ = texts
    counted = run(Finetune(backbone="majority"), dataset=data)
    told = scores_of(run(Evaluate(), dataset=data, model=counted))
    assert list(scores_of(scored)["baselines"]) == ["majority"]
    assert list(told["baselines"]) == ["tfidf_lr"], "the model itself is no baseline"
    assert list(told["metrics"])[:3] == ["accuracy", "confusion", "f1"]


def test_a_baseline_is_trained_on_the_training_rows_and_kept(scored):
    scores = scores_of(scored)
    predictor = bundle.load(scored.path / "baselines" / "majority")
    row = scores["baselines"]["majority"]
    assert predictor.task.name == "image_classification"
    assert row["metrics"]["accuracy"]["value"] < 0.2
    assert row["verdict"] == "better"
    assert row["difference"]["low"] > 0.5
    assert scores["beats_baselines"] is True


def test_a_model_that_does_not_beat_a_baseline_is_told_so(run, heard, texts):
    data, _ = texts
    counted = run(Finetune(backbone="majority"), dataset=data)
    made = run(Evaluate(metrics=("accuracy",)), dataset=data, model=counted)
    scores = scores_of(made)
    assert scores["beats_baselines"] is False
    assert scores["baselines"]["tfidf_lr"]["verdict"] == "worse"
    assert any("not better than the baseline tfidf_lr" in text for text in scores["warnings"])
    assert any("not better" in event.data["text"] for event in heard if event.kind == "warning")
    assert "Worse than tfidf_lr" in made.file("report.html").read_text()


def test_baselines_can_be_chosen_and_the_model_is_none_of_its_own(run, texts):
    data, model = texts
    stage = Evaluate(metrics=("accuracy",), baselines=({"tfidf_lr": {"c": 9}},))
    assert stage.compared_with(DataSet.open(data.path).task, model.path / "trained") == []
    made = run(Evaluate(metrics=("accuracy",), baselines=("majority",)), dataset=data, model=model)
    assert list(scores_of(made)["baselines"]) == ["majority"]


def test_the_same_scores_come_again(run, scored, digits, small):
    again = scores_of(run(Evaluate(metrics=("accuracy", "f1", "confusion")), dataset=digits[0], model=small))
    first = scores_of(scored)
    assert again["metrics"]["f1"] == first["metrics"]["f1"]
    assert again["baselines"]["majority"]["difference"] == first["baselines"]["majority"]["difference"]


def test_the_report_is_one_file_without_script_or_network(scored):
    html = scored.file("report.html").read_text()
    assert "<script" not in html
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:|//)""", html)
    assert "default-src 'none'" in html
    assert "data:image/png;base64," in html, "the wrong pictures are shown"
    assert scored.manifest["inputs"]["dataset"]["digest"] in html


def test_what_the_numbers_rest_on_goes_back_to_the_rows(scored, digits):
    groups = {group["title"]: group["facts"] for group in scores_of(scored)["rests_on"]}
    digests = DataSet.open(digits[0].path).info["digests"]
    assert groups["Data"]["test rows"] == f"sha256 {digests['test']}"
    assert [title for title in groups if title.startswith("Step")] == [
        "Step my_prepare: prepare",
        "Step my_finetune: finetune",
        "Step my_compress: compress",
    ]
    assert "libraries" in groups["Code and machine"]


def test_a_texts_markup_is_shown_and_not_obeyed(run, given):
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    rows = [
        {"text": f"{evil} {word} {k}", "label": word if k % 3 else "<b>odd</b>"} for k in range(90) for word in "ab"
    ]
    data = run(Prepare(source=given(rows), task={"text_classification": {"text": "text", "label": "label"}}))
    model = run(Finetune(backbone="majority"), dataset=data)
    html = run(Evaluate(baselines=()), dataset=data, model=model).file("report.html").read_text()
    assert "<script" not in html
    assert "<img src=x" not in html
    assert "<b>odd" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html


def test_rows_changed_since_they_were_frozen_are_not_measured(run, digits, small, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(digits[0].path, folder)
    shutil.copyfile(folder / "train.parquet", folder / "changed")
    (folder / "test.parquet").unlink()
    (folder / "changed").rename(folder / "test.parquet")
    with pytest.raises(DataError, match="split test: its rows are not those that were frozen"):
        run(Evaluate(), dataset=Artifact(folder, digits[0].manifest), model=small)


def test_changed_inputs_are_measured_beside_the_rows_as_they_are(run, heard, texts):
    data, model = texts
    typos = Typos(rate=0.3)
    told = run(Evaluate(metrics=("accuracy",), baselines=("majority",), under=(typos,)), dataset=data, model=model)
    scores, rows = scores_of(told), DataSet.open(data.path)
    inputs, gold = rows.judged("test")
    changed = disturbed.every(rows.table("test"), rows.task, [typos], 0)["typos"]
    answers = bundle.load(model.path / "trained")(changed.inputs)
    accuracy = sum(a["label"] == g["label"] for a, g in zip(answers, gold)) / len(gold)
    own = scores["under"]["typos"]
    assert own["metrics"]["accuracy"]["value"] == pytest.approx(accuracy)
    assert own["lost"]["accuracy"]["value"] == pytest.approx(accuracy - scores["metrics"]["accuracy"]["value"])
    assert own["lost"]["accuracy"]["high"] < 0, "a model of words must lose by misspelt ones"
    assert scores["baselines"]["majority"]["under"]["typos"]["lost"]["accuracy"]["value"] == 0
    assert scores["disturbed"]["typos"]["changed"] <= len(inputs)
    page = told.file("report.html").read_text("utf-8")
    assert "Under typos" in page
    assert page.count(f"{accuracy:.3f}") >= 1
    assert any("under typos: accuracy" in str(event) for event in heard)


def test_a_change_that_changes_no_picture_is_refused(run, digits):
    data, model = digits
    with pytest.raises(RecipeError, match="typos changes no input of these rows"):
        run(Evaluate(under=("typos",)), dataset=data, model=model)


def test_data_with_labels_the_model_does_not_know(run, given, texts):
    rows = [{"text": f"words about {k}", "label": ("food", "war")[k % 2]} for k in range(60)]
    data = run(Prepare(source=given(rows), task={"text_classification": {"text": "text", "label": "label"}}))
    with pytest.raises(DataError, match="1 labels of the data are unknown to the model: war"):
        run(Evaluate(), dataset=data, model=texts[1])


def test_a_metric_named_twice_is_refused(run, digits, small):
    with pytest.raises(RecipeError, match="f1 is named twice"):
        run(Evaluate(metrics=("f1", {"f1": "micro"})), dataset=digits[0], model=small)


def test_metrics_without_a_single_number_cannot_judge(run, digits, small):
    with pytest.raises(RecipeError, match="no metric gives a single number"):
        run(Evaluate(metrics=("confusion",)), dataset=digits[0], model=small)


def told(**changes):
    metric = {"value": 0.8, "low": 0.7, "high": 0.9}
    return {"primary": "accuracy", "metrics": {"accuracy": metric}, "rows": 1000, "baselines": {}} | changes


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"rows": 60}, "only 60 rows, so accuracy may as well be 0.700 or 0.900"),
        ({"labels": [{"label": "rare", "rows": 3}, {"label": "b", "rows": 600}]}, "Fewer than 20 test rows each: rare"),
        ({"labels": [{"label": "dull", "rows": 950}, {"label": "b", "rows": 50}]}, "95% of the test rows are dull"),
        ({"calibration": {"error": 0.23}}, "off by 23 points"),
        (
            {"baselines": {"x": {"verdict": "worse", "difference": {"value": -0.1, "low": -0.2, "high": -0.05}}}},
            r"not better than the baseline x: the difference in accuracy is -0.100 \(-0.200 to -0.050\)",
        ),
    ],
)
def test_what_may_mislead_is_said(changes, match):
    (text,) = [*unbeaten(told(**changes)), *cautions(told(**changes))]
    assert re.search(match, text)


def test_nothing_is_said_where_nothing_misleads():
    assert cautions(told(labels=[{"label": "a", "rows": 500}, {"label": "b", "rows": 500}])) == []


def test_scores_are_plain_json(scored):
    json.loads(scored.file("scores.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
