"""codecarbon: energy and carbon dioxide of this machine, without a network."""

from __future__ import annotations

from typing import Any

from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

_library: Any = lazy("codecarbon", extra="energy")


class Meter:
    """Measures from now on. Raises MachineError without the library, RecipeError for a country it does not know."""

    def __init__(self, country: str) -> None:
        options = {"save_to_file": False, "log_level": "critical", "allow_multiple_runs": True}
        try:
            self._tracker = _library.OfflineEmissionsTracker(country_iso_code=country, **options)
        except ValueError as fault:
            raise RecipeError(f"codecarbon knows no country {country!r}", where="DANLU_COUNTRY", do="CHN") from fault
        self._tracker.start()

    def stop(self) -> tuple[float, float]:
        """kWh of processor, memory and GPUs, and grams of CO2."""
        self._tracker.stop()
        found = self._tracker.final_emissions_data
        return found.energy_consumed, 1000 * found.emissions
