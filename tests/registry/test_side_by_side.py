"""Models side by side: quality with intervals, paired differences where the rows are the same, and costs."""

import json
import re
from dataclasses import replace

import pytest

from danlu.blocks.report.compare_page import compare_page
from danlu.blocks.report.tune_page import pareto
from danlu.contracts import Task
from danlu.core.artifact import Store
from danlu.core.errors import DataError, RecipeError
from danlu.core.events import Events
from danlu.core.runs import find
from danlu.plugins.operators.typos import Typos
from danlu.registry import side_by_side
from danlu.registry.side_by_side import Candidate, of_steps


def told(found, **options):
    given = {"split": "test", "against": "", "latency": False, "seed": 0, "events": Events.silent()} | options
    return side_by_side.compare(found, **given)


def by_name(table):
    return {one["name"]: one for one in table["models"]}


@pytest.fixture(scope="module")
def table(methods_run):
    return told(of_steps(methods_run.artifacts, [], methods_run.store))


def test_every_model_with_what_it_cost(table, methods_run):
    models = by_name(table)
    assert list(models) == ["full", "lora", "words"]
    assert [one["method"] for one in models.values()] == ["pretrained full", "pretrained lora", "tfidf_lr full"]
    full, lora = models["full"], models["lora"]
    assert full["trained_parameters"] == full["parameters"] > 2 * lora["trained_parameters"]
    assert lora["trained_share"] == pytest.approx(lora["trained_parameters"] / lora["parameters"], abs=1e-5)
    weights = methods_run["lora"].file("trained/part1.safetensors").stat().st_size
    assert lora["own_mb"] == pytest.approx(weights / 1e6)
    assert lora["own_mb"] < full["own_mb"] / 2
    assert full["memory_mb"] > lora["memory_mb"] > 0
    assert all(one["seconds"] > 0 and one["latency_ms"] is None for one in (full, lora))
    assert json.loads(json.dumps(table)) == table


def test_techniques_are_told_beside_the_method():
    settings = {"backbone": {"bert": {}}, "method": "full", "techniques": [{"fgm": {"size": 0.2}}, "ema"]}
    assert Candidate("one", None, None, {"settings": settings}).method == "bert full, fgm, ema"
    assert Candidate("one", None, None, {"settings": {}}).method == ""


def test_differences_are_paired_and_to_the_first_or_the_one_named(table, methods_run):
    models = by_name(table)
    gap = models["words"]["differences"]["accuracy"]
    values = [models[name]["metrics"]["accuracy"]["value"] for name in ("words", "full")]
    assert gap["value"] == pytest.approx(values[0] - values[1])
    assert (gap["verdict"], gap["low"] > 0) == ("better", True)
    other = by_name(told(of_steps(methods_run.artifacts, ["full", "words"], methods_run.store), against="words"))
    assert other["full"]["differences"]["accuracy"]["value"] == pytest.approx(-gap["value"])
    assert other["words"]["differences"]["accuracy"]["value"] == 0


def test_all_are_judged_on_changed_inputs_too(methods_run):
    found = of_steps(methods_run.artifacts, ["words", "full"], methods_run.store)
    table = told(found, under=[Typos(rate=0.3)])
    words, full = (by_name(table)[name]["under"]["typos"] for name in ("words", "full"))
    assert words["metrics"]["accuracy"]["value"] < by_name(table)["words"]["metrics"]["accuracy"]["value"]
    gap = full["metrics"]["accuracy"]["value"] - words["metrics"]["accuracy"]["value"]
    assert full["differences"]["accuracy"]["value"] == pytest.approx(gap)
    assert table["under"]["typos"]["changed"] > 0
    page = compare_page(table)
    assert "<h2>Under typos</h2>" in page
    assert f"{words['metrics']['accuracy']['value']:.3f}" in page


def test_rows_that_are_not_the_same_give_no_difference(methods_run, moods_run):
    found = of_steps(methods_run.artifacts, ["words"], methods_run.store)
    found.append(Candidate.of_version("moods@2", Store(moods_run)))
    models = by_name(told(found))
    assert models["moods@2"]["differences"] is None
    assert models["moods@2"]["method"] == "tfidf_lr full"
    assert models["moods@2"]["metrics"]["accuracy"]["value"] > 0.5


def test_the_validation_rows_judge_when_asked(table, methods_run):
    found = of_steps(methods_run.artifacts, ["full", "words"], methods_run.store)
    told_on = told(found, split="validation")
    assert told_on["on"] == "validation"
    assert told_on["models"][0]["rows"] != table["models"][0]["rows"]


def test_what_can_not_be_compared(methods_run):
    store = methods_run.store
    with pytest.raises(RecipeError, match="no step 'loar' makes a model; did you mean lora") as caught:
        of_steps(methods_run.artifacts, ["loar"], store)
    assert caught.value.do == "one of: full, lora, words"
    with pytest.raises(RecipeError, match="nothing to compare full with"):
        told(of_steps(methods_run.artifacts, ["full"], store))
    both = of_steps(methods_run.artifacts, ["full", "words"], store)
    with pytest.raises(RecipeError, match="'lora' is none of them"):
        told(both, against="lora")
    numbers = replace(both[1], data=replace(both[1].data, task=Task.choose("text_regression")))
    with pytest.raises(RecipeError, match="full is for text_classification, words for text_regression"):
        told([both[0], numbers])
    with pytest.raises(DataError, match="the data set of full is not in the store"):
        Candidate.of_artifact("full", methods_run["full"], Store(store.path / "another"))


def test_the_page_tells_the_table_and_loads_nothing(table):
    table = table | {"models": [table["models"][0] | {"method": "<script>alert(1)</script>"}, *table["models"][1:]]}
    page = compare_page(table)
    assert "<script" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count('<svg class="chart"') == 2, "time and size; latency was not asked for"
    assert page.count('<svg class="whisker"') == 3
    assert f"{by_name(table)['lora']['trained_parameters']:,}" in page


@pytest.mark.parametrize("values", [(1.0, 1.0), (0.98, 1.0), (0.0, 0.0), (0.02, 0.5)])
def test_the_axis_of_an_accuracy_ends_where_accuracies_end(values):
    models = [
        {"number": k, "state": "done", "what": "it", "seconds": 1.0 + k, "metrics": {"accuracy": {"value": value}}}
        for k, value in enumerate(values)
    ]
    drawn = pareto({"metric": "accuracy", "fronts": {"seconds": []}, "trials": models, "best": 0}, "seconds")
    ticks = [float(tick) for tick in re.findall(r'text-anchor="end">([^<]+)<', drawn)]
    assert len(ticks) == 4
    assert 0 <= min(ticks) <= min(values) <= max(values) <= max(ticks) <= 1
    assert min(ticks) < max(ticks)


def test_a_run_is_found_again_with_its_models(methods_run, methods_run_id):
    run = find(methods_run.store.runs, methods_run_id)
    assert [one.name for one in side_by_side.of_run(run, [], methods_run.store, "r:")] == [
        "r:full",
        "r:lora",
        "r:words",
    ]
