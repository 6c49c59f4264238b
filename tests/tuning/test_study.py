"""What a tune remembers, and when it gives a trial up."""

import pytest

import danlu
from danlu.core import runs
from danlu.core.artifact import Store
from danlu.core.errors import RecipeError
from danlu.core.events import Event
from danlu.tuning import jobs, space, study, trial

pytest.importorskip("optuna")

STEPS = {
    "data": {"do": "prepare", "source": "digits", "task": "image_classification", "operators": ["drop_duplicates"]},
    "tuned": {"do": "finetune", "backbone": {"mlp": {"size": "tiny"}}, "steps": 40},
}


@pytest.fixture
def here():
    return space.of(space.Ask(danlu.check({"name": "d", "steps": STEPS})))


def outcome(number, value, state="done"):
    return trial.Outcome(
        number, "trial", f"no {number}", (f"tuned.lr={number}",), state, {"accuracy": {"value": value}}
    )


def test_a_trial_worse_than_the_median_at_a_look_is_given_up_and_others_are_not(tmp_path, here):
    with study.opened(tmp_path, here, "higher", 0, 1000) as kept:
        for number, value in enumerate((0.8, 0.9)):
            asked, _ = kept.ask()
            assert kept.look(asked, 1, value)
            kept.tell(asked, outcome(number, value), value)
        bad, _ = kept.ask()
        assert not kept.look(bad, 1, 0.5)
        kept.tell(bad, outcome(3, None, "pruned"), None)
        good, _ = kept.ask()
        assert kept.look(good, 1, 0.95)


def test_a_trial_that_chance_could_have_put_below_the_median_goes_on():
    assert not study.is_behind(0.812, 0.823, True, 1032)  # one point below, on rows that tell two points apart
    assert study.is_behind(0.797, 0.823, True, 1032)
    assert study.is_behind(0.812, 0.823, True, 100_000)
    assert study.is_behind(28.0, 28.1, True, 1000), "of BLEU nothing is known"
    assert not study.is_behind(28.1, 28.1, True, 1000)
    assert study.is_behind(0.31, 0.30, False, 1000)
    assert study.is_behind(float("nan"), 0.8, True, 1000)


def test_where_lower_is_better_the_higher_one_is_given_up(tmp_path, here):
    with study.opened(tmp_path, here, "lower", 0, 1000) as kept:
        for number, value in enumerate((0.8, 0.9)):
            asked, _ = kept.ask()
            kept.look(asked, 1, value)
            kept.tell(asked, outcome(number, value), value)
        asked, _ = kept.ask()
        assert kept.look(asked, 1, 0.5)
        assert not kept.look(kept.ask()[0], 1, 2.0)


def test_what_was_cut_off_comes_first_next_time(tmp_path, here):
    with study.opened(tmp_path, here, "higher", 0, 1000) as kept:
        asked, first = kept.ask()
        kept.tell(asked, outcome(1, 0.5), 0.5)
        _, cut_off = kept.ask()
        kept.spend(12.5)
    with study.opened(tmp_path, here, "higher", 0, 1000) as kept:
        assert kept.spent == 12.5
        assert [one.number for one in kept.outcomes()] == [1]
        assert kept.ask()[1] == cut_off
        assert kept.ask()[1] not in (first, cut_off)


def test_two_tunes_of_one_recipe_do_not_mix(tmp_path, here):
    with (
        study.opened(tmp_path, here, "higher", 0, 1000),
        pytest.raises(RecipeError, match="another process is tuning this recipe"),
        study.opened(tmp_path, here, "higher", 0, 1000),
    ):
        pass


def test_a_pruned_training_ends_at_once_and_leaves_no_checkpoint(tmp_path, here):
    store = Store(tmp_path / "store")
    looks = []
    watcher = trial.Watcher("tuned", lambda: 1e9, lambda k, v: looks.append((k, v)), lambda done, total: None)
    overrides = here.overrides(here.first()[0], 1200)
    made = trial.run(here.plan([*overrides, "tuned.checkpoint_steps=1"]), store, None, watcher)
    assert made == {"state": "pruned", "note": "behind the others at look 1 at the validation rows"}
    assert len(looks) == 1
    assert not (store.path / "work" / watcher.key).exists()
    assert runs.all_runs(store.runs)[0].status == "interrupted"


