"""Passages sorted for a query, by vectors and by reading both together."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoModel

import danlu
from danlu.core.errors import DataError
from danlu.plugins.backbones.bert import Bert
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.embedding import Embedding
from danlu.plugins.tasks.reranking import Reranking
from danlu.testing.bag import Bag
from danlu.testing.partners import Trial

ROWS = pa.table({"query": ["a b", "c d"], "passages": [["x", "y"], ["z"]], "relevance": [[0, 2], [1]]})
TASKS = [Embedding(), Reranking()]


@pytest.fixture(params=TASKS, ids=lambda task: task.name)
def task(request):
    return request.param


# ---- rows --------------------------------------------------------------------------------------------------------------


def test_columns_are_found_by_name_in_each_form_of_row(task):
    assert task.resolve(ROWS).columns().ask == ("query", "passages")
    pairs = pa.table({"question": ["a b"], "answer": ["x"], "negative": ["y"]})
    found = task.resolve(pairs)
    row = pairs.to_pylist()[0]
    assert found.ask(row) == {"query": "a b", "passages": ["x", "y"]}
    assert found.gold(row)["scores"] == [1.0, 0.0]
    assert found.row(found.ask(row), found.gold(row)) == row


def test_rows_that_nobody_could_sort_are_refused(task):
    with pytest.raises(DataError, match=r"(?s)row 2: no passage is relevant to the query"):
        task.resolve(pa.table({**{n: ROWS[n] for n in ROWS.column_names}, "relevance": [[0, 2], [0]]}))
    with pytest.raises(DataError, match="row 1: 1 numbers of relevance stand beside 2 passages"):
        task.resolve(pa.table({**{n: ROWS[n] for n in ROWS.column_names}, "relevance": [[1], [1]]}))
    with pytest.raises(DataError, match="row 1: relevance is a number, 0 or more"):
        task.resolve(pa.table({**{n: ROWS[n] for n in ROWS.column_names}, "relevance": [[1, -1], [1]]}))
    with pytest.raises(DataError, match=r"(?s)nothing says what in them belongs to the query.*relevance=<column>"):
        task.resolve(ROWS.drop_columns(["relevance"]))
    with pytest.raises(DataError, match=r"(?s)no column was found for the query; the columns are: t.*query=<column>"):
        task.resolve(pa.table({"t": ["x"]}))
    with pytest.raises(DataError, match=r"(?s)there is no column 'q'; the columns are: query, passages, relevance"):
        type(task)(query="q").resolve(ROWS)


@pytest.mark.parametrize("x", [{"query": "a"}, {"query": "a", "passages": []}, {"query": "a", "passages": "b"}, 3])
def test_what_is_no_question_is_refused(task, x):
    with pytest.raises(DataError, match="an input is a query with passages"):
        task.from_json(x)


# ---- training ----------------------------------------------------------------------------------------------------------


def test_hard_negatives_are_those_of_the_row_and_as_many_in_all():
    task = Embedding(hard=3).resolve(
        pa.table({**{n: ROWS[n] for n in ("query", "passages")}, "relevance": [[0, 2], [1]]})
    )
    assert task.hard == 0, "a row has none"
    task = Embedding(hard=3).resolve(ROWS.slice(0, 1))
    trial = Trial.of(task, Bag(), rows=ROWS.slice(0, 1).to_pylist())
    (example,) = task.examples(trial.rows[0], trial.processor)
    assert {name.rpartition(".")[0] for name in example.inputs} == {"", "passage0", "passage1"}


def test_a_text_alone_is_its_own_passage_and_dropout_makes_the_difference():
    rows = [{"query": text} for text in ("amber basil", "cedar delta", "ember fjord", "grove heron")]
    task = Embedding()
    trial = Trial.of(task, Bert(positions=16), rows=rows)
    assert trial.task.gold(rows[0])["scores"] == [1.0]
    before = np.array([one["vector"] for one in trial.predictor()([row["query"] for row in rows])])
    trial.fit(steps=30, lr=1e-3, batch_size=4)
    after = np.array([one["vector"] for one in trial.predictor()([row["query"] for row in rows])])
    apart = [(one @ one.T)[np.triu_indices(4, 1)].mean() for one in (before, after)]
    assert apart[1] < apart[0] - 0.1, "different texts must have come apart"
    assert np.linalg.norm(after, axis=1) == pytest.approx(np.ones(4))


def test_the_first_numbers_alone_do_when_they_were_trained_to():
    trial = Trial.of(Embedding(sizes=(2,)), Bag()).fit()
    short = Trial(
        trial.task.model_copy(update={"size": 2}),
        trial.backbone,
        trial.processor,
        trial.module,
        trial.rows,
        trial.fresh,
    )
    assert len(short.predictor()(["amber"])[0]["vector"]) == 2
    assert short.right() > 0.9
    wide = short.task.model_copy(update={"size": 99})
    with pytest.raises(DataError, match="the model's vectors have 32 numbers, 99 are asked for"):
        wide.decode("x", [], [{"vector": np.ones(32)}], None)


# ---- forms -------------------------------------------------------------------------------------------------------------


def test_a_vector_is_the_mean_of_the_tokens_as_plain_transformers_has_it(tiny_bert, tmp_path):
    import torch

    trial = Trial.of(Embedding(), Pretrained(model=str(tiny_bert)))
    folder = trial.save(tmp_path / "model")
    plain = AutoModel.from_pretrained(folder).eval()
    arrays = trial.processor.inputs("amber basil cedar")
    with torch.no_grad():
        hidden = plain(**{name: torch.tensor(array)[None] for name, array in arrays.items()}).last_hidden_state
    wanted = torch.nn.functional.normalize(hidden.mean(1), dim=-1)[0].numpy()
    [found] = trial.predictor()(["amber basil cedar"])
    assert np.allclose(found["vector"], wanted, atol=1e-5)
    assert trial.fresh == []


def test_onnx_gives_the_same_vectors(tmp_path):
    trial = Trial.of(Embedding(), Bert(positions=16))
    Onnx().export(trial.module, trial.calls(), tmp_path)
    inputs = [*trial.inputs[:6], "amber", "amber basil and more"]
    found = trial.predictor(Onnx().load(tmp_path, lambda: None))(inputs)
    assert trial.distance(trial.predictor()(inputs), found) <= Onnx.tolerance


# ---- from a table to a published model ---------------------------------------------------------------------------------


def test_rankings_from_pairs_to_a_report(tmp_path):
    words = ["amber", "basil", "cedar", "delta", "ember", "fjord", "grove", "heron", "ivory", "jade"]
    lines = ["q,a", *(f"what is {words[k % 10]} number {k},{words[k % 10]} it is {k}" for k in range(80))]
    (tmp_path / "talks.csv").write_text("\n".join(lines) + "\n")
    source = {"source": {"csv": str(tmp_path / "talks.csv")}, "text": "q", "text_pair": "a"}
    steps = {
        "data": {
            "do": "prepare",
            "source": {"pairs": {**source, "make": "rankings", "others": 4}},
            "task": {"embedding": {"query": "q"}},
            "split": {"near": None},
        },
        "tuned": {"do": "finetune", "backbone": "danlu.testing.bag:Bag", "steps": 40, "lr": 0.01},
        "score": {"do": "evaluate", "metrics": ["ndcg", "mrr", {"recall_at_k": {"k": 1}}]},
    }
    run = danlu.run({"name": "made", "steps": steps}, store=tmp_path / "store", trackers=[])
    scores = run["score"].json("scores.json")
    assert scores["metrics"]["mrr"]["value"] > 0.7
    assert sum(row["rows"] for row in scores["rankings"]["places"]) == scores["rows"]
    page = (run["score"].path / "report.html").read_text(encoding="utf-8")
    assert "Where the first relevant passage stands" in page
