import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from danlu.core import plugin
from danlu.core.errors import RecipeFaults
from danlu.core.resolve import Choice, Pointer, Typed, resolve, resolve_options, resolve_value
from danlu.core.wording import shown, words


def settled(family, value, base=None):
    faults = []
    choice = resolve(family, value, "at", faults, base)
    assert faults == []
    return choice


def told(family, value, where="at"):
    faults = []
    resolve(family, value, where, faults)
    return [str(fault) for fault in faults]


@pytest.mark.parametrize(
    "value", ["toy_lora", {"toy_lora": None}, {"toy_lora": {}}, {"toy_lora": {"rank": 8}}, {"toy_lora": 8}]
)
def test_the_three_ways_to_write_a_plugin_mean_the_same_with_all_defaults(toys, value):
    assert settled("methods", value) == Choice("methods", "toy_lora", {"rank": 8, "alpha": 16.0})


def test_numbers_have_one_form(toys):
    one, other = (
        settled("methods", {"toy_lora": {"rank": rank, "alpha": alpha}}) for rank, alpha in [(4, 2), (4.0, 2.0)]
    )
    assert json.dumps(one.plain()) == json.dumps(other.plain()) == '{"toy_lora": {"rank": 4, "alpha": 2.0}}'


def test_slots_and_their_defaults_become_choices(toys, tmp_path):
    choice = settled("stages", "toy_grow")
    assert choice.settings["method"] == Choice("methods", "toy_full", {})
    assert choice.settings["backbone"].settings == {"place": "asset:minilm", "layers": 2}
    assert [(where, c.name) for where, c in choice.nested("tuned")] == [
        ("tuned.backbone", "toy_net"), ("tuned.method", "toy_full"),
    ]  # fmt: skip
    assert settled("stages", "toy_pick").settings["metrics"] == [Choice("metrics", "toy_score", {"beta": 1.0})]


def test_defaults_inside_nested_settings_are_filled_in(toys, tmp_path):
    choice = settled("stages", {"toy_sow": {"words": "w", "shares": {"test": 0}, "limits": {"a": 1}}}, tmp_path)
    assert choice.settings["shares"] == {"test": 0.0, "validation": 0.1}
    assert choice.settings["limits"] == {"a": 1.0}
    assert isinstance(choice.settings["limits"]["a"], float)


