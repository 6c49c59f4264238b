"""`danlu schema`: the JSON Schema of a recipe, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import ImportOption, print_json, say
from danlu.core import plugin
from danlu.core.canonical import to_json
from danlu.core.files import write_atomic
from danlu.core.language import recipe_schema
from danlu.core.plugin import lazy

recipes = lazy("danlu.recipe")


def schema(
    to: Annotated[Path | None, typer.Option("--to", help="Write it to this file, over what is there.")] = None,
    imports: ImportOption = None,
) -> None:
    """Print the JSON Schema of a recipe, for editors: every stage, plug-in and option there is here.

    Example:  danlu schema --to .danlu-recipe.json
    """
    for path in imports or []:
        plugin.add_file(path)
    made = recipe_schema(recipes.STANDARD_STEPS)
    if to is None:
        print_json(made)
        return
    write_atomic(to, to_json(made, indent=1) + b"\n")
    say(f"wrote {to}")
