import csv

import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DANLU_STORE", raising=False)


@pytest.fixture
def moods(moods_run, monkeypatch):
    """The second version tells moods by their words."""
    monkeypatch.setenv("DANLU_STORE", str(moods_run))
    import danlu

    return danlu.load("moods@2", store=moods_run).predictor


@pytest.fixture
def texts(moods, tmp_path):
    """Thirty texts, one of them twice, one that has a label, and none."""
    rows = [(row["text"], "") for row in moods.task.sample(30)]
    rows += [(rows[0][0], ""), ("done already", moods.task.labels[0]), ("", "")]
    return write(tmp_path / "new.csv", [("text", "label"), *rows])


def write(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def sheet(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(path, label):
    rows = sheet(path)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        out = csv.DictWriter(file, list(rows[0]))
        out.writeheader()
        out.writerows({**row, "label": label(row)} for row in rows)


@pytest.mark.parametrize("by", ["uncertainty", "entropy", "margin", "combined"])
def test_the_model_is_asked_what_it_doubts(danlu, texts, moods, by):
    said = danlu("data", "label", texts, "--model", "moods@2", "--count", 3, "--by", by, "--json")
    assert said.code == 0, said.err
    asked = [row["text"] for row in moods.task.sample(30)]
    sure = [answer["confidence"] for answer in moods(asked)]  # of two labels all kinds of doubt have one order
    first = said.json["picked"][0]
    assert first["confidence"] == pytest.approx(min(sure))
    assert first["row"] == sure.index(min(sure)) + 1
    assert first["input"] == asked[first["row"] - 1]
    assert said.json["unlabelled"] == len(set(asked))


def test_a_round_from_the_sheet_to_a_recipes_source(danlu, texts, moods, tmp_path):
    assert danlu("data", "label", texts, "--model", "moods@2", "--count", 5).code == 0
    todo = tmp_path / "todo.csv"
    assert todo.read_bytes().startswith(b"\xef\xbb\xbf")
    assert [row["label"] for row in sheet(todo)] == [""] * 5
    fill(todo, lambda row: row["guess"])
    read = ("data", "label", "--read", todo, "--model", "moods@2", "--out", "labelled.csv")
    told = danlu(*read, "--json").json
    assert (told["rows"], told["added"]) == (5, 5)
    assert danlu(*read).code == 2  # it is there, and is not overwritten
    assert danlu(*read, "--append", "--json").json["added"] == 0
    assert len(sheet(tmp_path / "labelled.csv")) == 5


def test_a_wrong_label_is_told_with_the_nearest_and_nothing_is_written(danlu, texts, moods, tmp_path):
    assert danlu("data", "label", texts, "--model", "moods@2", "--count", 2).code == 0
    fill(tmp_path / "todo.csv", lambda row: moods.task.labels[0] + "x")
    said = danlu("data", "label", "--read", "todo.csv", "--model", "moods@2", "--out", "labelled.csv")
    assert said.code == 3
    assert f"did you mean {moods.task.labels[0]}" in said.err
    assert danlu("data", "label", "--read", "todo.csv", "--labels", "a, b", "--out", "labelled.csv").code == 3
    assert not (tmp_path / "labelled.csv").exists()


def test_without_a_model_rows_differ(danlu, tmp_path):
    long = "the dog of our neighbour barks at everybody who passes by the house in the morning, and at the postman too"
    rows = [
        ("text",),
        *[(f"{long} {word}",) for word in "abcdefgh"],
        ("stock prices fell",),
        ("今天天气很好",),
    ]
    path = write(tmp_path / "new.csv", rows)
    told = danlu("data", "label", path, "--count", 3, "--json").json
    picked = [one["input"] for one in told["picked"]]
    assert {"stock prices fell", "今天天气很好"} & set(picked)  # by order or by lot: three of the eight
    assert len(set(picked)) == 3
    assert sheet(tmp_path / "todo.csv")[0]["guess"] == ""
    assert danlu("data", "label", path, "--by", "margin", "--out", "b.csv").code == 2
    assert danlu("data", "label", path, "--by", "luck", "--out", "b.csv").code == 2
    assert danlu("data", "label", path).code == 2  # todo.csv is there
    assert danlu("data", "label").code == 2
    assert danlu("data", "label", path, "--column", "txt", "--out", "b.csv").code == 3
    assert not (tmp_path / "b.csv").exists()


def test_pictures_by_path(danlu, digits_run, tmp_path, monkeypatch):
    from sklearn.datasets import load_digits

    monkeypatch.setenv("DANLU_STORE", str(digits_run.store.path))
    folder = tmp_path / "pictures" / "more"
    folder.mkdir(parents=True)
    for k, pixels in enumerate(load_digits().images[:12]):
        Image.fromarray((pixels * 255 / 16).astype("uint8")).save(folder / f"{k:02}.png")
    for model in (["--model", "digits"], []):
        told = danlu("data", "label", "pictures", *model, "--count", 4, "--out", f"{len(model)}.csv", "--json")
        assert told.code == 0, told.err
        assert len(told.json["picked"]) == 4
        assert all(one["input"].startswith("more/") for one in told.json["picked"])
    fill(tmp_path / "2.csv", lambda row: row["guess"])
    assert danlu("data", "label", "--read", "2.csv", "--model", "digits", "--out", "labels.csv").code == 0
    assert list(sheet(tmp_path / "labels.csv")[0]) == ["file", "label"]
    from danlu.plugins.sources.image_folder import ImageFolder

    batch = next(iter(ImageFolder(path="pictures", labels="labels.csv").rows()))
    assert batch.num_rows == 4
