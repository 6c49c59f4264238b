"""The stage `explain`: cases, averages, whether they are faithful, and the page."""

import dataclasses
import json

import pytest

import danlu
from danlu.blocks.label_details import surest
from danlu.core.artifact import Store
from danlu.core.errors import RecipeFaults
from danlu.core.events import Events
from danlu.explaining import Explainer, Explanation, Piece
from danlu.plugins.explainers.occlusion import Occlusion
from danlu.stages.explain import Explain, averages


def recipe(why, rows=None, backbone="tfidf_lr"):
    source = {"csv": str(rows)} if rows else {"synthetic": {"kind": "text", "size": 300}}
    steps = {
        "data": {"do": "prepare", "source": source, "task": "text_classification"},
        "tuned": {"do": "finetune", "backbone": backbone},
        "why": {"do": "explain", **why},
    }
    return {"name": "explained", "steps": steps}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return danlu.run(
        recipe({"cases": {"worst": 3, "random": 4}, "rows": 40}), store=tmp_path_factory.mktemp("s") / "s", trackers=[]
    )


def test_it_tells_cases_averages_and_faithfulness(done):
    told = done["why"].json("explanations.json")
    assert [case["why"] for case in told["cases"]].count("random") == 4
    assert told["rows"] == 40
    assert told["faithfulness"]["rows"] > 30
    assert done["why"].numbers["faithful"] == told["faithfulness"]["holds"] is True
    assert done["why"].numbers["fall"] > done["why"].numbers["by_chance"]
    for case in told["cases"]:
        assert case["pieces"]
        assert "".join(piece["text"] for piece in case["pieces"]).strip() == case["input"]["text"].strip()
    for rows in told["words"].values():
        weights = [row["weight"] for row in rows]
        assert weights == sorted(weights, reverse=True)
        assert all(row["rows"] >= 3 for row in rows)


def test_the_same_seed_gives_the_same_rows(done, tmp_path):
    again = danlu.run(recipe({"cases": {"worst": 3, "random": 4}, "rows": 40}), store=tmp_path / "s", trackers=[])
    assert again["why"].json("explanations.json") == done["why"].json("explanations.json")
    other = danlu.run(
        recipe({"cases": {"worst": 0, "sure": 0, "random": 4}, "seed": 5}), store=tmp_path / "s", trackers=[]
    )
    rows = [[case["row"] for case in run["why"].json("explanations.json")["cases"]] for run in (other, done)]
    assert rows[0] != rows[1][-4:]


def test_the_surest_right_answers_are_shown(done):
    told = done["why"].json("explanations.json")
    sure = [case for case in told["cases"] if case["why"] == "sure"]
    assert len(sure) == 5
    assert all(case["answer"]["label"] == case["gold"]["label"] for case in sure)
    found = [case["answer"]["confidence"] for case in sure]
    assert found == sorted(found, reverse=True)
    right = [c["answer"] for c in told["cases"] if c["why"] == "random" and c["answer"]["label"] == c["gold"]["label"]]
    assert all(answer["confidence"] <= found[0] for answer in right)
    assert "The surest right answers" in done["why"].file("explanations.html").read_text()


def test_more_rows_than_there_are_is_told(done, tmp_path):
    heard = []
    stage = Explain(rows=5000, cases={"worst": 0, "sure": 0, "random": 1})
    draft = Store(tmp_path).draft("why", kind="explanations")
    stage.run({"dataset": done["data"], "model": done["tuned"]}, draft, Events([heard.append], "why"))
    assert any("5,000 rows were asked for, and the test split has" in str(event) for event in heard)


def test_of_several_labels_the_least_sure_one_counts():
    def several(labels, **scores):
        return {"labels": labels, "scores": scores}

    answers = [several(["a"], a=0.99, b=0.4), several(["a"], a=0.8, b=0.1), several(["a"], a=0.99, b=0.01)]
    gold = [{"labels": ["a"]}, {"labels": ["a"]}, {"labels": ["b"]}]
    assert surest(answers, gold, 5) == [1, 0]
    assert surest(answers, gold, 1) == [1]


