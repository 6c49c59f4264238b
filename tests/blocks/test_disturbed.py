"""Test inputs changed in their place, and what may change them."""

import pyarrow as pa
import pytest

from danlu.blocks.disturbed import choose, every
from danlu.contracts import Operator
from danlu.core.errors import RecipeError
from danlu.plugins.operators.typos import Typos
from danlu.plugins.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", labels=("bad", "good"))
ROWS = pa.table({"text": ["a warm and moving film", "a cold and dull film", "…"], "label": ["good", "bad", "bad"]})


def test_each_input_is_changed_in_its_place_and_equally_every_time():
    found = every(ROWS, TASK, [Typos(rate=0.2, copies=3)], seed=1)["typos"]
    assert len(found.inputs) == 3
    assert found.changed == 2
    assert found.inputs[0] != "a warm and moving film"
    assert found.inputs[2] == "…"
    assert found.samples[0] == ("a warm and moving film", found.inputs[0])
    assert every(ROWS, TASK, [Typos(rate=0.2)], seed=1)["typos"].inputs == found.inputs
    assert every(ROWS, TASK, [Typos(rate=0.2)], seed=2)["typos"].inputs != found.inputs


def test_changes_of_one_name_are_told_apart_by_their_options():
    assert list(every(ROWS, TASK, [Typos(), Typos(rate=0.2)], seed=0)) == ["typos", "typos (rate: 0.2)"]
    with pytest.raises(RecipeError, match="typos stands there twice"):
        every(ROWS, TASK, [Typos(), Typos(copies=2)], seed=0)


def test_a_change_that_finds_nothing_is_refused():
    with pytest.raises(RecipeError, match="typos changes no input of these rows: 1 of the changes"):
        every(ROWS.slice(2), TASK, [Typos()], seed=0)
    numbers = pa.table({"text": [1, 2], "label": ["good", "bad"]})
    with pytest.raises(RecipeError, match="typos changes no input of these rows: the column text holds no text"):
        every(numbers, TASK, [Typos()], seed=0)


@pytest.mark.parametrize(("text", "match"), [
    ("normalize", "normalize changes rows and no inputs\n.*these fit: back_translation, .*typos"),
    ("typo", "no operator called 'typo'; did you mean typos"),
    ("{typos: {rate: 3}}", "rate"),
    ("[typos]", "must name one operator"),
    ("{typos", "--under"),
    ("{synonym: no-such-words.txt}", "synonym reads .*no-such-words.txt, which is not there"),
])  # fmt: skip
def test_what_is_no_change_of_inputs(text, match):
    with pytest.raises(RecipeError, match=match):
        choose(text, "--under")


def test_a_change_is_named_as_in_a_recipe():
    assert choose("{typos: {rate: 0.2}}", "--under") == Typos(rate=0.2)
    assert Operator.changes == "rows"
