"""codecarbon: energy and carbon dioxide of this machine, without a network."""

from __future__ import annotations

import logging
from typing import Any

from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

_library: Any = lazy("codecarbon", extra="energy")
_input: Any = lazy("codecarbon.input", extra="energy")


class Meter:
    """Measures from now on. Raises MachineError without the library, RecipeError for a country it does not know."""

    def __init__(self, country: str) -> None:
        made = _library.OfflineEmissionsTracker
        known = _input.DataSource().get_global_energy_mix_data()
        if country not in known:  # the library would log that, and take the mean of the world
            raise RecipeError(f"codecarbon knows no country {country!r}", where="DANLU_COUNTRY", do="CHN")
        logging.getLogger("codecarbon").setLevel(logging.CRITICAL)  # it speaks before it reads its own option
        options = {"save_to_file": False, "log_level": "critical", "allow_multiple_runs": True}
        self._tracker = made(country_iso_code=country, **options)
        self._tracker.start()

    def stop(self) -> tuple[float, float]:
        """kWh of processor, memory and GPUs, and grams of CO2."""
        self._tracker.stop()
        found = self._tracker.final_emissions_data
        return found.energy_consumed, 1000 * found.emissions
