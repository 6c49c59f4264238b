import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from danlu.blocks.dataset import DataSet, check_labels_seen, label_counts, split_digest
from danlu.blocks.splits import key_array
from danlu.core.errors import DataError
from danlu.plugins.tasks.text_classification import TextClassification

TASK = TextClassification(text="text", label="label", labels=("no", "yes"))


def table(*texts, label="yes"):
    return pa.table({"text": list(texts), "label": [label] * len(texts), "other": list(range(len(texts)))})


def written(folder, tables, info):
    keys = {split: key_array(pa.concat_tables(pieces), ["text"]) for split, pieces in tables.items()}
    return DataSet.write(folder, TASK, tables, info, keys)


@pytest.fixture
def data(tmp_path):
    tables = {"train": [table("a"), table("b")], "validation": [table("c")], "test": [table("d", "e")]}
    return written(tmp_path, tables, {"notes": ["as found"]})


def test_what_was_written_is_read(data):
    again = DataSet.open(data.folder)
    assert again.task == TASK
    assert again.info == data.info == json.loads((data.folder / "dataset.json").read_text())
    assert again.info["rows"] == {"train": 2, "validation": 1, "test": 2}
    assert again.rows("test")[0] == {"text": "d", "label": "yes", "other": 0}
    inputs, gold = again.judged("test")
    assert inputs == ["d", "e"]
    assert [g["label"] for g in gold] == ["yes", "yes"]
    again.check()


def test_the_digest_sees_the_columns_of_the_task_and_not_the_order():
    one = table("d", "e")
    assert split_digest(one, TASK) == split_digest(one.take([1, 0]), TASK)
    assert split_digest(one, TASK) == split_digest(one.drop_columns(["other"]), TASK)
    assert split_digest(one, TASK) != split_digest(table("d", "e", label="no"), TASK)


def test_a_changed_row_is_found(data):
    pq.write_table(table("d", "E"), data.folder / "test.parquet")
    with pytest.raises(DataError, match="split test: its rows are not those that were frozen"):
        DataSet.open(data.folder).check()


def test_a_test_row_that_leaked_into_training_is_found(data):
    leaky = table("a", " D ")
    pq.write_table(leaky, data.folder / "train.parquet")
    info = json.loads((data.folder / "dataset.json").read_text())
    info["digests"]["train"] = split_digest(leaky, TASK)
    (data.folder / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="1 inputs are both in train and in test"):
        DataSet.open(data.folder).check()


def test_splits_that_share_an_input_are_not_written(tmp_path):
    with pytest.raises(DataError, match="both in train and in validation"):
        written(tmp_path, {"train": [table("a")], "validation": [table("A")], "test": [table("b")]}, {})
    assert not (tmp_path / "dataset.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"task": {"no_such_task": {}}}', "{}"])
def test_a_folder_that_is_no_data_set(tmp_path, content):
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(DataError, match="this is not a data set"):
        DataSet.open(tmp_path)


def test_a_split_that_is_not_there_or_broken(data):
    with pytest.raises(DataError, match="there is no split 'dev'"):
        data.table("dev")
    (data.folder / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="it can't be read"):
        data.table("test")


def test_unlabelled_rows_are_not_judged(tmp_path):
    tables = {"train": [table("a")], "validation": [table("b")], "test": [table("c", label=None)]}
    with pytest.raises(DataError, match="1 of 1 rows have no true answer"):
        written(tmp_path, tables, {}).judged("test")


def test_labels_are_counted(data):
    mixed = pa.concat_tables([table("a", "b"), table("c", label="no")])
    assert label_counts([mixed], TASK) == {"no": 1, "yes": 2}


def test_answers_that_are_no_labels_are_not_counted(data):
    class Number(TextClassification):
        """Gives a number."""

        gives = {"answer": "number"}

        def gold(self, row):
            return 1.5

    assert label_counts([table("a")], Number(text="text", label="label")) == {}


def answers(*labels):
    return [({"label": label}, 1) for label in labels]


def test_a_label_never_trained_is_told_with_its_rows():
    with pytest.raises(
        DataError, match=r"test: 2 labels of the test set are in no training row.*'odd' \(2 rows\), 'new' \(1"
    ):
        check_labels_seen(answers("good", "bad"), [*answers("good", "new"), ({"label": "odd"}, 2)], split="test")


def test_known_labels_rows_without_one_and_other_answers_pass():
    check_labels_seen(answers("good", "bad"), [({"label": "bad"}, 1), (None, 1)], split="test")
    check_labels_seen([({"labels": ["a", "b"]}, 1)], [({"labels": ["b"]}, 1), ({"labels": []}, 1)], split="test")
    check_labels_seen([("a text", 1)], [("another", 1), (3, 1)], split="test")


def test_several_labels_a_row_are_looked_at_one_by_one():
    with pytest.raises(DataError, match="1 labels of the validation set"):
        check_labels_seen([({"labels": ["a", "b"]}, 1)], [({"labels": ["b", "c"]}, 1)], split="validation")
