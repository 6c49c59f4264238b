"""`danlu explain`: why a published model answers as it does."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from danlu.cli.models import FormOption, InputsArgument, JsonInputOption, ModelArgument, read_json
from danlu.cli.output import ImportOption, JsonOption, StoreOption, print_json, say, table
from danlu.core import plugin
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
document = lazy("danlu.core.document")
events = lazy("danlu.core.events")

_BAR = 12
_SHOWN = 20
_QUICK = 8
"""Up to so many inputs no progress is shown."""


def explain(
    model: ModelArgument,
    inputs: InputsArgument = None,
    by: Annotated[
        str, typer.Option("--by", help="What explains, as in a recipe; `danlu list explainers` names them.")
    ] = "occlusion",
    form: FormOption = "",
    json_input: JsonInputOption = False,
    store: StoreOption = None,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell which pieces of an input speak for the answer of a published model, and which against it.

    A weight is what a piece adds to the log-odds of the answered label (+0.69 doubles its odds), or to a value.

    Example:  danlu explain review-sentiment "A warm, funny and moving film."
    """
    if not inputs:
        raise RecipeError("there is nothing to explain", do=f'danlu explain {model} "a sentence"')
    loaded = api.load(model, form=form, store=store, imports=imports or [])
    asked: list[Any] = [read_json(loaded, text, k) for k, text in enumerate(inputs)] if json_input else list(inputs)
    watched = plugin.load("trackers", "console")()
    told = events.Events([watched.on] if len(asked) > _QUICK else [], "explain")
    chosen = document.parse(by, "--by")
    try:
        told.emit("step_started")
        found = loaded.explain(asked, chosen, lambda done, total: told.progress("asking", done, total))
    finally:
        watched.close()
    if as_json:
        explained = [one.plain() for one in found]
        print_json({"model": loaded.name, "form": loaded.form, "by": by, "explanations": explained})
        return
    for x, one in zip(inputs, found, strict=True):
        _print(x, one)
    say(f"\n{loaded.name}, form {loaded.form}, explained by {by}")


def _print(x: str, one: Any) -> None:
    """The answer, and its pieces, the strongest first."""
    say(x)
    base = "" if one.base is None else f", with all pieces taken away {one.base:+.3f}"
    said = one.answer.get("label") or one.answer.get("labels", one.answer.get("value"))
    say(f"  {said}: {one.number} {one.value:+.3f}{base}")
    places = one.strongest()
    most = abs(one.weights[places[0]]) if places else 0.0
    rows = [(_name(one.pieces[k]), f"{one.weights[k]:+.3f}", _bar(one.weights[k], most)) for k in places[:_SHOWN]]
    if rows:
        table(["piece", "weight", "against | for"], rows, right=["weight"])
    if left := len(places) - len(rows):
        say(f"and {left} weaker; --json tells all")
    for text in one.notes:
        say(f"note: {text}")


def _name(piece: Any) -> str:
    """A piece as a person finds it: its text, or its box in pixels."""
    where = f"{piece.field}: " if piece.field else ""
    return where + (piece.text.strip() or "rows {0}-{2}, columns {1}-{3}".format(*piece.place))


def _bar(weight: float, most: float) -> str:
    size = round(_BAR * abs(weight) / most) if most else 0
    blocks = "█" * size
    return f"{blocks if weight < 0 else '':>{_BAR}}|{blocks if weight > 0 else ''}"
