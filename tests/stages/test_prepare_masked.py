"""Personal data that is masked leaves no trace: not in the data set, its report, its manifest or the events of the run."""

import dataclasses
import json

import pyarrow.parquet as pq
import pytest

from danlu.blocks.personal import KINDS
from danlu.stages.prepare import Prepare
from personal_texts import THERE

TASK = {"text_classification": {"text": "text", "label": "label"}}
MARKED = [marked for texts in THERE.values() for marked in texts]
VALUES = [piece.partition("⟧")[0] for marked in MARKED for piece in marked.split("⟦")[1:]]


def rows():
    texts = [marked.replace("⟦", "").replace("⟧", "") for marked in MARKED] + [f"nothing in {k}" for k in range(60)]
    return [{"text": text, "label": ("bad", "good")[k % 2]} for k, text in enumerate(texts)]


def traces(folder, heard):
    """Everything that was written or said, as text; tables cell by cell."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet":
            yield json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False)
        elif path.is_file():
            yield path.read_bytes().decode(errors="replace")
    yield from (json.dumps(dataclasses.asdict(event), default=str, ensure_ascii=False) for event in heard)


@pytest.mark.parametrize("style", ["tag", "hash", "fake", "drop"])
def test_no_value_is_written_or_said(style, run, heard, monkeypatch, tmp_path):
    key = "fedcba9876543210fedcba9876543210"
    monkeypatch.setenv("DANLU_MASK_KEY", key)
    operators = ({"mask_pii": {"style": style}}, "normalize", "drop_empty", "drop_duplicates")
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows())), encoding="utf-8")
    made = run(Prepare(source={"jsonl": str(file)}, task=TASK, operators=operators))
    told = made.json("dataset.json")["operators"][0]
    assert set(told["by"]) == set(KINDS)
    text = "\n".join(traces(made.path, heard))
    assert "nothing in 7" in text
    assert [value for value in [*VALUES, key] if value in text or json.dumps(value)[1:-1] in text] == []
