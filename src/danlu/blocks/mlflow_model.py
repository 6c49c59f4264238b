"""A published version as an MLflow model: `mlflow.pyfunc.load_model` answers with it, and nothing in it is pickled.

MLflow stores the name of this module and the version's own files, and calls `_load_pyfunc` to load them; so Danlu must
be installed where the model is asked.
"""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from danlu import bundle
from danlu.core.errors import DataError, RecipeError
from danlu.core.files import disk_faults, publish_dir, temp_beside
from danlu.core.plugin import lazy
from danlu.predictor import Predictor

_pyfunc: Any = lazy("mlflow.pyfunc", extra="mlflow")


def save(version_folder: Path, out: Path, *, form: str = "") -> Path:
    """Write a version's folder, or that of any model of Danlu, as an MLflow model into the new folder `out`.

    Only one form goes along: `form`, by default the served one. Raises RecipeError when there is something at `out`,
    DataError when there is no such form, MachineError without MLflow. Nothing is left at `out` after a failure.
    """
    forms = bundle.Forms.open(version_folder)
    chosen = form or forms.default
    forms.spec(chosen)
    danlu, temp = importlib.metadata.version("danlu"), temp_beside(out)
    with disk_faults(out):
        try:
            _pyfunc.save_model(
                path=str(temp),
                loader_module=__name__,
                data_path=str(forms.folder(chosen)),
                pip_requirements=[f"danlu[mlflow]=={danlu}"],  # else MLflow loads the model to find them out
                metadata={"danlu": danlu, "form": chosen},
            )
            if out.is_dir() and not any(out.iterdir()):
                out.rmdir()
            publish_dir(temp, out)
        except FileExistsError as error:
            do = "name a new folder"
            raise RecipeError("there is something already, and it is left as it is", where=str(out), do=do) from error
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    return out


class PyfuncModel:
    """What MLflow asks: inputs in, answers out, in their order."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[Any]:
        """The answers to a list, a numpy array, a pandas series, or a data frame with one column or the task's own.

        Inputs are as a request over HTTP holds them: a text, a picture in base64. Raises DataError.
        """
        return self._predictor([self._predictor.task.from_json(value) for value in self._inputs(model_input)])

    def _inputs(self, given: Any) -> Iterable[Any]:
        if isinstance(given, str | bytes | dict):
            return [given]
        if not hasattr(given, "columns"):
            return list(given.tolist() if hasattr(given, "tolist") else given)
        names, asked = list(given.columns), self._predictor.task.columns().ask
        column = asked[0] if len(asked) == 1 and asked[0] in names else names[0] if len(names) == 1 else None
        if column is None:
            what = f"the input has the columns {', '.join(map(str, names))}; the model asks for {', '.join(asked)}"
            raise DataError(what, do="give a list, or a data frame with that column")
        return list(given[column].tolist())


def _load_pyfunc(path: str) -> PyfuncModel:
    """What MLflow calls, with the folder of the form. Raises DataError when a file is damaged."""
    return PyfuncModel(bundle.load(Path(path)))