def test_a_choice_makes_the_plugin_and_both_write_the_same(toys, tmp_path):
    choice = settled("stages", {"toy_sow": {"words": "./w", "operators": ["toy_upper"], "amount": "4"}}, tmp_path)
    made = choice.make("at")
    assert made.amount == "4"
    assert made.operators[0].form == "NFKC"
    assert made.plain() == choice.plain()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rank": "abc"}, "at.toy_lora.rank: must be a whole number >= 1 and <= 512, not 'abc'"),
        ({"rank": 0}, "at.toy_lora.rank: must be a whole number >= 1 and <= 512, not 0"),
        ({"rank": 1.5}, "at.toy_lora.rank: must be a whole number >= 1 and <= 512, not 1.5"),
        ({"rank": True}, "at.toy_lora.rank: must be a whole number >= 1 and <= 512, not true"),
        ({"rank": None}, "at.toy_lora.rank: must be a whole number >= 1 and <= 512, not null"),
        ({"alpha": 0}, "at.toy_lora.alpha: must be a number > 0, not 0"),
        ({"alpha": float("nan")}, "at.toy_lora.alpha: must be a number > 0, not NaN"),
        ({"alpha": float("inf")}, "at.toy_lora.alpha: must be a number > 0, not Infinity"),
        ({"rnak": 3}, "at.toy_lora.rnak: toy_lora has no such option; did you mean rank?\n  → danlu show toy_lora"),
    ],
)
def test_a_fault_names_the_place_and_what_is_asked(toys, options, expected):
    assert told("methods", {"toy_lora": options}) == [expected]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "at.toy_sow.words: toy_sow needs it: The words to sow.\n  → at.toy_sow.words=…"),
        ({"words": "w", "mode": "most"}, "at.toy_sow.mode: must be one of all, some, not 'most'"),
        ({"words": ""}, "at.toy_sow.words: must be the path of a file or folder, not ''"),
        ({"words": "w", "operators": "toy_upper"}, "at.toy_sow.operators: must be a list, each an operator, not 'toy_upper'\n  → [toy_upper]"),
        ({"words": "w", "operators": [{"toy_upper": {"form": "x"}}]}, "at.toy_sow.operators.toy_upper.form: must be one of NFC, NFKC, not 'x'"),
        ({"words": "w", "shares": {"tset": 0.1}}, "at.toy_sow.shares.tset: there is no such option; did you mean test?"),
        ({"words": "w", "shares": {"test": 1}}, "at.toy_sow.shares.test: must be a number >= 0 and < 1, not 1"),
        ({"words": "w", "shares": 3}, "at.toy_sow.shares: must be a mapping with validation, test, not 3"),
        ({"words": "w", "limits": {"a": "b"}}, "at.toy_sow.limits.a: must be a number, not 'b'"),
        ({"words": "w", "note": 3}, 'at.toy_sow.note: must be text, not 3\n  → put it in quotes: "3"'),
        ({"words": "w", "amount": 1.5}, "at.toy_sow.amount: must be a whole number or text, not 1.5"),
        ({"words": "w", "quick": "no"}, "at.toy_sow.quick: must be true or false, not 'no'\n  → write true or false: in YAML 1.2 yes, no, on and off are text"),
    ],
)  # fmt: skip
def test_faults_of_every_kind_of_option(toys, options, expected):
    assert told("stages", {"toy_sow": options}) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("toy_lra", "at: there is no method called 'toy_lra'; did you mean toy_lora"),
        (3, "at: must name one method, as `name` or `{name: {option: value}}`, not 3"),
        ({}, "at: must name one method, as `name` or `{name: {option: value}}`, not {}"),
        ({"toy_full": {}, "toy_lora": {}}, "at: must name one method, as `name` or `{name: {option: value}}`, not {"),
        ({"toy_full": 3}, "at: toy_full takes options by name, not 3; its options: none"),
    ],
)
def test_what_names_no_plugin(toys, value, expected):
    (fault,) = told("methods", value)
    assert fault.startswith(expected)


def test_all_faults_are_told_at_once(toys):
    value = {
        "toy_grow": {
            "backbone": {"toy_net": {"layers": "x", "depth": 1}},
            "method": {"toy_lora": {"rank": 0}},
            "stepz": 1,
        }
    }
    assert [fault.split(":")[0] for fault in told("stages", value)] == [
        "at.toy_grow.stepz", "at.toy_grow.backbone.toy_net.depth", "at.toy_grow.backbone.toy_net.layers",
        "at.toy_grow.method.toy_lora.rank",
    ]  # fmt: skip


def test_a_class_with_rules_of_its_own_is_asked_at_once(toys):
    assert told("methods", {"toy_picky": {"low": 3}}) == ["at.toy_picky: low (3) must not be above high (2)"]
    assert told("methods", "toy_picky") == []


