"""What a tune may try of a recipe: methods by the rows there are, lengths, baselines."""

from __future__ import annotations

import danlu
from danlu.core import assets
from danlu.tuning import space


def moods(backbone, **options):
    data = {"do": "prepare", "source": {"synthetic": {"kind": "text", "size": 100}}, "task": "text_classification"}
    tuned = {"do": "finetune", "backbone": backbone, **options}
    return space.Ask(danlu.check({"name": "moods", "steps": {"data": data, "tuned": tuned}}))


def test_few_rows_of_each_label_add_the_method_for_them(tiny_bert, monkeypatch):
    monkeypatch.setattr(assets, "is_here", lambda asset: False)
    ask, usual = moods({"pretrained": str(tiny_bert)}), ("full", "lora", "last_layers", "adapter")
    for counts in (None, {}, {"good": 1, "bad": 16}, {"good": 16, "bad": 65}):
        here = space.of(ask, "en", counts)
        assert here.methods[next(iter(here.backbones))] == usual
    few = space.of(ask, "en", {"good": 2, "bad": 64})
    assert few.methods[next(iter(few.backbones))] == (*usual, "few_shot")
    assert few.methods["gru"] == ("full",)


def test_a_method_with_a_length_of_its_own_keeps_it_unless_the_recipe_names_one_for_it(tiny_bert):
    counts = {"good": 16, "bad": 16}
    here = space.of(moods({"pretrained": str(tiny_bert)}, epochs=3), "en", counts)
    [first] = [p for p in here.first() if "few_shot" in p.values()]
    overrides = here.overrides(first, 32)
    assert {"tuned.steps=20", "tuned.epochs=null", "tuned.lr=2e-05"} <= set(overrides)
    [tuned] = [step for step in here.trial(overrides).steps if step.name == "tuned"]
    assert (tuned.stage.settings["steps"], tuned.stage.settings["epochs"]) == (20, None)
    assert "steps 20" in here.words(first)
    assert "epochs" not in here.words(first)

    own = space.of(moods({"pretrained": str(tiny_bert)}, method="few_shot"), "en", counts)
    assert "tuned.steps=20" in own.overrides(own.first()[0], 32)
    told = space.of(moods({"pretrained": str(tiny_bert)}, method="few_shot", steps=8), "en", counts)
    assert "tuned.steps=8" in told.overrides(told.first()[0], 32)


def test_the_recipes_own_method_is_tried_first_whatever_it_is(tiny_bert):
    here = space.of(moods({"pretrained": str(tiny_bert)}, method="prefix"))
    assert here.methods[next(iter(here.backbones))] == ("prefix", "full", "lora", "last_layers", "adapter")


def test_a_tune_begins_with_techniques_at_a_higher_rate_unless_the_recipe_names_its_own(tiny_bert):
    here = space.of(moods({"pretrained": str(tiny_bert)}))
    own = [p for p in here.first() if p["backbone"] == next(iter(here.backbones))]
    begun = [(p["technique"], p["lr"]) for p in own]
    assert begun[:4] == [("none", 1.0), ("none", 2.0), ("fgm", 2.0), ("r_drop", 2.0)]
    assert 'tuned.techniques=["fgm"]' in here.overrides(own[2], 80)
    named = space.of(moods({"pretrained": str(tiny_bert)}, techniques=["ema"]))
    assert {p["technique"] for p in named.first()} == {"none"}
