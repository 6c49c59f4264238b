"""When a row was seen, against what really came into the batches."""

import json

import pytest

import danlu
from danlu import bundle
from danlu.blocks.dataset import DataSet
from danlu.core.artifact import Artifact
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.training import seen
from danlu.training.batches import Feed

TEXTS = [f"{'good' if k % 2 else 'bad'} film number {k}" + " and so on" * (k % 3) for k in range(60)]


def trained(folder, backbone, **options):
    (folder / "rows.csv").write_text("\n".join(["text,label", *(f"{t},{'ab'[k % 2]}" for k, t in enumerate(TEXTS))]))
    steps = {
        "data": {
            "do": "prepare",
            "source": {"csv": str(folder / "rows.csv")},
            "task": {"text_classification": {"text": "text", "label": "label"}},
            "operators": [],
        },
        "tuned": {"do": "finetune", "backbone": backbone, **options},
    }
    made = danlu.run({"name": "seen", "steps": steps, "seed": 5}, store=folder / "store", trackers=[])
    return made["data"], made["tuned"]


@pytest.fixture
def batches(monkeypatch):
    """The texts of each batch of each step, as the model got them, each as its ids without padding."""
    noted = []
    plain = Feed.made

    def made(self, chosen, step):
        batches = plain(self, chosen, step)
        noted.append((step, [[tuple(row[row != 0].tolist()) for row in b.inputs["input_ids"]] for b in batches]))
        return batches

    monkeypatch.setattr(Feed, "made", made)
    return noted


@pytest.mark.parametrize("among", [None, 2])
def test_it_names_the_epoch_the_step_and_the_batch(tmp_path, batches, among, monkeypatch):
    monkeypatch.setattr(TextClassification, "among", among)
    data, model = trained(
        tmp_path, {"bert": {"size": "tiny", "positions": 32}}, epochs=3, batch_size=4, accumulate=2, precision="fp32"
    )
    monkeypatch.setattr(TextClassification, "among", None)  # as another version of the task may have it
    opened = DataSet.open(data.path)
    processor = bundle.load(model.path / "trained").processor
    per_epoch = -(-opened.info["rows"]["train"] // 8)
    for place in (0, 17):
        row = opened.table("train").to_pylist()[place]
        ids = tuple(processor.inputs(row["text"])["input_ids"].tolist())
        expected = {
            seen.Moment(step // per_epoch + 1, step + 1, k + 1)
            for step, made in batches
            for k, batch in enumerate(made)
            if ids in batch and step < model.numbers["steps"]
        }
        told = seen.seen(model, opened, {place})
        assert set(told.moments) == expected
        assert [moment.epoch for moment in told.moments] == [1, 2, 3]
    assert told.step == "tuned"
    assert seen.trainings(Artifact.read(data.path), [data, model]) == [model]


def test_the_command_tells_it(tmp_path, danlu_command):
    data, model = trained(
        tmp_path, {"bert": {"size": "tiny", "positions": 32}}, steps=2, batch_size=4, precision="fp32"
    )
    said = danlu_command(
        "data", "show", "--split", "train", "--row", 1, "--trained", "--json", "--store", tmp_path / "store"
    )
    [told] = json.loads(said)["trained"]
    assert told["key"] == model.key
    assert told["steps"] == 2
    [expected] = [seen.seen(model, DataSet.open(data.path), {0})]
    assert len(told["moments"]) == len(expected.moments)
    said = danlu_command("data", "show", "--split", "train", "--row", 1, "--trained", "--store", tmp_path / "store")
    assert "trained by tuned" in said
    said = danlu_command("data", "show", "--split", "test", "--row", 1, "--trained", "--store", tmp_path / "store")
    assert "No training of this store saw it." in said


@pytest.fixture
def danlu_command():
    from typer.testing import CliRunner

    from danlu.cli.main import app

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_what_can_not_be_told_is_said(tmp_path):
    data, model = trained(tmp_path, "tfidf_lr")
    assert seen.seen(model, DataSet.open(data.path), {0}).note == "it took all rows at once"


def test_packed_texts_know_no_rows(tmp_path):
    (tmp_path / "texts.csv").write_text("\n".join(["text", *TEXTS]))
    steps = {
        "data": {"do": "prepare", "source": {"csv": str(tmp_path / "texts.csv")}, "task": {"masked_lm": {"length": 8}}, "operators": []},
        "own": {"do": "pretrain", "backbone": {"bert": {"size": "tiny", "positions": 16}}, "steps": 1, "precision": "fp32"},
    }  # fmt: skip
    made = danlu.run({"name": "own", "steps": steps}, store=tmp_path / "store", trackers=[])
    told = seen.seen(made["own"], DataSet.open(made["data"].path), {0})
    assert (told.moments, told.note) == ([], "its texts were packed into blocks that know no rows")
