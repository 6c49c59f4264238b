import sqlite3

import pytest

from danlu.registry.store import Registry


@pytest.fixture(autouse=True)
def store(digits_store, monkeypatch, tmp_path):
    """A store with three versions of `digits`; production points to the first."""
    monkeypatch.setenv("DANLU_STORE", str(digits_store))
    monkeypatch.setenv("DANLU_ACTOR", "ann")
    registry = Registry(digits_store)
    for number in (2, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "forms.json").write_text(f"[{number}]")
        registry.publish("digits", folder, metadata={})
    return registry


def test_versions_newest_first_with_their_aliases(danlu):
    lines = danlu("versions").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["digits@3", "digits@2", "digits@1"]
    assert "production" in lines[3]
    told = danlu("versions", "digits", "--json").json
    assert [(one["number"], one["aliases"]) for one in told] == [(3, []), (2, []), (1, ["production"])]


def test_one_version(danlu):
    assert [line.split()[0] for line in danlu("versions", "digits@2").out.splitlines()[1:]] == ["digits@2"]
    assert danlu("versions", "digits@production", "--json").json[0]["number"] == 1


def test_an_empty_registry(danlu, tmp_path):
    assert "No model is published in" in danlu("versions", "--store", tmp_path / "none").out
    assert danlu("versions", "--store", tmp_path / "none", "--json").json == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["versions", "digit"], "there is no model digit; did you mean digits?"),
        (["versions", "digit", "--audit"], "there is no model digit; did you mean digits?"),
        (["versions", "digits@9"], "there is no version 9 of digits; versions: 1 to 3"),
        (["versions", "--card"], "--card needs a model"),
        (["promote", "digits"], "does not say which version"),
        (["promote", "digits@9"], "there is no version 9"),
        (["promote", "digits@2", "--alias", "3"], "is not a valid alias"),
        (["rollback", "digits"], "cannot go back"),
        (["rollback", "digits", "--alias", "staging"], "digits has no alias staging"),
    ],
)
def test_what_is_not_there(danlu, arguments, told):
    said = danlu(*arguments)
    assert (said.code, said.out) == (2, "")
    assert told in said.err
    assert danlu(*arguments, "--json").json["error"]["exit_code"] == 2


def test_the_card(danlu):
    out = danlu("versions", "digits@1", "--card").out
    assert "# digits@1" in out
    assert "| int8 (default) |" in out
    assert danlu("versions", "digits", "--card", "--json").json["task"] == "image_classification"


def test_promote_and_back(danlu):
    said = danlu("promote", "digits@2", "--why", "[b]ecause")
    assert said.out == "digits@production → digits@2 (before: digits@1)\n"
    assert danlu("promote", "digits@2").out == "digits@production points to digits@2 already; nothing was written\n"
    assert danlu("promote", "digits@3", "--alias", "staging").out == "digits@staging → digits@3\n"
    assert danlu("rollback", "digits", "--json").json["after"] == 1
    audit = danlu("versions", "digits", "--audit").out
    assert "[b]ecause" in audit
    assert "rollback" in audit
    assert "ann" in audit
    entries = danlu("versions", "--audit", "--json").json
    assert [entry["action"] for entry in entries[-3:]] == ["move", "move", "rollback"]


def test_a_move_to_other_labels_is_told(danlu, store, tmp_path):
    for number, labels in enumerate((["bad", "good"], ["good", "mixed"])):
        folder = tmp_path / f"moods{number}"
        folder.mkdir()
        (folder / "forms.json").write_text(f'["moods", {number}]')
        store.publish("moods", folder, metadata={"labels": labels})
    assert danlu("promote", "moods@1").err == ""
    said = danlu("promote", "moods@2")
    assert "moods@2 answers with other labels than moods@1: gained mixed; lost bad. Callers that rely" in said.err
    assert said.out == "moods@production → moods@2 (before: moods@1)\n"
    back = danlu("rollback", "moods", "--json")
    assert "moods@1 answers with other labels than moods@2: gained bad; lost mixed" in back.err
    assert back.json["after"] == 1


def test_an_expectation_that_is_not_met_is_a_gate(danlu, store):
    said = danlu("promote", "digits@2", "--expect", "3")
    assert said.code == 5
    assert "expected digits@3, found digits@1" in said.err
    assert danlu("rollback", "digits", "--expect", "2").code == 5
    assert store.aliases("digits") == {"production": 1}
    assert danlu("promote", "digits@2", "--expect", "1").code == 0
    assert danlu("rollback", "digits", "--expect", "2").code == 0
    assert danlu("promote", "digits@2", "--alias", "new", "--expect", "0").code == 0
    assert danlu("promote", "digits@3", "--alias", "new", "--expect", "0").code == 5


def test_an_edited_audit_is_told(danlu, store):
    with sqlite3.connect(store.store / "registry.db") as connection:
        for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE audit SET why = 'another' WHERE id = 1")
    said = danlu("versions", "--audit")
    assert said.code == 3
    assert "audit" in said.err