def test_relative_paths_start_at_the_recipe_and_typed_ones_at_the_working_folder(toys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = tmp_path / "recipes"
    assert settled("stages", {"toy_sow": {"words": "a/w.txt"}}, base).settings["words"] == str(base / "a" / "w.txt")
    assert settled("stages", {"toy_sow": {"words": Typed("w.txt")}}, base).settings["words"] == str(tmp_path / "w.txt")
    assert settled("stages", {"toy_sow": {"words": "/w.txt"}}, base).settings["words"] == "/w.txt"
    assert settled("backbones", {"toy_net": "./model"}, base).settings["place"] == str(base / "model")
    assert settled("backbones", {"toy_net": "hub:org/name"}, base).settings["place"] == "hub:org/name"
    assert settled("stages", {"toy_sow": {"words": "~/w"}}, base).settings["words"] == str(Path.home() / "w")


def test_pointers_are_found_with_their_paths(toys, tmp_path):
    choice = settled("stages", {"toy_grow": {"backbone": {"toy_net": "./m"}}}, tmp_path)
    assert list(choice.pointers("tuned")) == [("tuned.backbone.toy_net.place", str(tmp_path / "m"))]


def test_identity_holds_content_not_place(toys, tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("a", "one/b"):
        (tmp_path / name).write_text("the same words")
    (tmp_path / "c").write_text("other words")
    a, b, c = (settled("stages", {"toy_sow": {"words": name}}, tmp_path).identity() for name in ("a", "one/b", "c"))
    assert a == b != c


def test_identity_holds_every_option_and_the_code_of_nested_plugins(toys):
    base = settled("stages", {"toy_grow": {"backbone": "toy_counts"}}).identity()
    assert base == settled("stages", {"toy_grow": {"backbone": "toy_counts", "steps": 3}}).identity()
    assert base != settled("stages", {"toy_grow": {"backbone": "toy_counts", "seed": 1}}).identity()
    assert base["settings"]["method"]["code"] == plugin.identity(plugin.find("methods", "toy_full"))


FINGERPRINT = """
from danlu.contracts import Source

class Shelf(Source):
    "A source that knows what it rests on."
    edition: str = "first"
    def rows(self, split=""):
        return []
    def fingerprint(self):
        return None if self.edition == "live" else f"edition {self.edition}"
"""


def test_a_plugin_that_writes_fingerprint_is_asked_and_none_is_never_equal(strangers, tmp_path):
    path = tmp_path / "shelf.py"
    path.write_text(FINGERPRINT)
    plugin.add_file(path)
    assert settled("sources", "shelf").identity()["fingerprint"] == "edition first"
    live = settled("sources", {"shelf": {"edition": "live"}})
    assert live.identity() != live.identity()


def test_options_without_their_plugin_and_single_values(toys):
    faults = []
    choice = resolve_options(plugin.find("methods", "toy_lora"), {"rank": 0}, "tuned", faults)
    assert [fault.where for fault in faults] == ["tuned.rank"]
    assert choice.name == "toy_lora"
    assert resolve_value({"type": "number"}, 1, "x", faults) == 1.0


def test_make_says_what_the_class_refuses(toys):
    with pytest.raises(RecipeFaults, match=r"tuned.method.toy_lora.rank: must be >= 1, not 0"):
        Choice("stages", "toy_grow", {"method": Choice("methods", "toy_lora", {"rank": 0})}).make("tuned")


def test_words_of_a_schema():
    assert (
        words({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2})
        == "a list of 2, each a number"
    )
    assert words({"anyOf": [{"const": 1}, {"type": "null"}]}) == "1 or null"
    assert words({"type": "string", "pattern": "^a"}) == "text that matches ^a"
    assert words({"$ref": "#/$defs/A"}, {"A": {"type": "boolean"}}) == "true or false"
    assert shown("x" * 100) == "'" + "x" * 56 + "…"


def test_a_pointer_is_its_text():
    assert Pointer("/a", "files") == "/a"
    assert json.dumps([Pointer("/a", "files")]) == '["/a"]'


PLUGINS = st.one_of(
    st.builds(
        lambda rank, alpha: ("methods", {"toy_lora": {"rank": rank, "alpha": alpha}}),
        st.integers(1, 512) | st.integers(1, 512).map(float),
        st.floats(0.001, 1e6) | st.integers(1, 10),
    ),
    st.builds(
        lambda words, operators, shares, limits, note, amount: (
            "stages",
            {"toy_sow": {"words": words, "operators": operators, "shares": shares, "limits": limits, "note": note, "amount": amount}},
        ),
        st.text(st.characters(codec="utf-8", exclude_characters="\0~"), min_size=1, max_size=20),
        st.lists(st.sampled_from(["toy_upper", {"toy_upper": {"form": "NFC"}}]), max_size=3),
        st.fixed_dictionaries({}, optional={"test": st.floats(0, 0.99), "validation": st.just(0)}),
        st.dictionaries(st.text(max_size=5), st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False), max_size=3),
        st.none() | st.text(max_size=5),
        st.integers() | st.text(max_size=5),
    ),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(PLUGINS)
def test_resolving_what_was_resolved_changes_nothing(toys, plugin_value):
    family, value = plugin_value
    faults = []
    first = resolve(family, value, "at", faults, Path("/base"))
    assert faults == []
    second = resolve(family, json.loads(json.dumps(first.plain())), "at", faults, Path("/elsewhere"))
    assert faults == []
    assert second == first
    assert json.dumps(second.plain()) == json.dumps(first.plain())
