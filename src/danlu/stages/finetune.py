"""Train a backbone for the task of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from danlu.contracts import Backbone, Method, Metric, Technique, slot
from danlu.training.teaching import Teaching


class Finetune(Teaching):
    """Start from a backbone's weights, or from random ones, and train on the training rows.

    The weights that did best on the validation rows are kept. The model has the form `trained`, and `merged` beside it
    where the method adds parts of its own: the same answers from the backbone's plain structure. A training that was
    stopped or killed goes on from its last checkpoint at the next run, and ends with the same weights.

    `base: $pretrained` starts from the model of another step, with its tokenizer, in the place of a backbone.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "base": "model??"}
    in_place_of: ClassVar[Mapping[str, str]] = {"base": "backbone"}

    backbone: Backbone | None = slot({"pretrained": "asset:minilm"})
    """What is trained."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""
