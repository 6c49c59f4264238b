"""`danlu data`: what a file or a data set holds."""

from __future__ import annotations

import typer

from danlu.cli import checkup, labelling, rows

app = typer.Typer(no_args_is_help=True)


@app.callback()
def data() -> None:
    """Look at data: what is wrong with a file, what is worth a label, what a data set holds, the way of a row.

    Example:  danlu data check my.csv
    """


app.command("check")(checkup.check)
app.command("label")(labelling.label)
app.command("show")(rows.show)
