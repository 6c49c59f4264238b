"""A notebook: a run shows plain progress and its table, and a model answers."""

from __future__ import annotations

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

ROOT = Path(__file__).parents[1]
CELLS = """
import danlu
run = danlu.run({recipe!r}, "score.metrics=[accuracy]", "ship.require={{}}", store={store!r})
---
run
---
model = danlu.load("digits", store={store!r})
model
---
from danlu.plugins.tasks.image_classification import ImageClassification
model.predict([row["image"]["bytes"] for row in ImageClassification().sample(2)])
"""


def test_a_run_in_a_notebook(digits_store: Path) -> None:
    source = CELLS.format(recipe=str(ROOT / "recipes" / "digits.yaml"), store=str(digits_store))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in source.split("---")])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    progress, table, model, answers = (cell["outputs"] for cell in notebook["cells"])
    assert {output["output_type"] for output in progress} == {"stream"}
    text = "".join(output["text"] for output in progress)
    assert {output["name"] for output in progress} == {"stdout"}, text
    assert "tuned  finetune  reused" in text
    assert text.splitlines()[-1].startswith("done in ")
    assert len(text.splitlines()) < 40
    assert "\x1b" not in text
    assert "<td>int8 (served)</td>" in table[0]["data"]["text/html"]
    assert model[0]["data"]["text/plain"].startswith("Model(name='digits@")
    assert answers[0]["data"]["text/plain"].count("confidence") == 2
