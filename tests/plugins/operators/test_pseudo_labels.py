import functools
import shutil
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from pyarrow import parquet

import danlu
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError, RecipeFaults
from danlu.plugins.operators.pseudo_labels import PseudoLabels
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.testing.partners import sample_table

CONTEXT = Context(Columns(("said",), ("mood",)), "train")


@pytest.fixture(scope="module")
def folder(moods_run):
    """The version that tells moods by their words."""
    from danlu.registry.store import Registry

    registry = Registry(moods_run)
    return registry.open(registry.resolve("moods@2"))


@pytest.fixture(scope="module")
def model(folder):
    return PseudoLabels(model=str(folder))._predictor


_KEPT = TemporaryDirectory()


def conforming(folder):
    """A classifier of the sample that the checks are made on, taught once for all of them."""
    return {"pseudo_labels": {"model": _taught(Path(_KEPT.name))}}


@functools.cache
def _taught(folder):
    """Pictures of two labels, as the sample of the first task is."""
    rows = sample_table(ImageClassification(), 60)
    parquet.write_table(rows, folder / "sample.parquet")
    source = {"parquet": str(folder / "sample.parquet")}
    steps = {
        "data": {"do": "prepare", "source": source, "task": "image_classification", "operators": []},
        "tuned": {"do": "finetune", "backbone": "majority"},
    }
    made = danlu.run({"name": "taught", "steps": steps}, store=folder / "store", trackers=[])
    return str(made["tuned"].path)


def rows(model, count=20, labelled=8):
    sample = model.task.sample(count)
    column, gold = model.task.columns().ask[0], model.task.columns().gold[0]
    texts = [row[column] for row in sample]
    truth = [row[gold] if k < labelled else None for k, row in enumerate(sample)]
    return pa.table({"said": texts, "mood": pa.array(truth, pa.string()), "n": range(count)})


def test_sure_answers_become_labels_and_the_others_go(folder, model):
    table = rows(model)
    answers = model(table.column("said").to_pylist())
    bound = sorted(answer["confidence"] for answer in answers[8:])[6]
    made, counts = PseudoLabels(model=str(folder), confidence=bound).apply(table, CONTEXT)
    sure = [k for k in range(8, 20) if answers[k]["confidence"] >= bound]
    assert 0 < len(sure) < 12
    assert made.column("n").to_pylist() == [*range(8), *sure]
    assert made.column("mood").to_pylist()[8:] == [answers[k]["label"] for k in sure]
    assert made.column("mood").to_pylist()[:8] == table.column("mood").to_pylist()[:8]
    assert (counts.rows_in, counts.rows_out, counts.changed) == (20, 8 + len(sure), len(sure))
    assert counts.by == Counter(answers[k]["label"] for k in sure)
    assert counts.why.keys() == set(range(8, 20))
    first = answers[sure[0]]
    assert counts.why[sure[0]] == f"labelled by the model: {first['label']} with {first['confidence']:.3f}"


def test_a_label_may_have_its_own_bound(folder, model):
    table, (one, other) = rows(model), model.task.labels
    _, counts = PseudoLabels(model=str(folder), confidence=0.01, labels={one: 1.0}).apply(table, CONTEXT)
    assert set(counts.by) == {other}
    with pytest.raises(DataError, match="there is no label 'odd'"):
        PseudoLabels(model=str(folder), labels={"odd": 0.5}).apply(table, CONTEXT)


def test_other_labels_are_refused(folder, model):
    table = rows(model)
    strange = table.set_column(1, "mood", pa.array(["joy", model.task.labels[0]] + [None] * 18, pa.string()))
    with pytest.raises(DataError, match=f"only the rows have joy; only the model has {model.task.labels[1]}"):
        PseudoLabels(model=str(folder)).apply(strange, CONTEXT)


def test_without_a_gap_nothing_is_done(folder, model):
    table = rows(model, labelled=20)
    made, counts = PseudoLabels(model=str(folder)).apply(table, CONTEXT)
    assert made.equals(table)
    assert counts.notes == ["every row has a label, so none was given one"]


def prepared(tmp_path, folder, **options):
    steps = {
        "data": {
            "do": "prepare",
            "source": {"csv": str(tmp_path / "half.csv")},
            "task": {"text_classification": {"text": "said", "label": "mood"}},
            "operators": [{"pseudo_labels": {"model": str(folder), "confidence": 0.5, **options}}],
            "split": {"near": None},  # the sample's sentences are near one another
        }
    }
    return danlu.run({"name": "half", "steps": steps}, store=tmp_path / "store", trackers=[])


def test_a_recipe_measures_on_none_of_them(tmp_path, folder, model):
    sample = [(row["text"], row["label"]) for row in model.task.sample(400)]
    texts = dict.fromkeys(f"{text} number {k}" for k, (text, _) in enumerate(sample))
    lines = [f"{text},{sample[k][1] if k < 100 else ''}" for k, text in enumerate(texts)]
    lines += [f"{text}," for text in list(texts)[:100]]  # each labelled text stands there without its label too
    (tmp_path / "half.csv").write_text("\n".join(["said,mood", *lines]) + "\n")
    made = prepared(tmp_path, folder)
    from danlu.blocks.dataset import DataSet

    data = DataSet.open(made["data"].path)
    held = [data.table(split).column("said").to_pylist() for split in ("validation", "test")]
    assert {int(text.split()[-1]) for part in held for text in part} < set(range(100))
    assert [len(part) for part in held] == [10, 20]
    train = data.table("train").column("said").to_pylist()
    assert len(train) == 70 + 70 + 300  # the 30 twins of what is measured on are not learnt
    assert not set(train) & {text for part in held for text in part}


def test_another_model_is_no_reuse(tmp_path, folder, model):
    test_a_recipe_measures_on_none_of_them(tmp_path, folder, model)
    mine = shutil.copytree(folder, tmp_path / "mine")
    assert prepared(tmp_path, mine).reused == ("data",)
    (mine / "README.md").write_text("changed")
    assert prepared(tmp_path, mine).reused == ()


def test_a_model_that_is_not_there_is_a_fault_of_the_recipe(tmp_path):
    (tmp_path / "half.csv").write_text("said,mood\na,b\n")
    with pytest.raises(RecipeFaults, match="nowhere"):
        prepared(tmp_path, tmp_path / "nowhere")
