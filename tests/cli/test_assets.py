import pytest

from danlu.core import assets
from danlu.core.errors import MachineError


def test_the_catalogue(danlu, monkeypatch):
    monkeypatch.setattr(assets, "is_here", lambda asset: asset.name == "minilm")
    out = danlu("assets").out
    minilm = next(line for line in out.splitlines() if line.startswith("minilm"))
    assert "yes" in minilm
    assert "yes" not in next(line for line in out.splitlines() if line.startswith("movie-snippets"))
    told = danlu("assets", "--json").json
    assert len(told) == len(assets.catalogue()) >= 20
    assert [one["name"] for one in told if one["here"]] == ["minilm"]


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    calls = []

    def get(name, source="package", progress=None):
        if name == "broken":
            raise MachineError("the network did not answer", do="try again")
        progress(5, 0)
        progress(10, 10)
        calls.append((name, source))
        return tmp_path / name

    monkeypatch.setattr(assets, "get", get)
    return calls


def test_fetching(danlu, fetched, tmp_path):
    said = danlu("assets", "get", "one", "two", "--from", "hub")
    assert fetched == [("one", "hub"), ("two", "hub")]
    assert said.out == f"one: {tmp_path}/one\ntwo: {tmp_path}/two\n"
    assert danlu("assets", "get", "one", "--json").json == {"one": str(tmp_path / "one")}
    assert danlu("assets", "--json", "get", "one").json == {"one": str(tmp_path / "one")}


def test_what_can_not_be_fetched(danlu, fetched):
    said = danlu("assets", "get", "broken", "--json")
    assert (said.code, said.json["error"]["what"]) == (4, "the network did not answer")
    assert danlu("assets", "get", "one", "--from", "elsewhere").code == 2
    assert danlu("assets", "get").code == 2


def test_an_unknown_asset(danlu):
    said = danlu("assets", "get", "minilmm")
    assert said.code == 2
    assert "did you mean minilm" in said.err
