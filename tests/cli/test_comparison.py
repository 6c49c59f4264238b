import pytest


@pytest.fixture(autouse=True)
def store(moods_run, monkeypatch):
    monkeypatch.setenv("DANLU_STORE", str(moods_run))


def test_the_table_and_what_changed(danlu):
    said = danlu("compare", "moods@1", "moods@2")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0] == "moods@2 (form trained) against moods@1 (form trained)"
    assert any(line.startswith("accuracy ") and line.endswith("better") for line in lines)
    assert "McNemar p = " in said.out
    assert "data: the same" in lines
    assert "ms at batch" not in said.out


def test_json_and_the_gate_together(danlu):
    said = danlu("compare", "moods@2", "moods@1", "--fail-if", "worse", "--json")
    assert said.code == 5
    assert "accuracy differs by -" in said.err
    assert said.json["missed"][0].startswith("accuracy differs by -")


def test_the_gate_holds(danlu):
    assert danlu("compare", "moods@1", "moods@2", "--fail-if", "worse", "--fail-if", "accuracy < 0.1").code == 0


def test_latency_is_timed_when_asked(danlu):
    told = danlu("compare", "moods@1", "moods@2", "--latency", "--json").json
    assert told["first"]["latency_ms"]["1"] > 0


def test_a_version_that_is_not_there(danlu):
    said = danlu("compare", "moods@1", "moods@9")
    assert (said.code, "there is no version 9 of moods" in said.err) == (2, True)
