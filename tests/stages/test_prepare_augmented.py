"""Augmentation and balancing through the stage: the training split alone is changed."""

import pytest

from danlu.blocks.dataset import DataSet
from danlu.stages.prepare import Prepare


@pytest.mark.parametrize("operator", [{"eda": {"copies": 2}}, {"typos": {"copies": 0}}, "oversample", "undersample"])
def test_validation_and_test_stay_equal_byte_by_byte(run, given, operator):
    """Through the stage: the other splits are the same files, the training split is not."""
    rows = [{"text": f"a text of some words and number {k}", "label": "ab"[k % 5 == 0]} for k in range(100)]
    task = {"text_classification": {"text": "text", "label": "label"}}
    plain = run(Prepare(source=given(rows), task=task, operators=("drop_duplicates",)))
    more = run(Prepare(source=given(rows), task=task, operators=("drop_duplicates", operator)))
    for split in ("validation", "test"):
        assert (plain.path / f"{split}.parquet").read_bytes() == (more.path / f"{split}.parquet").read_bytes()
    assert not DataSet.open(plain.path).table("train").equals(DataSet.open(more.path).table("train"))
    assert more.json("dataset.json")["operators"][-1]["name"].endswith("on train")
