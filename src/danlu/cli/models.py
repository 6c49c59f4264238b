"""`danlu predict`: ask a published model."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from danlu.cli.output import ImportOption, JsonOption, StoreOption, piece, print_json, say, table
from danlu.core import plugin
from danlu.core.digests import no_such_file
from danlu.core.errors import DataError, RecipeError
from danlu.core.plugin import lazy

api = lazy("danlu.api")
events = lazy("danlu.core.events")

_SHOWN = 200
_AT_ONCE = 1024

ModelArgument = Annotated[
    str,
    typer.Argument(help="`name`, `name@3`, `name@alias`, or a model's folder.", metavar="MODEL", show_default=False),
]
InputsArgument = Annotated[
    list[str] | None, typer.Argument(help="What to ask; for pictures, their files.", metavar="[INPUT]...")
]
FormOption = Annotated[str, typer.Option("--form", help="A form of the model, such as `trained`; else the served one.")]
JsonInputOption = Annotated[bool, typer.Option("--json-input", help="Each input is JSON, as in a request over HTTP.")]


def predict(
    model: ModelArgument,
    inputs: InputsArgument = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Ask every line of a text file; `-` is standard input.")
    ] = None,
    form: FormOption = "",
    json_input: JsonInputOption = False,
    store: StoreOption = None,
    imports: ImportOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a published model, and print its answers with their confidence; a text that it writes, as it comes.

    Example:  danlu predict review-sentiment "A warm, funny and moving film."
    """
    asked: list[Any] = [*(inputs or []), *(_lines(file) if file else ())]
    if Path(model).is_file():
        named = shlex.quote(model)
        do = f"danlu predict MODEL {named} for a picture, --file {named} for a text in each line"
        raise RecipeError("the first word names the model, and this is a file", where=model, do=do)
    if not asked:
        raise RecipeError("there is nothing to ask", do=f'danlu predict {model} "a sentence", or --file sentences.txt')
    loaded = api.load(model, form=form, store=store, imports=imports or [])
    if json_input:
        asked = [read_json(loaded, text, place) for place, text in enumerate(asked)]
    if len(asked) == 1 and inputs and not as_json:
        answers = _streamed(loaded, asked[0])
    else:
        answers = _answers(loaded, asked)
    for place, answer in enumerate(answers):
        if isinstance(answer, Exception):
            line = place - len(inputs or []) + 1
            raise loaded.predictor.blame(answer, f"{file}, line {line}" if line > 0 else f"input {place}") from answer
    if as_json:
        print_json({"model": loaded.name, "form": loaded.form, "answers": answers})
        return
    if answers and all(isinstance(answer, dict) and {"label", "confidence"} <= answer.keys() for answer in answers):
        rows = [(answer["label"], f"{answer['confidence']:.3f}", _short(x)) for x, answer in zip(asked, answers)]
        table(["answer", "confidence", "input"], rows, right=["confidence"])
    else:
        for x, answer in zip(asked, answers):
            say(f"{_short(x)}\n  {answer}")
    say(f"\n{loaded.name}, form {loaded.form}")


def read_json(loaded: Any, text: str, place: int) -> Any:
    """An input that is written as JSON, checked as one that came over HTTP is."""
    try:
        return loaded.predictor.task.from_json(json.loads(text))
    except (ValueError, RecursionError) as error:
        do = """write it as in a request, such as '{"text": "…"}' or '"a text"'"""
        raise DataError(f"it is no JSON: {error}", where=f"input {place}", do=do) from error


def _streamed(loaded: Any, x: Any) -> list[Any]:
    """The answer of one input; none where it was written in pieces, which are on the screen already."""
    begun = False
    for event in loaded.stream(x):
        if not isinstance(event, str):
            break
        piece(event if begun else f"{x if isinstance(x, str) else x['text']}{event}")
        begun = True
    if begun:
        say()
    return [] if begun else [event[1]]


def _answers(loaded: Any, asked: list[Any]) -> list[Any]:
    """The answers, or what went wrong with each; many inputs show how far it is, beside what is printed."""
    if len(asked) <= _AT_ONCE:
        return list(loaded.predictor.try_all(asked))
    watched, answers = plugin.load("trackers", "console")(), list[Any]()
    told = events.Events([watched.on], "predict")
    try:
        told.emit("step_started")
        for start in range(0, len(asked), _AT_ONCE):
            told.progress("answering", start, len(asked), "inputs")
            answers += loaded.predictor.try_all(asked[start : start + _AT_ONCE])
        told.progress("answering", len(asked), len(asked), "inputs")
    finally:
        watched.close()
    return answers


def _short(x: Any) -> str:
    """What was asked, as long as a person reads it."""
    text = x if isinstance(x, str) else json.dumps(x, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _lines(file: Path) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        lines = content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except FileNotFoundError as error:
        raise no_such_file(file) from error
    except OSError as error:
        raise DataError(f"it can't be read: {error.strerror}", where=str(file), do="name a text file") from error
    except UnicodeDecodeError as error:
        raise DataError(f"it can't be read: {error}", where=str(file), do="give a text file in UTF-8") from error
    return lines if lines[-1] else lines[:-1]
