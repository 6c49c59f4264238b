"""Play sounds faster or slower, as a tape does: length and pitch change together (Ko et al., 2015)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu.blocks import waves
from danlu.blocks.augment import replaced
from danlu.contracts import Context, Counts


class Speed(waves.AugmentSound):
    """New training rows with the sound at another speed. Not where the length or the pitch is what is learnt."""

    by: float = Field(default=0.1, gt=0, lt=0.9)
    """The factor is drawn between 1 - this and 1 + this."""
    seconds: str = "seconds"
    """The column that says how long a sound lasts, which is kept true; passed by where there is none."""

    def change(self, samples: waves.Samples, rng: np.random.Generator) -> tuple[waves.Samples, str] | None:
        factor = float(rng.uniform(1 - self.by, 1 + self.by))
        return waves.faster(samples, factor), "faster" if factor > 1 else "slower"

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        made, counts = super().apply(table, context)
        mine = [n for n in self.columns or context.columns.ask if self.takes(table.schema.field(n).type)]
        if not counts.changed or len(mine) != 1 or self.seconds not in made.column_names:
            return made, counts
        given = {cell["bytes"] for cell in table.column(mine[0]).to_pylist() if cell}
        lasts = made.column(self.seconds).to_pylist()
        for row, cell in enumerate(made.column(mine[0]).to_pylist()):
            if cell and cell["bytes"] not in given:
                lasts[row] = waves.seconds(cell["bytes"])
        return replaced(made, self.seconds, lasts), counts
