from collections import Counter

import pyarrow as pa
import pytest

from danlu.contracts import Source
from danlu.core.errors import DataError, RecipeError
from danlu.plugins.sources.mix import Mix

SIZES = {"a": 3000, "b": 1000}


def conforming(folder):
    return {"mix": {"sources": written(folder), "weights": {"a": 2}}}


def written(folder, sizes=SIZES, **columns):
    for name, size in sizes.items():
        header = ",".join(["text", "label", *columns])
        lines = [f"{name} number {k},{'yn'[k % 2]}" + "".join(f",{v}" for v in columns.values()) for k in range(size)]
        (folder / f"{name}.csv").write_text("\n".join([header, *lines]) + "\n")
    return {name: {"csv": str(folder / f"{name}.csv")} for name in sizes}


def table(source, split=""):
    return pa.Table.from_batches(source.rows(split))


@pytest.mark.parametrize(
    ("weights", "counts"),
    [
        ({}, {"a": 3000, "b": 1000}),
        ({"a": 2}, {"a": 2000, "b": 1000}),
        ({"a": 1, "b": 1}, {"a": 1000, "b": 1000}),
        ({"a": 1, "b": 0.1}, {"a": 3000, "b": 300}),
    ],
)
def test_a_mixture_has_its_weights_and_repeats_no_row(tmp_path, weights, counts):
    made = table(Mix(sources=written(tmp_path), weights=weights))
    assert Counter(made.column("source").to_pylist()) == counts
    texts = made.column("text").to_pylist()
    assert len(set(texts)) == len(texts)
    assert all(text.startswith(name) for text, name in zip(texts, made.column("source").to_pylist(), strict=True))


def test_rows_are_taken_from_all_over_a_source_and_mixed_evenly(tmp_path):
    made = table(Mix(sources=written(tmp_path), weights={"a": 1, "b": 1}))
    numbers = [int(row["text"].split()[-1]) for row in made.to_pylist() if row["source"] == "a"]
    assert numbers == sorted(numbers)
    assert numbers[-1] > 2900
    for start in range(0, 2000, 500):
        assert 180 < made.column("source").to_pylist()[start : start + 500].count("a") < 320


def test_the_seed_and_nothing_else_decides(tmp_path):
    sources = written(tmp_path)
    one, same, other = (table(Mix(sources=sources, weights={"a": 1}, seed=seed)) for seed in (0, 0, 1))
    assert one.equals(same)
    assert set(one.column("text").to_pylist()) != set(other.column("text").to_pylist())


def test_a_row_is_found_in_its_source(tmp_path):
    source = Mix(sources=written(tmp_path), weights={"a": 1})
    for place in (0, 1, 777, 1999):
        row = table(source).slice(place, 1).to_pylist()[0]
        number = int(row["text"].split()[-1])
        assert source.origin(place).startswith(f"{row['source']}: ")
        assert source.origin(place).endswith(f"{row['source']}.csv, line {number + 2}")


def test_columns_that_one_source_lacks_are_missing_there(tmp_path):
    sources = {**written(tmp_path, {"a": 10}, n=3), **written(tmp_path, {"b": 10})}
    rows = table(Mix(sources=sources)).to_pylist()
    assert {(row["source"], row["n"]) for row in rows} == {("a", "3"), ("b", None)}


def test_splits_that_all_sources_bring(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for split in ("train", "test"):
            (tmp_path / name / f"{split}.csv").write_text(f"text\n{name} in {split}\n{name} too in {split}\n")
    (tmp_path / "b" / "validation.csv").write_text("text\nx\ny\n")
    source = Mix(sources={name: {"csv": str(tmp_path / name)} for name in ("a", "b")})
    assert source.splits() == ("test", "train")
    assert all("in test" in text for text in table(source, "test").column("text").to_pylist())
    with pytest.raises(RecipeError, match="not all sources have a split 'validation'"):
        table(source, "validation")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"weights": {"c": 1}}, "weight for 'c', which is none of a, b"),
        ({"weights": {"a": 0}}, "the weight of 'a' is 0"),
        ({"weights": {"a": float("nan")}}, "the weight of 'a' is nan"),
        ({"seed": -1}, "greater than or equal to 0"),
    ],
)
def test_bad_options(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        Mix(sources=written(tmp_path), **options)


def test_bad_sources(tmp_path):
    with pytest.raises(DataError, match=r"mix\.sources\.a: the source has a column 'label' already"):
        table(Mix(sources=written(tmp_path), column="label"))
    (tmp_path / "b.jsonl").write_text('{"text": 1.5}\n{"text": 2}\n')
    with pytest.raises(DataError, match="their columns do not fit together"):
        table(Mix(sources={"a": {"csv": str(tmp_path / "a.csv")}, "b": {"jsonl": str(tmp_path / "b.jsonl")}}))


class Shrinking(Source):
    """Gives fewer rows every time."""

    left: list[int] = [5, 4]

    def rows(self, split=""):
        yield pa.RecordBatch.from_pylist([{"text": "x"}] * self.left.pop(0))

    def fingerprint(self):
        return None


def test_a_source_that_changes_while_it_is_read_is_told(tmp_path):
    mixed = Mix(sources={"s": Shrinking(left=[5, 4]), "t": Shrinking(left=[5, 5])})
    assert mixed.fingerprint() is None
    with pytest.raises(DataError, match="another number of rows when it was read again"):
        table(mixed)
