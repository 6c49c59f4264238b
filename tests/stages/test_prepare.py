import numpy as np
import pytest

from danlu.blocks.dataset import DataSet
from danlu.blocks.pixels import encode_picture
from danlu.contracts import Columns, Operator
from danlu.core.errors import DataError
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.stages.prepare import Prepare, Split

TASK = {"text_classification": {"text": "text", "label": "label"}}
LABELS = ("bad", "good", "mixed")


def rows(n=60, labels=LABELS, start=0):
    return [{"text": f"text number {k}", "label": labels[k % len(labels)]} for k in range(start, start + n)]


def prepare(source, task=TASK, **settings):
    return Prepare(source=source, task=task, **settings)


def texts(artifact, split):
    return [row["text"] for row in DataSet.open(artifact.path).rows(split)]


def notes(heard):
    return [event.data["text"] for event in heard if event.kind == "note"]


def test_three_splits_hold_every_row_once_with_its_label(run, given):
    made = run(prepare(given(rows())))
    data = DataSet.open(made.path)
    found = [row for split in ("train", "validation", "test") for row in data.rows(split)]
    assert sorted(found, key=lambda r: r["text"]) == sorted(rows(), key=lambda r: r["text"])
    assert data.info["rows"] == {"train": 42, "validation": 6, "test": 12}
    assert data.task == TextClassification(text="text", label="label", labels=LABELS)


def test_stratified_gives_every_label_its_share_and_random_does_not(run, given):
    uneven = rows(200, ("common",)) + rows(20, ("rare",), start=200)
    for by, exact in (("stratified", True), ("random", False)):
        made = run(prepare(given(uneven), split={"by": by}))
        rare = sum(row["label"] == "rare" for row in DataSet.open(made.path).rows("test"))
        assert (rare == 4) is exact


def test_the_seed_decides_and_the_order_of_the_rows_does_not(run, given):
    first = run(prepare(given(rows())))
    again = run(prepare(given(rows()[::-1])))
    other = run(prepare(given(rows()), seed=1))
    assert first.json("dataset.json")["digests"] == again.json("dataset.json")["digests"]
    assert first.json("dataset.json")["digests"] != other.json("dataset.json")["digests"]
    assert first.json("dataset.json")["source"] == again.json("dataset.json")["source"]


@pytest.mark.parametrize("by", ["stratified", "random"])
def test_the_same_input_never_lies_in_two_splits_even_without_drop_duplicates(run, given, by):
    twice = [{**row, "text": row["text"].upper() if k % 2 else f" {row['text']} "} for k in range(5) for row in rows()]
    made = run(prepare(given(twice), operators=(), split={"by": by}))
    sets = [{t.strip().lower() for t in texts(made, split)} for split in ("train", "validation", "test")]
    assert sum(map(len, sets)) == len(set.union(*sets)) == 60


def test_every_operator_is_counted_with_samples(run, given, heard):
    messy = [*rows(), {"text": "text  number\u00a01", "label": "bad"}, {"text": None, "label": "bad"}]
    made = run(prepare(given(messy)))
    told = {step["name"]: step for step in made.json("dataset.json")["operators"]}
    assert {n: (s["rows_in"], s["rows_out"], s["changed"]) for n, s in told.items()} == {
        "normalize": (62, 62, 1),
        "drop_empty": (62, 61, 0),
        "drop_duplicates": (61, 60, 0),
    }
    assert told["normalize"]["samples"] == [["text  number\u00a01", "text number 1"]]
    assert told["drop_duplicates"]["samples"] == [[{"text": "text number 1"}, None]]
    assert "drop_empty: dropped 1 of 62 rows (without text 1)" in notes(heard)


class Shout(Operator):
    splits = ("train",)

    def apply(self, table, context):
        from danlu.contracts import Counts

        column = context.columns.ask[0]
        loud = [text.upper() for text in table.column(column).to_pylist()]
        return table.set_column(0, column, [loud]), Counts(len(loud), len(loud), changed=len(loud))


def test_an_operator_for_training_rows_touches_no_other_split(run, given):
    made = run(prepare(given(rows()), operators=(Shout(),)))
    assert all(text.isupper() for text in texts(made, "train"))
    assert all(text.islower() for split in ("validation", "test") for text in texts(made, split))


