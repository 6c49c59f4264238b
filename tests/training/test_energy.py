"""Energy, carbon dioxide and cost: measured where something measures, None where nothing does."""

import sys

import pytest
from training_toys import job, listen

from danlu.core.errors import RecipeError
from danlu.core.events import Events
from danlu.training import energy
from danlu.training.energy import Energy, meter
from danlu.training.loop import fit


@pytest.fixture(autouse=True)
def nothing_measures(monkeypatch, tmp_path):
    monkeypatch.setattr(energy, "_RAPL", tmp_path / "none")
    for name in ("DANLU_COUNTRY", "DANLU_PRICE_KWH", "DANLU_PRICE_HOUR"):
        monkeypatch.delenv(name, raising=False)


def zone(folder, name, counted, most=1000):
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name / "energy_uj").write_text(f"{counted}\n")
    (folder / name / "max_energy_range_uj").write_text(f"{most}\n")


def test_without_a_meter_nothing_is_known():
    told = fit(job()).numbers
    assert told["energy"] == {"kwh": None, "co2_g": None, "by": None}
    assert told["cost"] == {"energy": None, "machine": None}


def test_codecarbon_measures_for_a_country(monkeypatch, capfd):
    monkeypatch.setenv("DANLU_COUNTRY", "CHN")
    monkeypatch.setenv("DANLU_PRICE_KWH", "6000000")  # so that so little energy has a price
    told = fit(job()).numbers
    energy, cost = told["energy"], told["cost"]
    assert energy["by"] == "codecarbon"
    assert 0 < energy["kwh"] < 0.1
    assert 300 < energy["co2_g"] / energy["kwh"] < 900, "grams a kWh of a country that burns much coal"
    assert cost == {"energy": pytest.approx(6_000_000 * energy["kwh"], rel=0.01), "machine": None}
    assert "codecarbon" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("country", ["XYZ", "chn", "China"])
def test_an_unknown_country_is_told_before_training(monkeypatch, country):
    monkeypatch.setenv("DANLU_COUNTRY", country)
    with pytest.raises(RecipeError, match=f"codecarbon knows no country '{country}'"):
        fit(job())


def test_without_codecarbon_it_is_a_warning(monkeypatch):
    monkeypatch.setitem(sys.modules, "codecarbon", None)
    monkeypatch.setenv("DANLU_COUNTRY", "CHN")
    events, heard = listen(Events)
    with meter(events) as found:
        pass
    assert found.kwh is None
    [text] = [event.data["text"] for event in heard if event.kind == "warning"]
    assert "pip install 'danlu[energy]'" in text


def test_the_processors_own_counters_and_where_they_begin_anew(monkeypatch, tmp_path):
    monkeypatch.setattr(energy, "_RAPL", tmp_path)
    zone(tmp_path, "intel-rapl:0", 900)
    zone(tmp_path, "intel-rapl:1", 100)
    zone(tmp_path, "intel-rapl:0:0", 5)  # a part of the first
    with meter(Events.silent()) as found:
        zone(tmp_path, "intel-rapl:0", 200)
        zone(tmp_path, "intel-rapl:1", 150)
    assert found.by == "rapl"
    assert found.kwh == pytest.approx((300 + 50) / 1e6 / 3.6e6)
    assert found.co2_g is None


def test_the_machines_time_costs_too(monkeypatch):
    assert Energy(None, 2.0).costs(1800) == {"energy": None, "machine": 1.0}
    monkeypatch.setenv("DANLU_PRICE_HOUR", "2")
    assert fit(job()).numbers["cost"]["machine"] >= 0


@pytest.mark.parametrize("said", ["cheap", "-1", "nan"])
def test_what_is_no_price(monkeypatch, said):
    monkeypatch.setenv("DANLU_PRICE_HOUR", said)
    with pytest.raises(RecipeError, match=f"'{said}' is no price"):
        fit(job())
