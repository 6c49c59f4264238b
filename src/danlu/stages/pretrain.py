"""Train a backbone on texts or pictures without labels."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from danlu.contracts import Backbone, Method, Metric, Technique, slot
from danlu.training.teaching import Teaching

if TYPE_CHECKING:
    from danlu.core.artifact import Draft
    from danlu.core.events import Events
    from danlu.predictor import Predictor

_SAMPLES = "samples.jsonl"


class Pretrain(Teaching):
    """Train on the data's own words: the task of the data set is one that needs no labels, such as `masked_lm`.

    What it makes is a model: `evaluate` measures it, `publish` ships it, and `finetune` starts from it with
    `base: $step`. `base` here goes on training the model of another step on other texts.
    """

    needs: ClassVar[Mapping[str, str]] = {"dataset": "dataset", "base": "model??"}
    in_place_of: ClassVar[Mapping[str, str]] = {"base": "backbone"}

    backbone: Backbone | None = slot({"bert": "mini"})
    """What is trained; a fresh one unless it is `pretrained`."""
    method: Method = slot("full")
    """Which of its weights are trained, and how."""
    techniques: tuple[Technique, ...] = ()
    """What is done at the moments of a step, in this order."""
    watch: Metric | None = None
    """What is looked at on the validation rows, to keep the best weights and to stop early; the loss unless given."""
    samples: tuple[Any, ...] = ()
    """Inputs whose answers are shown at every look at the validation rows, as `predict` would give them."""

    def looked(self, predictor: Predictor, step: int, out: Draft, events: Events) -> None:
        """Ask the samples, tell them, and keep them beside the checkpoints until the model is written."""
        answers = predictor(self.samples) if self.samples else []
        with (out.work / _SAMPLES).open("a", encoding="utf-8") as file:
            for x, answer in zip(self.samples, answers, strict=True):
                file.write(json.dumps({"step": step, "input": x, "answer": answer}, ensure_ascii=False) + "\n")
                text = answer.get("text", answer) if isinstance(answer, dict) else answer
                events.note(f"at step {step}: {x} … {text}")

    def finish(self, out: Draft) -> None:
        """`samples.jsonl`: what the model said of each sample at each look; a step that was repeated counts once."""
        path = out.work / _SAMPLES
        if self.samples and path.is_file():
            said = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
            once = {(one["step"], json.dumps(one["input"])): one for one in said}
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in once.values())
            (out.path / _SAMPLES).write_text("".join(lines), encoding="utf-8")