def test_open_columns_are_found_and_told(run, given, heard):
    spoken = [{"comment": f"a comment of many words {k}", "stars": str(k % 3)} for k in range(60)]
    made = run(prepare(given(spoken), task="text_classification"))
    assert DataSet.open(made.path).task.columns().ask == ("comment",)
    assert any("comment" in text for text in notes(heard))
    assert made.manifest["notes"] == made.json("dataset.json")["notes"] != []


def test_a_sources_own_splits_are_kept_and_training_rows_that_repeat_them_go(run, given, heard):
    own = {"train": rows(40), "test": [*rows(10, start=40), {"text": "TEXT number 3", "label": "bad"}]}
    made = run(prepare(given(own)))
    data = DataSet.open(made.path)
    assert sorted(texts(made, "test")) == sorted(row["text"] for row in own["test"])
    assert "text number 3" not in texts(made, "train") + texts(made, "validation")
    assert data.info["rows"]["train"] + data.info["rows"]["validation"] == 39
    assert "__split__" not in data.table("test").column_names
    assert any("own test or validation split" in text for text in notes(heard))


def test_an_exact_duplicate_goes_from_training_not_from_the_sources_own_test(run, given):
    own = {"train": rows(40), "validation": rows(6, start=50), "test": rows(3)}
    made = run(prepare(given(own)))
    assert len(texts(made, "test")) == 3
    assert len(texts(made, "train")) == 37


def test_a_label_that_is_not_trained_is_named(run, given):
    own = {"train": rows(40, ("a", "b")), "test": rows(10, ("a", "b", "new"), start=40)}
    with pytest.raises(DataError, match=r"are in no training row.*'new' \(3 rows\)"):
        run(prepare(given(own)))


def test_rows_without_a_label_are_counted_when_nothing_drops_them(run, given):
    own = {"train": rows(40), "test": [*rows(9, start=40), {"text": "what am I", "label": None}]}
    with pytest.raises(DataError, match="1 row has no label in the column 'label'"):
        run(prepare(given(own), operators=()))


def test_a_row_without_a_label_is_named_as_the_source_counts(run, given):
    own = [{"text": "?", "label": "a"}, *rows(40), {"text": "what am I", "label": None}]
    with pytest.raises(DataError, match="row 42: 1 row has no label in the column 'label', this one first"):
        run(prepare(given(own), operators=({"length": {"least": 2}},)))


@pytest.mark.parametrize(
    ("table", "match"),
    [
        ([], "the source has no rows"),
        (rows(9), "9 rows are too few to split: 10 give one row"),
        (rows(40, ("same",)), "there is nothing to tell apart.*only 'same'"),
        ([{"text": f"t {k}", "label": k / 7} for k in range(40)], "numbers on a scale"),
        (
            [{"text": f"t {k}", "label": float("nan")} for k in range(40)],
            "drop_empty left none of 40 rows: 40 for without label",
        ),
        (
            [{"text": f"t {k}", "rating": "x"} for k in range(40)],
            "there is no column 'label'; the columns are: text, rating",
        ),
    ],
)
def test_rows_that_cannot_be_learnt_from(run, given, store, table, match):
    before = len(store.artifacts())
    with pytest.raises(DataError, match=match) as fault:
        run(prepare(given(table)))
    assert fault.value.do
    assert len(store.artifacts()) == before
    assert not list((store.path / "drafts").iterdir())


def test_a_row_that_cannot_be_learnt_from_is_named_by_its_place_in_the_source(run, given):
    """Operators before it dropped rows, and the table that the task was given has other places."""
    table = [{"query": "" if k in (1, 2) else f"q {k}", "passages": ["a", "b"], "relevance": [1, 0]} for k in range(40)]
    table[9]["relevance"] = [0, 0]
    with pytest.raises(DataError, match=r"^row 10: no passage is relevant to the query"):
        run(prepare(given(table), task="reranking", operators=["drop_empty"]))


def test_a_source_with_a_test_split_only_cannot_be_trained_on(run, given):
    with pytest.raises(DataError, match="no split to train on"):
        run(prepare(given({"test": rows()})))


def test_shares_that_leave_nothing_are_refused_before_anything_is_read():
    with pytest.raises(ValueError, match="leave nothing to train on"):
        Split(validation=0.5, test=0.5)


