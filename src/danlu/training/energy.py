"""The energy a training takes, the carbon dioxide of making it, and what both and the machine's time cost.

`DANLU_COUNTRY=CHN` (three letters, ISO 3166-1) has codecarbon measure in its offline mode, with that country's mix of
power plants; where the processor does not tell its energy, codecarbon estimates it. Without it the processor's own
counter (RAPL) is read where the system lets us, and CO2 is not known. `DANLU_PRICE_KWH` and `DANLU_PRICE_HOUR` are
prices in whatever currency; they say nothing of the result, so they are no part of a recipe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from danlu.blocks import codecarbon
from danlu.core.errors import MachineError, RecipeError
from danlu.core.events import Events

_RAPL = Path("/sys/class/powercap")
_JOULES_PER_KWH = 3.6e6


@dataclass
class Energy:
    """The prices, and what was measured: kWh, grams of CO2, and who says so; None where it is not known."""

    per_kwh: float | None
    per_hour: float | None
    kwh: float | None = None
    co2_g: float | None = None
    by: str | None = None

    def told(self) -> dict[str, Any]:
        """As JSON values."""
        kwh, grams = (None if value is None else float(f"{value:.4g}") for value in (self.kwh, self.co2_g))
        return {"kwh": kwh, "co2_g": grams, "by": self.by}

    def costs(self, seconds: float) -> dict[str, float | None]:
        """Of the `energy` and of so many seconds of the `machine`; None where a price or the energy is not known."""
        return {
            "energy": None if self.per_kwh is None or self.kwh is None else round(self.per_kwh * self.kwh, 6),
            "machine": None if self.per_hour is None else round(self.per_hour * seconds / 3600, 6),
        }


@contextmanager
def meter(events: Events) -> Iterator[Energy]:
    """Measures while the block runs; what it yields is filled in at the end.

    Warns where codecarbon is asked for and not installed. Raises RecipeError, before anything runs, for a country that
    it does not know and for prices that are none.
    """
    found = Energy(price("DANLU_PRICE_KWH"), price("DANLU_PRICE_HOUR"))
    country = os.environ.get("DANLU_COUNTRY", "")
    tracker = None
    try:
        tracker = codecarbon.Meter(country) if country else None
    except MachineError as fault:
        events.warn(f"energy is not measured by codecarbon: {fault}")
    began = _counted()
    try:
        yield found
    finally:
        ended = _counted()
        if tracker:
            found.kwh, found.co2_g = tracker.stop()
            found.by = "codecarbon"
        elif began and began.keys() == ended.keys():
            found.kwh = sum(_spent(began[name], ended[name]) for name in began) / 1e6 / _JOULES_PER_KWH
            found.by = "rapl"


def _counted() -> dict[str, tuple[int, int]]:
    """Package → microjoules counted so far, and where its counter begins anew; empty where that can't be read."""
    found = {}
    for zone in sorted(_RAPL.glob("intel-rapl:[0-9]")):
        with suppress(OSError, ValueError):
            counted, most = (int((zone / name).read_text()) for name in ("energy_uj", "max_energy_range_uj"))
            found[zone.name] = (counted, most)
    return found


def _spent(began: tuple[int, int], ended: tuple[int, int]) -> int:
    return ended[0] - began[0] + (ended[1] if ended[0] < began[0] else 0)


def price(name: str) -> float | None:
    """The price that a variable of the environment tells; None without it. Raises RecipeError for what is none."""
    said = os.environ.get(name, "")
    try:
        value = float(said) if said else None
    except ValueError:
        value = -1.0
    if value is not None and not 0 <= value < float("inf"):
        raise RecipeError(f"{said!r} is no price", where=name, do=f"{name}=0.30, or unset it")
    return value
