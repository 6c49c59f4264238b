"""A corpus that nothing can be learnt from is told before any training, whatever the language model."""

import pytest

import danlu
from danlu.core.errors import DataError

TASKS = {"masked_lm": "bert", "causal_lm": "gpt2", "span_denoising": "t5"}


def _run(folder, task, per):
    steps = {
        "data": {"do": "prepare", "source": {"text": {"path": str(folder / "texts"), "per": per}}, "task": task},
        "model": {"do": "pretrain", "dataset": "$data", "backbone": {TASKS[task]: "tiny"}, "steps": 1},
    }
    danlu.run({"name": "bad", "steps": steps}, store=folder / "store", trackers=[])


def _write(folder, content):
    (folder / "texts").mkdir()
    (folder / "texts" / "a.txt").write_bytes(content)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(
    ("per", "content"), [("line", b"one line of words\n"), ("file", b"one line\nand another\n" * 9)]
)
def test_one_line_or_one_document(task, per, content, tmp_path):
    _write(tmp_path, content)
    with pytest.raises(DataError, match="1 rows are too few to split") as caught:
        _run(tmp_path, task, per)
    assert "give more rows" in str(caught.value)


@pytest.mark.parametrize("task", TASKS)
def test_a_binary_file(task, tmp_path):
    _write(tmp_path, bytes(range(256)) * 40)
    with pytest.raises(DataError, match=r"a\.txt.* are not utf-8"):
        _run(tmp_path, task, "line")
