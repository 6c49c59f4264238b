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
        """Ask the samples, tell them, and keep them beside the checkpoints until the model is written.

        A disk that refuses them is a warning: training is worth more.
        """
        answers = predictor(self.samples) if self.samples else []
        said = [{"step": step, "input": x, "answer": a} for x, a in zip(self.samples, answers, strict=True)]
        for one in said:
            text = one["answer"].get("text", one["answer"]) if isinstance(one["answer"], dict) else one["answer"]
            events.note(f"at step {step}: {one['input']} … {text}")
        try:
            with (out.work / _SAMPLES).open("a", encoding="utf-8") as file:
                file.write("".join(f"\n{json.dumps(one, ensure_ascii=False)}" for one in said))
        except OSError as error:
            events.warn(f"the samples of step {step} are told here alone; they can't be kept: {error}")

    def finish(self, out: Draft) -> None:
        """`samples.jsonl`: what the model said of each sample at each look; a step that was repeated counts once."""
        path = out.work / _SAMPLES
        if self.samples and path.is_file():
            said = [one for line in path.read_text("utf-8", errors="replace").split("\n") if (one := _read(line))]
            once = {(one["step"], json.dumps(one["input"])): one for one in said}
            lines = (json.dumps(one, ensure_ascii=False) + "\n" for one in once.values())
            (out.path / _SAMPLES).write_text("".join(lines), encoding="utf-8")


def _read(line: str) -> dict[str, Any] | None:
    """A line of the samples; None for one that a kill cut short, whose look was repeated after it."""
    try:
        found: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return found
