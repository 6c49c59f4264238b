import json

import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources.feedback import Feedback


def conforming(folder):
    write(folder / "feedback", "a.jsonl", request("1", correction="good"), request("2", correction="bad"))
    return {"feedback": {"path": str(folder / "feedback")}}


def request(name, **more):
    return {"id": name, "time": "2026-01-02T03:04:05Z", "input": f"text {name}", "answer": "bad"} | more


def write(folder, name, *rows):
    folder.mkdir(exist_ok=True)
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Feedback(path=str(folder))


def rows(source):
    return pa.Table.from_batches(source.rows()).to_pylist()


def test_the_last_correction_of_a_request_counts(tmp_path):
    write(tmp_path, "2026-01.jsonl", request("1"), request("2", correction="good"), request("3", correction="good"))
    source = write(tmp_path, "2026-02.jsonl", request("2", correction="mixed", by="me"), request("4"))
    assert rows(source) == [
        {"id": "3", "time": "2026-01-02T03:04:05Z", "text": "text 3", "answer": "bad", "label": "good"},
        {"id": "2", "time": "2026-01-02T03:04:05Z", "text": "text 2", "answer": "bad", "label": "mixed"},
    ]
    every = Feedback(path=str(tmp_path), rows_with="all")
    assert [(row["id"], row["label"]) for row in rows(every)] == [
        ("1", None),
        ("3", "good"),
        ("2", "mixed"),
        ("4", None),
    ]


def test_what_is_no_text_is_written_as_json(tmp_path):
    source = write(tmp_path, "a.jsonl", request("1", input={"k": "好"}, answer={"label": "bad"}, correction=["a", "b"]))
    assert rows(source)[0]["text"] == '{"k": "好"}'
    assert rows(source)[0]["label"] == '["a", "b"]'


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"id": "1", "time": "x", "input": "a"}', r"a\.jsonl, line 2: a request has no 'answer'"),
        ('{"id": 1, "time": "x", "input": "a", "answer": "b"}', "line 2: the id of a request is not text"),
        ('{"id": ', "line 2: it is not JSON"),
    ],
)
def test_a_line_that_is_no_request(tmp_path, line, told):
    source = write(tmp_path, "a.jsonl", request("1", correction="good"), line)
    with pytest.raises(DataError, match=told):
        rows(source)
    skipping = Feedback(path=str(tmp_path), on_error="skip", most_skipped=0.5)
    assert [row["id"] for row in rows(skipping)] == ["1"]


def test_nobody_corrected_anything(tmp_path):
    with pytest.raises(DataError, match=r"no request with a correction\n.*rows_with: all"):
        rows(write(tmp_path, "a.jsonl", request("1")))
