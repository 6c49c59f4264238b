"""The command line: `danlu`. One grammar, exit codes by who must act, `--json` wherever a result is printed."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import nullcontext, suppress
from importlib.metadata import version
from typing import Annotated, Any

import typer

from danlu.cli import (
    assets,
    catalogue,
    comparison,
    data,
    explain,
    machine,
    models,
    provenance,
    recipes,
    registry,
    runs,
    schema,
    serve,
    transfer,
    tuning,
)
from danlu.cli.output import holding_stdout, note, print_json, say
from danlu.core.errors import DanluError, RecipeFaults

app = typer.Typer(
    name="danlu",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        say(f"danlu {version('danlu')}")
        raise typer.Exit


@app.callback()
def top(
    _: Annotated[bool, typer.Option("--version", help="Show the version and exit.", callback=_version)] = False,
) -> None:
    """From raw data to a large model in production: one recipe, one command, one report.

    Example:  danlu new --data my.csv, then danlu run my.yaml
    """


_RECIPES, _MODELS, _CATALOGUE, _MACHINE = "Recipes", "Models", "What there is", "The machine and the store"

app.command("new", rich_help_panel=_RECIPES)(recipes.new)
app.command("check", rich_help_panel=_RECIPES)(recipes.check)
app.command("plan", rich_help_panel=_RECIPES)(recipes.plan)
app.command("run", rich_help_panel=_RECIPES)(recipes.run)
app.command("advise", rich_help_panel=_RECIPES)(tuning.advise)
app.command("tune", rich_help_panel=_RECIPES)(tuning.tune)
app.add_typer(runs.app, name="runs", rich_help_panel=_RECIPES)
app.add_typer(data.app, name="data", rich_help_panel=_RECIPES)
app.command("predict", rich_help_panel=_MODELS)(models.predict)
app.command("explain", rich_help_panel=_MODELS)(explain.explain)
app.command("serve", rich_help_panel=_MODELS)(serve.serve)
app.command("versions", rich_help_panel=_MODELS)(registry.versions)
app.command("promote", rich_help_panel=_MODELS)(registry.promote)
app.command("rollback", rich_help_panel=_MODELS)(registry.rollback)
app.command("compare", rich_help_panel=_MODELS)(comparison.compare)
app.command("lineage", rich_help_panel=_MODELS)(provenance.lineage)
app.command("reproduce", rich_help_panel=_MODELS)(provenance.reproduce)
app.command("export", rich_help_panel=_MODELS)(transfer.export)
app.command("import", rich_help_panel=_MODELS)(transfer.import_version)
app.command("list", rich_help_panel=_CATALOGUE)(catalogue.list_plugins)
app.command("show", rich_help_panel=_CATALOGUE)(catalogue.show_plugin)
app.command("schema", rich_help_panel=_CATALOGUE)(schema.schema)
app.add_typer(assets.app, name="assets", rich_help_panel=_CATALOGUE)
app.command("clean", rich_help_panel=_MACHINE)(machine.clean)
app.command("doctor", rich_help_panel=_MACHINE)(machine.doctor)

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit: 0 done, 2 recipe or command, 3 data, 4 machine, 5 a gate not met, 1 our bug."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    code = run(sys.argv[1:])
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. With `--json` an error is told in JSON too."""
    as_json = "--json" in arguments[: arguments.index("--")] if "--" in arguments else "--json" in arguments
    with holding_stdout() if as_json else nullcontext():
        try:
            code = app(args=arguments, prog_name="danlu", standalone_mode=False)
            if code == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
                raise KeyboardInterrupt
            sys.stdout.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (KeyboardInterrupt, typer.Abort):
            return _fail(_INTERRUPTED, {"what": "interrupted"}, as_json)
        except DanluError as error:
            return _fail(error.exit_code, _told(error), as_json, str(error))
        except Exception as error:  # noqa: BLE001 - the last place that can tell it
            return _other(error, as_json)
    return code if isinstance(code, int) else 0


def _told(error: DanluError) -> dict[str, Any]:
    told: dict[str, Any] = {"what": error.what, "where": error.where, "do": error.do}
    if isinstance(error, RecipeFaults):
        told["faults"] = [{"where": f.where, "what": f.what, "do": f.do} for f in error.faults]
    return told


def _other(error: Exception, as_json: bool) -> int:
    """A wrong use of the command line, which typer words itself, or a bug."""
    if hasattr(error, "format_message") and hasattr(error, "exit_code"):
        if not as_json:
            error.show()  # type: ignore[attr-defined]
            return int(error.exit_code)
        return _fail(int(error.exit_code), {"what": error.format_message()}, as_json)
    traceback.print_exc()
    what = "This is a bug in Danlu, not a fault of yours. The lines above say where; please report them."
    return _fail(1, {"what": f"{type(error).__name__}: {error}", "do": what}, as_json, what)


def _fail(code: int, told: dict[str, Any], as_json: bool, text: str = "") -> int:
    """Tell why a command ends, to the person and, where that is wanted, in JSON; returns the exit code."""
    note("error ", style="bold red", end="")
    note(text or told["what"])
    if as_json:
        print_json({"error": {**told, "exit_code": code}})
    return code


if __name__ == "__main__":
    main()
