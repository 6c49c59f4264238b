import pytest

import danlu as package


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


def load(store):
    return package.load("moods@2", store=store)


def test_an_archive_is_for_danlu_alone(danlu, tmp_path):
    said = danlu("export", "moods@2", "--archive", tmp_path / "m.zip", "--as", "mlflow")
    assert (said.code, "an archive is taken in by `danlu import`" in said.err) == (2, True)
    assert not (tmp_path / "m.zip").exists()
