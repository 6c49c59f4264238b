"""Pairs, and what they are told apart from."""

from __future__ import annotations

import pyarrow as pa
import pytest

from danlu.core.errors import DataError
from danlu.plugins.sources.pairs import Pairs

LINES = ["q,a,language", *(f"question {k % 20},answer {k},{'en' if k < 40 else 'de'}" for k in range(50))]


def conforming(folder):
    return {"pairs": options(folder)}


def options(folder, **more):
    (folder / "talks.csv").write_text("\n".join(LINES) + "\n")
    return {"source": {"csv": str(folder / "talks.csv")}, "text": "q", "text_pair": "a", **more}


def rows(folder, **more):
    return pa.Table.from_batches(Pairs(**options(folder, **more)).rows()).to_pylist()


def test_what_is_drawn_never_belongs_to_the_first_text(tmp_path):
    made = rows(tmp_path, others=2)
    true = {(row["q"], row["a"]) for row in made if row["label"] == "yes"}
    drawn = [(row["q"], row["a"]) for row in made if row["label"] == "no"]
    assert (len(true), len(drawn)) == (50, 100)
    assert not true & set(drawn)


def test_a_ranking_holds_all_that_belongs_to_a_text_and_so_many_others(tmp_path):
    made = rows(tmp_path, make="rankings", others=5, where={"language": "en"})
    assert len(made) == 20
    for row in made:
        right = {p for p, r in zip(row["passages"], row["relevance"], strict=True) if r}
        number = int(row["q"].split()[1])
        assert right == {f"answer {number}", f"answer {number + 20}"}
        assert len(set(row["passages"])) == 7
    assert len({row["relevance"].index(1) for row in made}) > 2, "the right ones must not always stand in one place"


def test_preferences_reject_an_answer_to_something_else(tmp_path):
    made = rows(tmp_path, make="preferences")
    true = {(f"question {k % 20}", f"answer {k}") for k in range(50)}
    assert {(row["q"], row["chosen"]) for row in made} == true
    assert not true & {(row["q"], row["rejected"]) for row in made}


def test_the_seed_decides(tmp_path):
    assert rows(tmp_path) == rows(tmp_path)
    assert rows(tmp_path) != rows(tmp_path, seed=1)


def test_too_few_to_draw_from(tmp_path):
    with pytest.raises(DataError, match="not 60 second texts that do not belong"):
        rows(tmp_path, others=60)
    with pytest.raises(DataError, match="no row is left where"):
        rows(tmp_path, where={"language": "fr"})
    with pytest.raises(DataError, match=r"there is no column 'x'; the columns are: q, a, language"):
        rows(tmp_path, text_pair="x")
