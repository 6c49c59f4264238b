"""Let a model label the training rows that have no label (self-training)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from danlu import bundle
from danlu.blocks.labels import label_name
from danlu.blocks.tables import check_columns, shown_rows
from danlu.contracts import Context, Counts, Operator
from danlu.core.errors import DataError
from danlu.core.settings import Model
from danlu.predictor import Predictor

_Share = Annotated[float, Field(gt=0, le=1)]


class PseudoLabels(Operator):
    """Gives a row without a label the model's, where the model is sure enough, and drops the row where it is not.

    Training rows alone: `prepare` cuts the rows that have a label into splits, and lets those without one join the
    training rows. A model's mistakes are learnt again with its answers, and its confidence is no frequency, so compare
    with a model trained without them (Lee, "Pseudo-Label", 2013). Leave `drop_empty` out before it, or give it the
    columns of the input. The journal says of each row what it was given, and how sure the model was.
    """

    main: ClassVar[str] = "model"
    splits: ClassVar[tuple[str, ...]] = ("train",)
    wants: ClassVar[Mapping[str, tuple[str, ...]]] = {"answer": ("label",)}
    fills: ClassVar[bool] = True

    model: Model
    """The folder of a model, such as the artifact of a training step: the one with `forms.json` in it. What it holds is
    part of the reuse key."""
    form: str = ""
    """The form that is asked; empty: the one that is served."""
    confidence: _Share = 0.95
    """A label is given from this confidence on."""
    labels: dict[str, _Share] = Field(default_factory=dict)
    """Label → its own confidence, such as `{spam: 0.99}`."""

    @cached_property
    def _predictor(self) -> Predictor:
        forms = bundle.Forms.open(Path(self.model).expanduser())
        chosen = self.form or forms.default
        forms.spec(chosen)
        return bundle.load(forms.folder(chosen))

    def apply(self, table: pa.Table, context: Context) -> tuple[pa.Table, Counts]:
        ask, (gold,) = context.columns.ask, context.columns.gold
        check_columns(table, (*ask, gold), option="the columns of the task for pseudo_labels")
        truth = [label_name(value) for value in table.column(gold).to_pylist()]
        self._check_labels({label for label in truth if label is not None})
        blank = [row for row, label in enumerate(truth) if label is None]
        answers = dict(zip(blank, self._answers(table.select(ask).take(pa.array(blank, pa.int64()))), strict=True))
        given = {row: answer["label"] for row, answer in answers.items() if self._is_sure(answer)}
        place, kind = table.schema.get_field_index(gold), table.schema.field(gold).type
        filled = pa.array([given.get(row, label) for row, label in enumerate(truth)], pa.string()).cast(kind)
        stays = np.array([row in given or label is not None for row, label in enumerate(truth)], dtype=bool)
        made = table.set_column(place, table.schema.field(gold), filled).filter(pa.array(stays, pa.bool_()))
        counts = Counts(table.num_rows, made.num_rows, changed=len(given), by=dict(Counter(given.values())))
        counts.why = {row: self._reason(answer) for row, answer in answers.items()}
        names = (*ask, gold)
        shown = shown_rows(table, list(given) or blank, names)
        after = shown_rows(table.set_column(place, table.schema.field(gold), filled), list(given), names)
        counts.samples = list(zip(shown, after, strict=True)) if given else [(row, None) for row in shown]
        told = f"{len(given):,} of {len(blank):,} rows without a label were given one, the others were dropped"
        counts.notes = [told] if blank else ["every row has a label, so none was given one"]
        return made, counts

    def _check_labels(self, mine: set[str]) -> None:
        """Raise DataError where the model tells other labels than the rows have, or a label is nobody's."""
        its = set(self._predictor.task.head().labels)
        if mine and mine != its:
            sides = ((mine - its, "only the rows have"), (its - mine, "only the model has"))
            told = "; ".join(f"{who} {', '.join(sorted(some))}" for some, who in sides if some)
            raise DataError(f"the model's labels are not the rows': {told}", where=self.model, do="take another model")
        if strange := sorted(self.labels.keys() - its):
            what = f"there is no label {strange[0]!r}; the model's are: {', '.join(sorted(its))}"
            raise DataError(what, where="pseudo_labels.labels", do="correct it")

    def _answers(self, rows: pa.Table) -> list[Any]:
        """An answer a row; an exception where the model has none."""
        task = self._predictor.task
        columns = task.columns().ask
        asked = [task.ask(dict(zip(columns, row.values(), strict=True))) for row in rows.to_pylist()]
        return self._predictor.try_all(asked)

    def _is_sure(self, answer: Any) -> bool:
        if isinstance(answer, Exception):
            return False
        return bool(answer["confidence"] >= self.labels.get(answer["label"], self.confidence))

    def _reason(self, answer: Any) -> str:
        if isinstance(answer, Exception):
            return "no label, and the model has no answer"
        said = f"{answer['label']} with {answer['confidence']:.3f}"
        return (
            f"labelled by the model: {said}" if self._is_sure(answer) else f"no label, and the model only says {said}"
        )
