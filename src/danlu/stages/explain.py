"""Say why a model answers as it does, and how far that can be relied on."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from danlu import bundle
from danlu.blocks import judging, label_details, numbers
from danlu.blocks.dataset import DataSet
from danlu.blocks.explained import faithfulness
from danlu.blocks.report.explain_page import explain_page
from danlu.blocks.report.inputs import shown
from danlu.contracts import Answer, Explainer, Explanation, Stage
from danlu.core.canonical import plain
from danlu.core.settings import Settings, slot

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft
    from danlu.core.events import Events

_WORDS = 12
"""Words of each end that a table of averages has."""
_OFTEN = 3
"""In how many explained rows a word must stand to be told there."""


class Cases(Settings):
    """Which test rows are shown one by one."""

    worst: int = Field(default=10, ge=0, le=1000)
    """The surest of the wrong answers; of numbers, those furthest away."""
    sure: int = Field(default=5, ge=0, le=1000)
    """The surest of the right answers: what the model relies on. None of numbers, which have no confidence."""
    random: int = Field(default=5, ge=0, le=1000)
    """Rows drawn at random."""


class Explain(Stage):
    """Explain answers of the default form on test rows: what each piece of an input did to its answer.

    Beside the cases it tells what words do on average, and whether the explanations are faithful: what is lost without
    the pieces that they call the strongest, against as many drawn by chance. Where the model misses those no more than
    these, a warning says that the explanations must not be relied on.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "model": "model"}
    makes: ClassVar[str] = "explanations"

    by: Explainer = slot("occlusion")
    """What explains."""
    cases: Cases = Cases()
    """Which test rows are shown one by one."""
    rows: int = Field(default=100, ge=2)
    """Test rows, drawn at random, on which averages and faithfulness rest."""

    def run(self, inputs: Mapping[str, Artifact], out: Draft, events: Events) -> None:
        """Write `explanations.json` and `explanations.html`.

        Raises DataError when the data was changed, RecipeError for a model that `by` can't explain.
        """
        data, forms = DataSet.open(inputs["dataset"].path), bundle.Forms.open(inputs["model"].path)
        data.check()
        predictor = bundle.load(forms.folder(forms.default))
        asked, gold = data.judged("test")
        answers = judging.ask_all(predictor, asked, events, "answering")
        drawn = np.random.default_rng(self.seed).permutation(len(asked))[: max(self.rows, self.cases.random)].tolist()
        if (most := max(self.rows, self.cases.random)) > len(asked):
            events.note(f"{most:,} rows were asked for, and the test split has {len(asked):,}: all of them are taken")
        kind = data.task.gives.get("answer")
        worst, sure = self._worst(kind, answers, gold), self._sure(kind, answers, gold)
        chosen = list(dict.fromkeys([*worst, *sure, *drawn]))
        explained = self._explained(predictor, {row: asked[row] for row in chosen}, events)
        measured = [row for row in drawn[: self.rows] if row in explained]
        shown_rows = (("worst", worst), ("sure", sure), ("random", drawn[: self.cases.random]))
        told: dict[str, Any] = {
            "task_name": data.task.name,
            "form": forms.default,
            "by": self.by.plain(),
            "seed": self.seed,
            "test_rows": len(asked),
            "rows": len(measured),
            "faithfulness": faithfulness(
                predictor,
                [explained[row] for row in measured],
                [asked[row] for row in measured],
                self.seed,
                lambda done, total: events.progress("asking without the strongest pieces", done, total, "inputs"),
            ),
            "words": averages([explained[row] for row in measured]),
            "cases": [
                {
                    "row": row,
                    "why": why,
                    "gold": gold[row],
                    **explained[row].plain(),
                    "input": shown(data.task, asked[row]),
                }
                for why, rows in shown_rows
                for row in rows
                if row in explained
            ],
            "not_explained": len(chosen) - len(explained),
        }
        told["warnings"] = warnings(told)
        self._write(out, plain(told))
        for text in told["warnings"]:
            events.warn(text)

    def _worst(self, kind: str | None, answers: Sequence[Answer], gold: Sequence[Answer]) -> list[int]:
        """The rows of the worst answers."""
        of = numbers.details(answers, gold, self.cases.worst)["worst"] if kind == "number" else None
        found = label_details.worst(answers, gold, self.cases.worst) if of is None else of
        return [row["row"] for row in found]

    def _sure(self, kind: str | None, answers: Sequence[Answer], gold: Sequence[Answer]) -> list[int]:
        """The rows of the surest right answers."""
        return [] if kind == "number" else label_details.surest(answers, gold, self.cases.sure)

    def _explained(self, predictor: Any, asked: Mapping[int, Any], events: Events) -> dict[int, Explanation]:
        """The rows that have a piece to explain."""
        told = self.by.explain(
            predictor,
            list(asked.values()),
            lambda done, total: events.progress(f"explaining by {self.by.name}", done, total, "inputs"),
        )
        return {row: one for row, one in zip(asked, told, strict=True) if one.pieces}

    def _write(self, out: Draft, told: dict[str, Any]) -> None:
        text = json.dumps(told, ensure_ascii=False, indent=1, allow_nan=False) + "\n"
        (out.path / "explanations.json").write_text(text, encoding="utf-8", errors="backslashreplace")
        (out.path / "explanations.html").write_text(explain_page(told), encoding="utf-8")
        measured = told["faithfulness"]
        out.numbers |= {"explained": len(told["cases"]), "faithful": measured["holds"]}
        out.numbers |= {name: measured[name] for name in ("fall", "by_chance") if measured[name] is not None}
        out.notes += told["warnings"]


def averages(explanations: Sequence[Explanation]) -> dict[str, list[dict[str, Any]]]:
    """Number explained → its words, `{word, rows, weight}`: the mean over the rows that have it, the greatest first.

    A word counts once a row, with the sum of its weights there. Empty for pictures.
    """
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for one in explanations:
        here: dict[str, float] = defaultdict(float)
        for piece, weight in zip(one.pieces, one.weights, strict=True):
            if word := piece.text.strip().strip(".,;:!?\"'()[]…。，；：！？“”‘’（）《》、").lower():
                here[word] += weight
        for word, weight in here.items():
            found[one.number][word].append(weight)
    told = {}
    for number, words in sorted(found.items()):
        rows = [
            {"word": word, "rows": len(weights), "weight": float(np.mean(weights))}
            for word, weights in words.items()
            if len(weights) >= _OFTEN
        ]
        rows.sort(key=lambda row: -row["weight"])  # type: ignore[operator]
        if rows:
            told[number] = rows if len(rows) <= 2 * _WORDS else [*rows[:_WORDS], *rows[-_WORDS:]]
    return told


def warnings(told: Mapping[str, Any]) -> list[str]:
    """What a reader of these explanations must know, in sentences."""
    measured, found = told["faithfulness"], []
    if measured["fall"] is None:
        found.append("Too few rows could be explained to say whether the explanations are faithful.")
    elif not measured["holds"]:
        found.append(
            f"Do not rely on these explanations: without the pieces that they call the strongest, the score falls by "
            f"{measured['fall']:.3f}, and by {measured['by_chance']:.3f} without as many drawn by chance; the "
            f"difference is not clearly above zero ({measured['low']:+.3f} to {measured['high']:+.3f})."
        )
    if told["not_explained"]:
        found.append(f"{told['not_explained']} of the rows have no piece to take away and are left out.")
    return found
