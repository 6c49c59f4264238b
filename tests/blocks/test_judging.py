import pytest

from danlu.blocks import judging
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.metrics.accuracy import Accuracy
from danlu.plugins.metrics.latency import Latency
from danlu.plugins.metrics.size import Size
from danlu.plugins.tasks.text_classification import TextClassification

TASK = TextClassification(text="t", label="l", labels=("no", "yes"))


def names(plugins):
    return [plugin.name for plugin in plugins]


def test_baselines_fit_by_what_they_want():
    both = ("majority", "tfidf_lr")
    assert names(judging.fitting("backbones", {"modality": "text", "head": "input"}, both)) == list(both)
    assert names(judging.fitting("backbones", {"modality": "image", "head": "input"}, both)) == ["majority"]
    assert names(judging.fitting("backbones", {"modality": "text", "head": "next"}, both)) == []


def test_metrics_are_those_chosen_and_else_all_that_fit():
    answers, form = judging.choose_metrics(None, TASK)
    assert names(answers)[0] == "accuracy"
    assert {"f1", "roc_auc"} <= set(names(answers))
    assert set(names(form)) == {"latency", "size"}
    answers, form = judging.choose_metrics([Accuracy(), Latency(batch_sizes=(2,))], TASK)
    assert names(answers) == ["accuracy"]
    assert form == [Latency(batch_sizes=(2,))]


def test_a_task_that_no_metric_judges():
    class Odd:
        gives = {"answer": "poem"}
        name = "poetry"

    with pytest.raises(RecipeError, match="no metric judges the answers of poetry"):
        judging.choose_metrics(None, Odd())


def test_what_is_measured_of_a_form(tmp_path):
    (tmp_path / "weights").write_bytes(bytes(1000))
    metrics = [Size(), Latency(batch_sizes=(1, 32), rounds=1, calls=1)]
    measured = judging.measure_all(metrics, lambda batch: [], ["x"], tmp_path)
    assert measured["size"] == {"value": 0.001, "low": None, "high": None, "parts": {}}
    short = judging.in_short(measured)
    assert short["size_mb"] == 0.001
    assert set(short["latency_ms"]) == {"1", "1_p95", "32", "32_p95"}
    assert "size" not in judging.measure_all(metrics, lambda batch: [], ["x"], None)
    assert judging.in_short({}) == {"size_mb": None, "latency_ms": {}}


def test_labels_the_model_cannot_give():
    judging.check_known(TASK, [{"label": "yes"}, {"text": "no label here"}])
    with pytest.raises(DataError, match="1 labels of the data are unknown to the model: maybe"):
        judging.check_known(TASK, [{"label": "maybe"}])
