"""`danlu export` and `danlu import`: a version for elsewhere, and one from elsewhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from danlu.cli.output import JsonOption, StoreOption, print_json, say
from danlu.cli.registry import VersionArgument, open_registry
from danlu.core.errors import RecipeError
from danlu.core.plugin import lazy

archive_of = lazy("danlu.registry.archive")
exporting = lazy("danlu.registry.export")
mlflow_model = lazy("danlu.blocks.mlflow_model")
word2vec_format = lazy("danlu.blocks.word2vec_format")


class Kind(StrEnum):
    """What `--as` takes."""

    SCRIPT = "script"
    MLFLOW = "mlflow"
    WORD2VEC = "word2vec"


def export(
    name: VersionArgument,
    folder: Annotated[Path | None, typer.Argument(help="A folder to make.", metavar="[DIR]")] = None,
    form: Annotated[str, typer.Option("--form", help="A form, in ONNX for a script; else the served one.")] = "",
    kind: Annotated[
        Kind,
        typer.Option(
            "--as",
            help="A script that answers alone; a model for `mlflow.pyfunc` (danlu[mlflow]); or word vectors as the "
            "file DIR, binary where it ends in `.bin`.",
        ),
    ] = Kind.SCRIPT,
    archive: Annotated[
        Path | None,
        typer.Option("--archive", help="Write the whole version instead, into FILE.tar.gz or FILE.zip."),
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a version: a folder with one form and a script that answers without Danlu, or all of it as an archive.

    The script needs ONNX Runtime, numpy, and tokenizers or Pillow; `python answer.py --check` proves that it gives the
    registry's answers. An archive is what `danlu import` takes in on another machine.

    Example:  danlu export review-sentiment@2 sentiment --form int8
    """
    if (folder is None) == (archive is None):
        raise RecipeError("say where to: a folder, or --archive FILE.tar.gz", do=f"danlu export {name} DIR")
    registry = open_registry(store)
    version = registry.resolve(name)
    if archive:
        if form:
            raise RecipeError("an archive holds all forms of a version", where="--form", do="leave it out")
        if kind is not Kind.SCRIPT:
            raise RecipeError("an archive is taken in by `danlu import`", where="--as", do="name a folder instead")
        archive_of.write(version, registry.open(version), archive)
        told = {"reference": version.reference, "archive": str(archive), "bytes": archive.stat().st_size}
        text = f"wrote {archive}, {told['bytes'] / 1e6:.1f} MB\nnext:  danlu import {archive}   on the other machine"
    elif folder and kind is Kind.MLFLOW:
        mlflow_model.save(registry.open(version), folder, form=form)
        told = {"reference": version.reference, "mlflow": str(folder)}
        text = f"wrote {folder}\nnext:  mlflow.pyfunc.load_model({str(folder)!r}).predict([…])"
    elif folder and kind is Kind.WORD2VEC:
        word2vec_format.save(registry.open(version), folder)
        told = {"reference": version.reference, "word2vec": str(folder)}
        binary = ", binary=True" if folder.suffix == ".bin" else ""
        text = f"wrote {folder}\nnext:  gensim.models.KeyedVectors.load_word2vec_format({str(folder)!r}{binary})"
    elif folder:
        told = {"reference": version.reference, **exporting.export(version, registry.open(version), folder, form=form)}
        needs = ", ".join(told["needs"])
        text = f"wrote {folder}, {told['bytes'] / 1e6:.1f} MB, form {told['form']}; it needs {needs}"
        text += f"\nnext:  python {folder}/answer.py --check"
    print_json(told) if as_json else say(text)


def import_version(
    path: Annotated[
        Path, typer.Argument(help="What `danlu export NAME --archive FILE` wrote, or its folder.", metavar="PATH")
    ],
    name: Annotated[str, typer.Option("--as", help="The name to give it; else its own.")] = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a version from an archive into the registry, under the next number there. No alias is moved.

    Every file is checked against its SHA-256 and its format before anything is stored; where it came from is kept in
    its lineage and in the audit.

    Example:  danlu import review-sentiment-2.tar.gz --as reviews
    """
    registry = open_registry(store)
    version = archive_of.take_in(registry, path, name=name)
    told = {"reference": version.reference, "created": version.created, "origin": version.metadata.get("origin")}
    if as_json:
        print_json(told)
        return
    say(f"{version.reference}: " + ("imported" if version.created else "its content was there already, byte for byte"))
    say(f"next:  danlu lineage {version.reference}   or   danlu promote {version.reference}")
