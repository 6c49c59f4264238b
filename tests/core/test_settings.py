import re

import pytest
from pydantic import ValidationError

from danlu.contracts import Method, Metric, Settings, Stage, slot
from danlu.core import plugin
from danlu.core.settings import named, worded


def choose(family, value):
    base = {"methods": Method, "metrics": Metric}[family]
    return base.choose(value)


@pytest.mark.parametrize(
    ("value", "rank"), [("toy_lora", 8), ({"toy_lora": None}, 8), ({"toy_lora": 4}, 4), ({"toy_lora": {"rank": 2}}, 2)]
)
def test_a_plugin_is_chosen_by_name_options_or_main_value(toys, value, rank):
    assert choose("methods", value).rank == rank


def test_an_instance_is_taken_as_it_is(toys):
    made = plugin.load("methods", "toy_lora")(rank=3)
    assert choose("methods", made) is made


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"toy_lora": {"rank": "abc"}}, "toy_lora.rank: must be a whole number, not 'abc'"),
        ({"toy_lora": {"rank": 0}}, "toy_lora.rank: must be >= 1, not 0"),
        ({"toy_lora": {"rank": 1.5}}, "toy_lora.rank: must be a whole number, not 1.5"),
        ({"toy_lora": {"alpha": 0}}, "toy_lora.alpha: must be > 0, not 0"),
        ({"toy_lora": {"alpha": []}}, "toy_lora.alpha: must be a number, not []"),
        ({"toy_lora": {"rnak": 0}}, "toy_lora.rnak: there is no such option; did you mean rank?"),
        ({"toy_picky": {"low": 5}}, "toy_picky: low (5) must not be above high (2)"),
        ("toy_loar", "there is no method called 'toy_loar'; did you mean toy_lora"),
        (3, "must name one method, as `name` or `{name: {option: value}}`, not 3"),
    ],
)
def test_what_python_refuses_is_said_as_a_recipe_says_it(toys, value, told):
    with pytest.raises(ValueError, match=f"^{re.escape(told)}") as caught:
        choose("methods", value)
    assert "pydantic" not in str(caught.value)
    assert "Input should" not in str(caught.value)


def test_several_faults_of_one_plugin_are_told_together(toys):
    with pytest.raises(ValueError, match=r"toy_lora.rank: must be >= 1, not 0\ntoy_lora.alpha: must be > 0, not -1"):
        choose("methods", {"toy_lora": {"rank": 0, "alpha": -1}})


def test_a_fault_in_a_slot_names_the_whole_path(toys):
    grow = plugin.load("stages", "toy_grow")
    with pytest.raises(ValidationError, match="method") as caught:
        grow(method={"toy_lora": {"rank": 0}})
    (fault,) = worded(caught.value, "tuned", list(grow.model_fields))
    assert (fault.where, fault.what) == ("tuned.method", "toy_lora.rank: must be >= 1, not 0")


def test_a_missing_option_is_named(toys):
    with pytest.raises(ValidationError, match="words") as caught:
        plugin.load("stages", "toy_sow")()
    assert [str(fault) for fault in worded(caught.value, "data", [])] == ["data.words: must be given"]


def test_a_slots_default_is_a_plugin(toys):
    made = plugin.load("stages", "toy_grow")()
    assert made.method.name == "toy_full"
    assert made.plain()["toy_grow"]["method"] == {"toy_full": {}}


def test_what_is_plain_can_be_chosen_again(toys):
    made = choose("methods", {"toy_lora": {"rank": 5, "alpha": 1}})
    assert made.plain() == {"toy_lora": {"rank": 5, "alpha": 1.0}}
    assert choose("methods", made.plain()) == made


def test_an_option_may_be_called_name(toys):
    picked = plugin.load("stages", "toy_pick")(name="mine")
    assert picked.name == "mine"
    assert picked.plain() == {"toy_pick": {"seed": 0, "metrics": [{"toy_score": {"beta": 1.0}}], "name": "mine"}}
    assert plugin.load("methods", "toy_full")().name == "toy_full"
    with pytest.raises(AttributeError, match="nothing"):
        _ = picked.nothing


def test_settings_are_frozen_and_know_no_other_keys():
    class Some(Settings):
        a: int = 1

    with pytest.raises(ValidationError, match="frozen"):
        Some().a = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        Some(b=1)


def test_the_index_holds_facts_defaults_and_what_must_be_asked(toys):
    ship = plugin.find("stages", "toy_ship")
    assert ship.facts["needs"] == {"score": "score"}
    assert ship.facts["makes"] == "parcel"
    assert ship.overrides == ["still"]
    assert plugin.find("methods", "toy_picky").overrides == ["validators"]
    grow = plugin.find("stages", "toy_grow")
    assert grow.overrides == []
    assert grow.fields["method"]["schema"]["x-slot"] == "methods"
    assert grow.fields["method"]["default"] == "toy_full"
    assert plugin.find("methods", "toy_lora").wants == {"learning": ["descent"]}


def test_a_slot_that_holds_an_instance_by_default_is_described_by_its_name(toys, tmp_path, strangers):
    full = plugin.load("methods", "toy_full")()

    class Mine(Stage):
        makes = "x"
        method: Method = slot(full)

        def run(self, inputs, out, events): ...

    assert Mine.describe()["fields"]["method"]["default"] == {"toy_full": {}}


@pytest.mark.parametrize("value", [None, 3, "", [], ["a"], {"a": 1, "b": 2}, {3: {}}])
def test_what_names_nothing(value):
    from danlu.core.errors import RecipeError

    with pytest.raises(RecipeError, match="must name one method"):
        named(value, "methods")
