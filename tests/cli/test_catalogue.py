from pathlib import Path

import pytest

from danlu.core import plugin

TOYS = Path(__file__).parents[1] / "toys.py"


def test_every_plugin_is_listed_under_its_family(danlu):
    out = danlu("list").out
    found = plugin.entries()
    assert len(found) >= 34
    for family in plugin.families():
        section = out.partition(f"{family} (")[2].partition("\n\n")[0]
        names = [line.split()[0] for line in section.splitlines()[1:] if not line.startswith(" ")]
        assert names == [entry.name for entry in plugin.entries(family)]
    assert len(danlu("list", "--json").json) == len(found)


@pytest.mark.parametrize("name", ["methods", "method"])
def test_one_family(danlu, name):
    names = [entry.name for entry in plugin.entries("methods")]
    assert {"full", "lora"} <= set(names)
    assert [one["name"] for one in danlu("list", name, "--json").json] == names
    assert "backbones" not in danlu("list", name).out


def test_a_stranger_is_listed_when_it_is_imported(danlu):
    assert "toy_lora" not in danlu("list", "methods").out
    assert "toy_lora" in danlu("list", "methods", "--import", TOYS).out
    assert "Width of the update." in danlu("show", "toy_lora", "--import", TOYS).out


def test_an_unknown_family_or_plugin(danlu):
    assert "did you mean methods" in danlu("list", "metods").err
    said = danlu("show", "lorra")
    assert said.code == 2
    assert "there is no plug-in called 'lorra'; did you mean lora or dora?" in said.err
    assert "did you mean methods" in danlu("show", "metods/lora").err


def test_a_name_that_two_families_share_must_be_told_apart(danlu):
    said = danlu("show", "confusion")
    assert said.code == 0
    said = danlu("show", "asset")
    assert said.code == 0
    names = [entry.name for entry in plugin.entries()]
    for name in {name for name in names if names.count(name) > 1}:
        assert danlu("show", name).code == 2


@pytest.mark.parametrize("entry", plugin.entries(), ids=lambda entry: f"{entry.family}/{entry.name}")
def test_every_plugin_shows_its_options(danlu, entry):
    said = danlu("show", f"{entry.family}/{entry.name}")
    assert said.code == 0
    assert all(f"\n{option}" in said.out for option in entry.fields)
    assert "In a recipe:" in said.out
    assert danlu("show", f"{plugin.singular(entry.family)}/{entry.name}", "--json").json["name"] == entry.name


def test_an_option_is_told_with_type_default_and_meaning(danlu):
    out = danlu("show", "lora").out
    row = next(line for line in out.splitlines() if line.startswith("rank"))
    assert row.split("  ", 1)[1].strip() == "a whole number >= 1        8        Width of the two matrices."
    assert "path (main)" in danlu("show", "csv").out
    assert "parity (where there is one)" in danlu("show", "publish").out