def test_what_cannot_end_in_time_says_how_long_it_takes(monkeypatch):
    clock = iter([100.0, 110.0])
    monkeypatch.setattr(trial.time, "monotonic", lambda: next(clock))
    watcher = trial.Watcher("tuned", lambda: 5.0, lambda k, v: True, lambda done, total: None)
    watcher.on(Event(0.0, "tuned", "progress", {"what": "train", "done": 10, "total": 1000}))
    with pytest.raises(trial.Halted, match="longer than is left") as halted:
        watcher.on(Event(0.0, "tuned", "progress", {"what": "train", "done": 20, "total": 1000}))
    assert halted.value.seconds == 1000.0


def test_a_training_that_diverges_is_an_outcome_and_not_the_end(tmp_path, here):
    watcher = trial.Watcher("tuned", lambda: 1e9, None, lambda done, total: None)
    made = trial.run(here.plan(["tuned.lr=1e6", "tuned.clip=null"]), Store(tmp_path / "store"), None, watcher)
    assert made["state"] == "failed"
    assert made["note"]


def test_every_first_candidate_can_be_run_and_begins_with_the_recipe_itself(here):
    first = here.first()
    for params in first:
        here.trial(here.overrides(params, 1200))
    assert here.overrides(first[0], 1200) == [
        "tuned.steps=40", "tuned.lr=0.001", "tuned.batch_size=32", "tuned.evaluate_every=10",
    ]  # fmt: skip
    assert len(first) < jobs.SAME


@pytest.mark.parametrize("here", [True, False])
def test_neighbours_of_embeddings_are_a_baseline_where_the_encoder_is_there(monkeypatch, here):
    monkeypatch.setattr(space.assets, "is_here", lambda _asset: here)
    data = {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification"}
    found = space.of(space.Ask(danlu.check({"name": "t", "steps": {"data": data, "tuned": {"do": "finetune"}}})))
    assert "tfidf_lr" in found.baselines
    assert ("knn_embeddings" in found.baselines) is here
    assert not here or found.baselines[-1] == "knn_embeddings"  # the one that asks an encoder


class Drawn:
    """A trial that draws what it is told to, else the first choice."""

    def __init__(self, **wanted):
        self.wanted = wanted

    def suggest_categorical(self, name, choices):
        return self.wanted[name] if name in self.wanted else choices[0]

    def suggest_float(self, name, low, high, log):
        return self.wanted.get(name, 1.0)


@pytest.mark.parametrize(("dropout", "technique"), [(0.0, "none"), (0.1, "r_drop"), (None, "r_drop")])
def test_two_passes_are_not_asked_for_where_both_would_say_the_same(dropout, technique):
    data = {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification"}
    steps = {"data": data, "tuned": {"do": "finetune", "backbone": "lstm"}}
    found = space.of(space.Ask(danlu.check({"name": "t", "steps": steps})))
    assert found.suggest(Drawn(dropout=dropout, technique="r_drop"))["technique"] == technique


def test_rates_that_hardly_differ_are_one_candidate():
    data = {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification"}
    steps = {"data": data, "tuned": {"do": "finetune", "backbone": "lstm", "lr": 1.0e-3}}
    found = space.of(space.Ask(danlu.check({"name": "t", "steps": steps})))
    one, near, other, lowest = (found.overrides(found.suggest(Drawn(lr=lr)), 300) for lr in (2.97, 3.01, 2.0, 0.3))
    assert one == near != other
    assert "tuned.lr=0.00283" in one
    assert "tuned.lr=0.002" in other
    assert "tuned.lr=0.000354" in lowest


def test_a_training_in_folds_is_refused():
    data = {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 300}}, "task": "text_classification"}
    steps = {"data": data, "tuned": {"do": "finetune", "backbone": "lstm", "folds": 3}}
    with pytest.raises(RecipeError, match=r"tuned\.folds: a training in folds learns the validation rows"):
        space.of(space.Ask(danlu.check({"name": "t", "steps": steps})))
