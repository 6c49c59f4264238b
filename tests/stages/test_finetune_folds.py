"""Training in folds: each model is kept from one part, what it says of it is told apart, and all answer as one."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from danlu import bundle
from danlu.blocks import folds
from danlu.blocks.dataset import DataSet
from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.stages.ensemble import Ensemble
from danlu.stages.finetune import Finetune
from danlu.stages.prepare import Prepare
from stages.conftest import Given, run_stage

RIDGELESS = {"tfidf_lr": {"c": 1e6}}
"""It learns every row by heart."""


def rows(n=120, *, by_lot=False):
    """Reviews with a word of their own each; `by_lot` has labels that nothing tells."""
    rng = np.random.default_rng(0)
    words = {"bad": ["awful", "dull", "poor"], "good": ["lovely", "bright", "fine"]}
    found = []
    for k in range(n):
        label = ("bad", "good")[rng.integers(2)] if by_lot else ("bad", "good")[k % 2]
        told = [] if by_lot else list(rng.choice(words[label], 2))
        found.append({"text": " ".join([*told, f"only{k}", f"once{k}"]), "label": label})
    return found


def prepared(store, table):
    task = {"text_classification": {"text": "text", "label": "label"}}
    return run_stage(store, Prepare(source=Given(table=table), task=task))


@pytest.fixture(scope="module")
def data(store):
    return prepared(store, rows())


@pytest.fixture(scope="module")
def by_lot(store):
    return prepared(store, rows(160, by_lot=True))


def scores(model, inputs):
    return folds.scores(bundle.load(model / "trained")(inputs))


def test_every_row_but_the_tests_is_held_out_once(data):
    opened = DataSet.open(data.path)
    pool, tested = {row["text"] for row in opened.rows("train") + opened.rows("validation")}, opened.rows("test")
    parts = folds.parts(opened, 4, seed=0)
    held = [{row["text"] for row in part.rows("validation")} for part in parts]
    assert set.union(*held) == pool
    assert sum(map(len, held)) == len(pool)
    for part, mine in zip(parts, held, strict=True):
        learnt = {row["text"] for row in part.each("train")}
        assert learnt == pool - mine
        assert part.info["rows"]["train"] == len(learnt)
        assert part.rows("test") == tested
        good = np.mean([row["label"] == "good" for row in part.rows("validation")])
        assert abs(good - 0.5) < 0.1
    assert [set(part.held) for part in folds.parts(opened, 4, 1)] != [set(part.held) for part in parts]


def test_it_answers_with_the_mean_of_models_that_learnt_all_but_their_part(store, data, monkeypatch):
    opened, members = DataSet.open(data.path), []
    real = Finetune.fold
    monkeypatch.setattr(Finetune, "fold", lambda *given: members.append(real(*given)) or members[-1])
    whole = run_stage(store, Finetune(backbone="naive_bayes", folds=3), dataset=data)
    inputs = [*opened.judged("test")[0], *folds.pooled(opened)[0], "", "unheard of"]
    each = np.array([folds.scores(one.member.predictor(opened.task)(inputs)) for one in members])
    assert bundle.describe(whole.path / "trained").backbone.name == "ensemble"
    assert np.abs(scores(whole.path, inputs) - each.mean(0)).max() < 1e-6
    assert all(np.abs(each[k] - each[k - 1]).max() > 0.01 for k in range(3))
    learnt = [one["examples"] for one in whole.numbers["folds"]]
    assert learnt == [len(part.rows("train")) for part in folds.parts(opened, 3, seed=0)]


def test_what_is_told_of_a_row_is_by_the_model_that_did_not_learn_it(store, by_lot):
    made = run_stage(store, Finetune(backbone=RIDGELESS, folds=4), dataset=by_lot)
    opened = DataSet.open(by_lot.path)
    inputs, gold = folds.pooled(opened)
    true = np.array([answer["label"] == "good" for answer in gold])
    said = load_file(made.path / "out_of_fold.safetensors")["scores"].argmax(1)
    by_heart = scores(made.path, inputs).argmax(1)
    assert np.mean(by_heart == true) > 0.95, "three of four members have learnt each row by heart"
    assert np.mean(said == true) < 0.7
    assert made.numbers["out_of_fold"]["value"] == pytest.approx(np.mean(said == true))
    assert made.numbers["metric"] == "accuracy"


def test_stacking_is_taught_on_rows_that_members_did_not_learn(store, by_lot, data):
    """A member that knows rows by heart looks perfect on what it learnt; held out, it is worth nothing."""
    chosen = [{"backbone": RIDGELESS}, {"backbone": "majority"}]
    members = [run_stage(store, Finetune(folds=3, **one), dataset=by_lot) for one in chosen]
    heard = []
    named = {f"$m{k}": model for k, model in enumerate(members)}
    models = [str(one.path) for one in members]
    made = run_stage(store, Ensemble(models=models, by="stacking"), heard, dataset=by_lot, **named)
    stack = load_file(made.path / "trained" / "model.safetensors")["stack.weight"]
    assert stack.shape == (2, 4)
    assert np.abs(stack[:, :2]).max() < 1.0, "it would be far more, were it taught on rows that the member knows"
    plain = run_stage(store, Finetune(backbone="naive_bayes"), dataset=by_lot)
    with pytest.raises(RecipeError, match="was trained in folds and has learnt the validation rows"):
        run_stage(
            store, Ensemble(models=[models[0], str(plain.path)], by="stacking"), dataset=by_lot, **{"$a": members[0]}
        )


def test_a_run_that_was_stopped_goes_on_with_the_fold_it_was_at(store, data, monkeypatch):
    """Members that were trained are not trained again."""
    learnt, stop = [], [True]
    real = Finetune.learn

    def learn(self, part, inputs, out, events):
        if part.number == 3 and stop:
            raise KeyboardInterrupt
        learnt.append(part.number)
        real(self, part, inputs, out, events)

    monkeypatch.setattr(Finetune, "learn", learn)
    stage = Finetune(backbone={"tfidf_lr": {"c": 3.0}}, folds=3)
    with pytest.raises(KeyboardInterrupt):
        stage.run({"dataset": data}, store.draft("f" * 64, kind="model"), Events.silent())
    stop.clear()
    draft = store.draft("f" * 64, kind="model")
    stage.run({"dataset": data}, draft, Events.silent())
    assert learnt == [1, 2, 3]
    made = draft.commit()
    assert len(made.numbers["folds"]) == 3
    assert sorted(path.name for path in made.path.iterdir()) == [
        "forms.json", "manifest.json", "out_of_fold.safetensors", "trained",
    ]  # fmt: skip


def test_what_does_not_go_in_folds(store, data, tiny_bert):
    with pytest.raises(RecipeError, match="the parts of adapter stay beside the weights"):
        run_stage(store, Finetune(backbone={"pretrained": str(tiny_bert)}, method="adapter", folds=2), dataset=data)
    numbers = run_stage(store, Prepare(source=Given(table=[
        {"text": f"a{k} b", "score": k / 7} for k in range(40)
    ]), task={"text_regression": {"text": "text", "value": "score"}}))  # fmt: skip
    with pytest.raises(RecipeError, match="folds join models that label texts, and this is text_regression"):
        run_stage(store, Finetune(backbone="tfidf_ridge", folds=2), dataset=numbers)
