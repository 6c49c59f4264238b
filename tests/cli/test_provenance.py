import pytest


@pytest.fixture(autouse=True)
def store(moods_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(moods_run))


def test_lineage_as_a_tree_json_and_a_picture(danlu, tmp_path):
    said = danlu("lineage", "moods@2", "--svg", tmp_path / "deep/l.svg")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].startswith("moods@2: version ")
    assert any("tuned: model" in line and line.endswith("by finetune") for line in lines)
    assert any("backbone tfidf_lr" in line for line in lines)
    assert (tmp_path / "deep/l.svg").read_text().startswith("<svg ")
    assert danlu("lineage", "moods@2", "--svg", tmp_path / "deep/l.svg").code == 0
    (tmp_path / "mine.txt").write_text("mine")
    for taken in (tmp_path / "mine.txt", tmp_path / "deep"):
        said = danlu("lineage", "moods@2", "--svg", taken)
        assert (said.code, "it is there and is no drawing" in said.err) == (2, True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert danlu("lineage", "moods@2", "--json").json["name"] == "moods@2"


def test_reproduce_says_the_same_bytes(danlu, tmp_path):
    said = danlu("reproduce", "moods@2", "--to", tmp_path / "new")
    assert said.code == 0, said.err
    assert "trained: the same bytes" in said.out
    assert "moods@2 came out again, byte for byte" in said.out
    assert (tmp_path / "new/artifacts").is_dir()
    refused = danlu("reproduce", "moods@2", "--to", tmp_path / "new")
    assert (refused.code, "it is not an empty folder" in refused.err) == (2, True)


def test_reproduce_ends_with_5_when_it_differs(danlu, monkeypatch):
    from danlu.plugins.sources.synthetic import Synthetic

    real = Synthetic.rows
    monkeypatch.setattr(Synthetic, "rows", lambda self, split="": [b.slice(0, 300) for b in real(self, split)])
    said = danlu("reproduce", "moods@2", "--json")
    assert said.code == 5
    assert said.json["differs"]["step"] == "data"
    text = danlu("reproduce", "moods@2")
    assert (text.code, "the first step that came out differently is data" in text.out) == (5, True)


def test_a_version_goes_out_and_in(danlu, tmp_path):
    assert danlu("export", "moods@2", "--archive", tmp_path / "m.tar.gz").code == 0
    store = tmp_path / "there"
    said = danlu("import", tmp_path / "m.tar.gz", "--as", "feelings", "--store", store)
    assert (said.code, "feelings@1: imported" in said.out) == (0, True)
    assert "imported; it was moods@2" in danlu("lineage", "feelings@1", "--store", store).out
    there = danlu("predict", "feelings@1", "a sunny day", "--json", "--store", store).json["answers"]
    assert there == danlu("predict", "moods@2", "a sunny day", "--json").json["answers"]


def test_export_needs_one_place(danlu, tmp_path):
    for arguments in ((), (tmp_path / "x", "--archive", tmp_path / "y.zip")):
        said = danlu("export", "moods@2", *arguments)
        assert (said.code, "say where to" in said.err) == (2, True)
    said = danlu("export", "moods@2", "--archive", tmp_path / "y.zip", "--form", "trained")
    assert (said.code, "holds all forms" in said.err) == (2, True)