def test_pictures_go_the_same_way(run):
    made = run(Prepare(source={"synthetic": {"kind": "image", "size": 60}}, task="image_classification"))
    data = DataSet.open(made.path)
    inputs, gold = data.judged("test")
    assert len(inputs) == data.info["rows"]["test"] == 12
    assert {answer["label"] for answer in gold} == {"square", "circle"}


# ---- what was guessed, and what looks odd --------------------------------------------------------------------------


def warnings(heard):
    return [event.data["text"] for event in heard if event.kind == "warning"]


def test_labels_that_look_like_a_missing_one_are_told_with_the_override_that_drops_them(run, given, heard):
    spelled = rows(labels=("bad", "good", "NaN", "null", "N/A", " "))
    made = run(prepare(given(spelled), operators=()))
    [text] = warnings(heard)
    assert 'each is learnt as a label: "NaN" (10 rows), "null" (10 rows), "N/A" (10 rows), " " (10 rows). To' in text
    assert text.endswith("""my_prepare.operators.drop_empty.also='["NaN", "null", "N/A", " "]'""")
    assert text in made.manifest["notes"]
    assert text in made.json("dataset.json")["notes"]
    operators = ({"drop_empty": {"also": ["NaN", "null", "N/A"]}},)
    data = DataSet.open(run(prepare(given(spelled), operators=operators)).path)
    assert (warnings(heard), data.task.labels) == ([], ("bad", "good"))
    run(prepare(given(rows())))
    assert warnings(heard) == []


def test_a_guessed_encoding_is_told(run, heard, tmp_path):
    lines = [f"texte numéro {k} avec un cliché,{LABELS[k % 3]}" for k in range(60)]
    (tmp_path / "old.csv").write_bytes("\n".join(["text,label", *lines]).encode("latin-1"))
    made = run(prepare({"csv": str(tmp_path / "old.csv")}))
    [told] = [text for text in notes(heard) if "encoding" in text]
    assert told.startswith("old.csv is not UTF-8; it was read as cp1252, a guess")
    assert told in made.manifest["notes"]
    run(prepare({"csv": {"path": str(tmp_path / "old.csv"), "encoding": "latin-1"}}))
    assert not [text for text in notes(heard) if "guess" in text]


def test_a_header_that_looks_like_a_row_is_told_with_the_override(run, heard, tmp_path):
    path = tmp_path / "bare.csv"
    path.write_text("".join(f"a sentence of some words {k},{LABELS[k % 3]}\n" for k in range(60)))
    made = run(prepare({"csv": str(path)}, task="text_classification"))
    [text] = warnings(heard)
    assert text.startswith("the first line of bare.csv looks like a row")
    assert text.endswith("my_prepare.source.csv.header=false")
    assert text in made.manifest["notes"]
    assert made.manifest["numbers"]["rows_read"] == 59
    made = run(prepare({"csv": {"path": str(path), "header": False}}, task="text_classification"))
    assert (warnings(heard), made.manifest["numbers"]["rows_read"]) == ([], 60)


class Careless(TextClassification):
    """Finds its columns too late, or never."""

    def settle(self, rows):
        return self

    def columns(self):
        return Columns((self.text,), (self.label,))


def test_a_task_that_left_a_column_open_is_told_as_that(run, given):
    match = "Careless left a column open that it must find or be told; the columns are: text, label\n    text: column"
    with pytest.raises(DataError, match=match):
        run(prepare(given(rows()), task=Careless(label="label")))
    with pytest.raises(DataError, match="Careless has no column 'body'; the columns are: text, label"):
        run(prepare(given(rows()), task=Careless(text="body", label="label")))


def test_relative_paths_of_pictures_are_refused_where_no_folder_is_known(run, given, tmp_path):
    for k in range(40):
        (tmp_path / f"{k}.png").write_bytes(encode_picture(np.full((8, 8), 6 * k, dtype=np.uint8)))

    def paths(folder):
        return [{"image": f"{folder}{k}.png", "label": LABELS[k % 2]} for k in range(40)]

    task = {"image_classification": {"image": "image", "label": "label"}}
    match = (
        r"'image' holds relative paths, such as '0.png', and no folder .*\n  → of a csv file: data.source.csv.pictures"
    )
    with pytest.raises(DataError, match=match):
        run(prepare(given(paths("")), task=task, operators=()))
    made = run(prepare(given(paths(f"{tmp_path}/")), task=task, operators=()))
    assert made.numbers["rows_read"] == 40
