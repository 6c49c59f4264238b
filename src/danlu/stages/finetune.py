"""Train a backbone for the task of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from danlu.blocks import earlier
from danlu.blocks.dataset import DataSet
from danlu.contracts import Backbone, Method, Metric, Technique, slot
from danlu.core.errors import RecipeError
from danlu.predictor import Predictor
from danlu.registry.store import Registry
from danlu.training.teaching import Teaching

if TYPE_CHECKING:
    from danlu.core.artifact import Artifact, Draft


class Finetune(Teaching):
    """Start from a backbone's weights, or from random ones, and train on the training rows.

    The weights that did best on the validation rows are kept. The model has the form `trained`, and `merged` beside it
    where the method adds parts of its own: the same answers from the backbone's plain structure. A training that was
    stopped or killed goes on from its last checkpoint at the next run, and ends with the same weights.

    Further inputs are used where the recipe names them: `base: $first` starts from the model of another step, with its
    tokenizer, in the place of a backbone; `teacher: $big` is who `distill` learns from; `before: $old` is the data set
    the model learnt earlier, for `replay` and `ewc`. With `base` and `before` the numbers tell what of it was
    forgotten, on its validation rows.
    """

    needs: ClassVar[Mapping[str, str]] = {
        "dataset": "dataset", "base": "model??", "teacher": "model??", "before": "dataset??",
    }  # fmt: skip
    in_place_of: ClassVar[Mapping[str, str]] = {"base": "backbone"}

    backbone: Backbone | None = slot({"pretrained": "asset:minilm"})
    """What is trained."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""

    teacher_version: str | None = Field(default=None, pattern=r"^[^@\s]+@[0-9]+$")
    """A published version as the teacher, such as `reviews@3`, in place of a step's model."""

    def taught(self, inputs: Mapping[str, Artifact], out: Draft, data: DataSet) -> Predictor | None:
        """The teacher, where there is one. Raises RecipeError for two, or for one that nobody listens to."""
        wanted = "teacher" in {name for one in self.techniques for name in one.beside} | {*data.task.beside}
        given = [name for name in ("teacher", "teacher_version") if name in inputs or getattr(self, name, None)]
        if len(given) > 1 or (given and not wanted):
            what = "there are two teachers" if len(given) > 1 else "nothing in this step learns from a teacher"
            raise RecipeError(what, where=given[-1], do="leave it out, or add `distill` to the techniques")
        if "teacher" in inputs:
            return earlier.teacher(inputs["teacher"].path, data.task.head())
        if not self.teacher_version:
            return None
        registry = Registry(out.store)
        return earlier.teacher(registry.open(registry.resolve(self.teacher_version)), data.task.head())
