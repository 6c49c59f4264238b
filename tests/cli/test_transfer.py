import pytest

import danlu as package
from topics import texts


@pytest.fixture(autouse=True)
def store(moods_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(moods_run))
    return moods_run


def test_a_version_as_an_mlflow_model_answers_the_same(danlu, store, tmp_path):
    mlflow = pytest.importorskip("mlflow.pyfunc")
    said = danlu("export", "moods@2", tmp_path / "model", "--as", "mlflow", "--json")
    assert (said.code, said.json) == (0, {"reference": "moods@2", "mlflow": str(tmp_path / "model")})
    texts = ["amber amber", "basil"]
    answers = mlflow.load_model(str(tmp_path / "model")).predict(texts)
    assert answers == load(store).predict(texts)
    again = danlu("export", "moods@2", tmp_path / "model", "--as", "mlflow")
    assert (again.code, str(tmp_path / "model") in again.err) == (2, True)


def test_word_vectors_as_a_file(danlu, tmp_path, taught_words):
    for name in ("v.txt", "v.bin"):
        said = danlu("export", "words@1", tmp_path / name, "--as", "word2vec", "--store", taught_words)
        assert said.code == 0
        assert "load_word2vec_format" in said.out
        assert ("binary=True" in said.out) == name.endswith("bin")
        assert (tmp_path / name).read_bytes().startswith(b"27 8\n")


@pytest.fixture
def taught_words(tmp_path):
    """A store with a version of word vectors."""
    (tmp_path / "lines.txt").write_text("\n".join(texts(200)))
    steps = {
        "data": {"do": "prepare", "source": {"text": str(tmp_path / "lines.txt")}, "task": "word_vectors"},
        "taught": {"do": "finetune", "backbone": {"glove": {"size": 8, "passes": 2}}},
        "ship": {"do": "publish"},
    }
    package.run({"name": "words", "steps": steps}, store=tmp_path / "words", trackers=[])
    return tmp_path / "words"


def load(store):
    return package.load("moods@2", store=store)


def test_an_archive_is_for_danlu_alone(danlu, tmp_path):
    said = danlu("export", "moods@2", "--archive", tmp_path / "m.zip", "--as", "mlflow")
    assert (said.code, "an archive is taken in by `danlu import`" in said.err) == (2, True)
    assert not (tmp_path / "m.zip").exists()
