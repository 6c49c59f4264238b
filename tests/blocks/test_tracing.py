"""A row is followed from the source through the operators to its split."""

import json

import pytest

from danlu.blocks.dataset import DataSet
from danlu.blocks.tracing import opened, source_row, trace
from danlu.core.artifact import Store
from danlu.core.errors import DataError
from danlu.core.events import Events
from danlu.stages.prepare import Prepare

TASK = {"text_classification": {"text": "text", "label": "label"}}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("traced")
    lines = ["text,label", *(f"text number {k},{'ab'[k % 2]}" for k in range(40))]
    lines += ["text  number 3,b", ",a", "text number 3,b"]
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    stage = Prepare(source={"csv": str(folder / "rows.csv")}, task=TASK)
    draft = Store(folder / "store").draft(
        "0" * 64, kind="dataset", step="data", stage="prepare", inputs={}, settings={}
    )
    stage.run({}, draft, Events.silent())
    return DataSet.open(draft.commit().path), stage.source


def test_an_untouched_row_is_told_with_its_place_and_values(data):
    found = trace(data[0], 18, data[1])
    assert found.steps == []
    [place] = found.places
    assert place["values"] == {"text": "text number 17", "label": "b"}
    assert source_row(data[0], place["split"], place["place"]) == 18


def test_what_operators_did_is_told_in_order(data):
    changed, empty, again = (trace(data[0], row, data[1]) for row in (41, 42, 43))
    assert [(s["step"], s["what"]) for s in changed.steps] == [("normalize", "changed"), ("drop_duplicates", "dropped")]
    assert empty.steps == [{"step": "drop_empty", "what": "dropped", "why": "no text"}]
    assert again.steps == [{"step": "drop_duplicates", "what": "dropped", "why": "the same as row 4"}]
    assert changed.places == empty.places == again.places == []


@pytest.mark.parametrize("row", [0, 44])
def test_a_row_that_never_was(data, row):
    with pytest.raises(DataError, match="name one from 1 to 43"):
        trace(data[0], row)


def test_a_place_that_is_not_in_the_split(data):
    with pytest.raises(DataError, match="there is no row 1000 in test"):
        source_row(data[0], "test", 1000)


def test_a_data_set_made_before_rows_were_numbered(data):
    old = DataSet(data[0].folder, data[0].task, {key: value for key, value in data[0].info.items() if key != "sizes"})
    with pytest.raises(DataError, match="its rows have no numbers"):
        trace(old, 1)


def test_another_folder_is_told(tmp_path):
    (tmp_path / "other.json").write_text(json.dumps({}))
    with pytest.raises(DataError, match="this is not a data set"):
        opened(tmp_path)