def test_the_page_needs_no_network_and_escapes_texts(tmp_path):
    rows = tmp_path / "rows.csv"
    lines = [
        f"<script>alert({k})</script> {'good' if k % 2 else 'bad'} film,{'a' if k % 2 else 'b'}" for k in range(120)
    ]
    rows.write_text("text,label\n" + "\n".join(lines) + "\n")
    run = danlu.run(recipe({"rows": 12}, rows), store=tmp_path / "s", trackers=[])
    page = run["why"].file("explanations.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page


class Random(Explainer):
    """Weights that say nothing of the model."""

    def explain(self, predictor, inputs, told=lambda done, total: None):
        found = Occlusion().explain(predictor, inputs)
        mixed = [tuple((37 * k * len(one.pieces)) % 11 - 5.0 for k in range(len(one.weights))) for one in found]
        return [dataclasses.replace(one, weights=weights) for one, weights in zip(found, mixed, strict=True)]


def test_an_explainer_that_makes_things_up_is_not_to_be_relied_on(tmp_path):
    by = {f"{__name__}:Random": {}}
    told = danlu.run(recipe({"by": by, "rows": 40}), store=tmp_path / "s", trackers=[])["why"]
    assert told.numbers["faithful"] is False
    assert "Do not rely on these explanations" in told.json("explanations.json")["warnings"][0]
    assert "Do not rely on" in told.file("explanations.html").read_text()


def test_pictures_are_explained_in_their_served_form(digits_run, tmp_path):
    stage = Explain(by={"occlusion": {"across": 4}}, rows=20, cases={"worst": 1, "random": 2})
    draft = Store(tmp_path).draft("why", kind="explanations")
    stage.run({"dataset": digits_run["data"], "model": digits_run["small"]}, draft, Events.silent())
    told = json.loads((draft.path / "explanations.json").read_text())
    assert told["form"] not in ("trained", "merged")
    assert all(len(case["pieces"]) == 16 for case in told["cases"])
    assert told["words"] == {}
    assert '<svg class="squares"' in (draft.path / "explanations.html").read_text()


def test_numbers_are_explained(tmp_path):
    rows = tmp_path / "rows.csv"
    lines = [
        f"it cost {'much' if k % 2 else 'little'} money in town {k},{float(k % 2 * 5 + k % 3)}" for k in range(150)
    ]
    rows.write_text("text,value\n" + "\n".join(lines) + "\n")
    steps = recipe({"rows": 10}, rows, "tfidf_ridge")
    steps["steps"]["data"]["task"] = {"text_regression": {"text": "text", "value": "value"}}
    told = danlu.run(steps, store=tmp_path / "s", trackers=[])["why"].json("explanations.json")
    assert {case["number"] for case in told["cases"]} == {"the value"}
    strongest = [max(case["pieces"], key=lambda piece: abs(piece["weight"]))["text"].strip() for case in told["cases"]]
    assert set(strongest) <= {"much", "little"}


@pytest.mark.parametrize(
    ("why", "fault"),
    [
        ({"by": "guessing"}, "there is no explainer called 'guessing'"),
        ({"cases": {"best": 3}}, "best"),
        ({"rows": 1}, "rows"),
        ({"by": "integrated_gradients"}, "learning"),
    ],
)
def test_faults_of_a_recipe(why, fault):
    with pytest.raises(RecipeFaults, match=fault):
        danlu.check(recipe(why))


def test_words_are_counted_once_a_row_and_joined_over_signs():
    def told(*words):
        pieces = tuple(Piece(word, (k, k + 1)) for k, word in enumerate(words))
        return Explanation({}, "n", 0.0, None, pieces, tuple(1.0 for _ in words))

    found = averages([told("Good,", "good"), told("good."), told("(good)"), told("rare")])
    assert found == {"n": [{"word": "good", "rows": 3, "weight": pytest.approx(4 / 3)}]}
