"""`danlu data`: what a file or a data set holds."""

from __future__ import annotations

import typer

from danlu.cli import rows

app = typer.Typer(no_args_is_help=True, help="Look at data: what a data set holds, and the way of a row.")

app.command("show")(rows.show)
