"""Small plug-ins for tests of recipes and plans: text is sown, grown and picked, and every run is written to a log.

Imported as a stranger's file (`--import toys.py`), so that their code is identified by this file's SHA-256.
"""

import os
import time
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from danlu.contracts import Backbone, Files, Location, Method, Metric, Operator, Settings, Stage, slot


def log(word):
    if "TOY_LOG" in os.environ:
        with Path(os.environ["TOY_LOG"]).open("a") as file:
            file.write(f"{word}\n")


class ToyFull(Method):
    """Everything."""


class ToyLora(Method):
    """A little. Wants descent."""

    main = "rank"
    wants = {"learning": ("descent",)}

    rank: int = Field(8, ge=1, le=512)
    """Width of the update."""
    alpha: float = Field(16, gt=0)


class ToyNet(Backbone):
    """Learns by descent, from text."""

    gives = {"learning": "descent"}
    wants = {"modality": ("text",)}
    main = "place"

    place: Location = "asset:minilm"
    layers: int = 2

    def build(self, head, processor, folder):
        raise NotImplementedError


class ToyCounts(Backbone):
    """Learns by counting, from anything."""

    gives = {"learning": "counting"}

    def build(self, head, processor, folder):
        raise NotImplementedError


class ToyScore(Metric):
    """A number."""

    wants = {"answer": ("label",)}
    beta: float = 1.0


class ToyUpper(Operator):
    """Upper case."""

    wants = {"modality": ("text",)}
    gives: ClassVar[dict] = {}
    form: Literal["NFC", "NFKC"] = "NFKC"

    def apply(self, table, context):
        raise NotImplementedError


class ToyPicky(Method):
    """Has a rule between two options."""

    low: int = 1
    high: int = 2

    @model_validator(mode="after")
    def ordered(self):
        if self.low > self.high:
            raise ValueError(f"low ({self.low}) must not be above high ({self.high})")
        return self


class Shares(Settings):
    """Parts of a whole."""

    validation: float = Field(0.1, ge=0, lt=1)
    test: float = Field(0.2, ge=0, lt=1)


class ToySow(Stage):
    """Reads a file of words."""

    makes = "seeds"
    gives = {"modality": "text", "answer": "label"}

    words: Files
    """The words to sow."""
    operators: list[Operator] = []
    shares: Shares = Shares()
    limits: dict[str, float] = {}
    mode: Literal["all", "some"] = "all"
    quick: bool = True
    note: str | None = None
    amount: int | str = 3

    def run(self, inputs, out, events):
        log("sow")
        text = Path(self.words).read_text()
        (out.path / "seeds.txt").write_text(text if self.mode == "all" else text[:3])
        out.numbers["words"] = len(text.split())


class ToyGrow(Stage):
    """Grows seeds in steps, with a checkpoint after each."""

    needs = {"seeds": "seeds"}
    makes = "plant"

    backbone: Backbone = slot("toy_net")
    method: Method = slot("toy_full")
    steps: int = Field(3, ge=0)
    wait: float = 0.0
    files: int = 1
    fail: str = ""

    def run(self, inputs, out, events):
        log("grow")
        checkpoint = out.work / "checkpoint"
        begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(begin, self.steps):
            events.progress("growing", step + 1, self.steps, "steps")
            time.sleep(self.wait)
            log(f"step {step}")  # before it is saved: a kill in between does the step twice, and loses no word of it
            temporary = out.work / "checkpoint.new"
            temporary.write_text(str(step + 1))
            temporary.replace(checkpoint)
        if self.fail:
            (out.path / "half.txt").write_text("half")
            raise {"value": ValueError, "interrupt": KeyboardInterrupt, "disk": OSError}[self.fail](28, "planted")
        for k in range(self.files):
            (out.path / f"part{k}").mkdir()
            (out.path / f"part{k}" / "plant.txt").write_text(inputs["seeds"].file("seeds.txt").read_text() * (k + 1))
        out.numbers["height"] = self.steps


class ToyPick(Stage):
    """Judges a plant; soil is optional."""

    needs = {"seeds": "seeds", "plant": "plant", "soil": "soil?"}
    makes = "score"

    metrics: list[Metric] = ["toy_score"]
    name: str = "nobody"

    def run(self, inputs, out, events):
        log("pick")
        (out.path / "score.txt").write_text(f"{self.name} {sorted(inputs)}")


class ToyShip(Stage):
    """Acts outside its folder, so it is asked whether that is still so."""

    needs = {"score": "score"}
    makes = "parcel"

    def run(self, inputs, out, events):
        log("ship")
        (out.store / "shipped").write_text("yes")
        (out.path / "parcel.txt").write_text("parcel")

    def still(self, artifact, store):
        return (store / "shipped").exists()
