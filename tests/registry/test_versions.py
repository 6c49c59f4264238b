import getpass
import re

import pytest

from danlu.core.errors import RecipeError
from danlu.registry.versions import check_alias, check_name, now, read_reference, who

GOOD = ["a", "7", "review-sentiment", "a.b", "a_b", "a--b", "bert2", "v1.0.2", "x" * 64]
BAD = [
    "", " ", ".", "..", "-a", "a-", ".a", "a.", "_a", "a/b", "/a", "a\\b", "a..b", "../a", "a\0", "a\n", "a b", "A", "Reviews",
    "模型", "é", "a@1", "a#b", "a?b", "a%2e", "file:a", "~", "$HOME", "a;b", "x" * 65, "a\u0660", "ａ",
]  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_good_names(name):
    assert check_name(name) == name


@pytest.mark.parametrize("name", BAD)
def test_bad_names(name):
    with pytest.raises(RecipeError, match="is not a valid model name"):
        check_name(name)


def test_a_bad_name_is_mended():
    with pytest.raises(RecipeError, match="for example my-reviews-v2"):
        check_name("My Reviews/V2")


@pytest.mark.parametrize("alias", ["3", "007", "٣"])
def test_an_alias_is_no_number(alias):
    with pytest.raises(RecipeError, match="a number means a version"):
        check_alias(alias)


@pytest.mark.parametrize(
    ("reference", "meaning"),
    [("a", ("a", "production")), ("a@3", ("a", 3)), ("a@staging", ("a", "staging")), ("a@v3", ("a", "v3"))],
)
def test_references(reference, meaning):
    assert read_reference(reference) == meaning


@pytest.mark.parametrize("reference", ["a@", "a@0", "a@03", "a@٣", "a@1234567890"])
def test_references_that_name_no_version(reference):
    with pytest.raises(RecipeError, match="names no version"):
        read_reference(reference)


@pytest.mark.parametrize("reference", ["a@-1", "a@1.", "a@b@c", "a@../x", "a@ 1", "@1", "A@1"])
def test_references_with_bad_words(reference):
    with pytest.raises(RecipeError, match="is not a valid"):
        read_reference(reference)


def test_who(monkeypatch):
    monkeypatch.setenv("DANLU_ACTOR", "ci-bot")
    assert who() == "ci-bot"
    monkeypatch.delenv("DANLU_ACTOR")
    monkeypatch.setattr(getpass, "getuser", lambda: "ada")
    assert who() == "ada"

    def nobody():
        raise KeyError("uid not found")

    monkeypatch.setattr(getpass, "getuser", nobody)
    assert re.fullmatch(r"uid \d+", who())


def test_now_is_utc():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", now())
