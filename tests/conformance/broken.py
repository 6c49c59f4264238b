"""For every check a plug-in that breaks exactly that promise, and what the check must say of it.

`BROKEN` is the one list: check → (how to make the broken plug-in, what its fault reads like).
"""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from pydantic import ConfigDict, Field, field_serializer
from torch import nn

from danlu.blocks.grams import GramProcessor
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Compressor, Counts, Example, Method, Operator, Source, Stage, Technique, Tracker
from danlu.core import plugin
from danlu.plugins.compressors.int8 import Int8
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.metrics.accuracy import Accuracy
from danlu.plugins.metrics.size import Size
from danlu.plugins.runtimes.onnx import Onnx
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing.bag import Bag

_ticks = itertools.count()

# ---- every family ----------------------------------------------------------------------------------------------------


class Silent(Method):
    """Says what it is for, but not what its option does."""

    size: int = 1


class Rounding(Method):
    """Writes its option down less exactly than it is."""

    size: float = 1.5
    """A number."""

    @field_serializer("size")
    def rounded(self, value: float) -> int:
        return round(value)


class Lenient(Method):
    """Takes any option."""

    model_config = ConfigDict(extra="allow")


class Ticking(Method):
    """Has another default every time."""

    seed: int = Field(default_factory=lambda: next(_ticks))
    """A number."""


class Headless(Method):
    """Its main field is none."""

    main: ClassVar[str] = "size"


class Misspelt(Method):
    """Wants what nobody gives."""

    wants: ClassVar[dict[str, Any]] = {"modality": ("txt",)}


def heavy(folder: Path) -> Any:
    """An operator whose file imports torch, as a stranger's file."""
    path = folder / "heavy.py"
    path.write_text(
        "import torch\n"
        "from danlu.contracts import Operator\n"
        "class Heavy(Operator):\n"
        "    def apply(self, table, context):\n"
        "        return table, None\n"
    )
    (entry,) = plugin.add_file(path)
    return plugin.load("operators", entry.name)()


# ---- sources ---------------------------------------------------------------------------------------------------------


class Restless(Source):
    """Other rows every time."""

    def rows(self, split=""):
        yield pa.record_batch({"text": [os.urandom(4).hex()]})


class Uneven(Source):
    """A split with a column less."""

    def splits(self):
        return ("test",)

    def rows(self, split=""):
        yield pa.record_batch({"text": ["a"]} if split else {"text": ["a"], "label": ["b"]})


class Obliging(Source):
    """Gives rows of any split it is asked for."""

    def rows(self, split=""):
        yield pa.record_batch({"text": ["a"]})


class Unpointed(Source):
    """Reads a file, and does not say that its option is one."""

    path: str
    """The file."""

    def rows(self, split=""):
        yield pa.record_batch({"text": Path(self.path).read_text().splitlines()})


def unpointed(folder: Path) -> Any:
    (folder / "rows.txt").write_text("one\ntwo\n")
    return Unpointed(path=str(folder / "rows.txt"))


# ---- operators -------------------------------------------------------------------------------------------------------


def counted(table, after):
    return after, Counts(table.num_rows, after.num_rows)


class Stealthy(Operator):
    """Changes rows and counts none."""

    def apply(self, table, context):
        name = context.columns.ask[0]
        changed = pa.array([f"{text}!" for text in table.column(name).to_pylist()])
        return counted(table, table.set_column(table.column_names.index(name), name, changed))


class Shuffled(Operator):
    """Another order every time."""

    def apply(self, table, context):
        return counted(table, table.take(pa.array(np.random.permutation(table.num_rows))))


class Careless(Operator):
    """Loses the last column."""

    def apply(self, table, context):
        return counted(table, table.drop_columns(table.column_names[-1]))


class Hasty(Operator):
    """Takes the first row for granted."""

    def apply(self, table, context):
        table.to_pylist()[0]
        return counted(table, table)


# ---- tasks -----------------------------------------------------------------------------------------------------------


class Greedy(TextClassification):
    """Gives a row too many."""

    def sample(self, n):
        return super().sample(n + 1)


class Chatty(TextClassification):
    """Adds a word to the input on its way into a row."""

    def row(self, x, answer):
        return super().row(f"{x} amber", answer)


class Forgetful(TextClassification):
    """Drops the end of what a request says."""

    def from_json(self, value):
        return super().from_json(value)[:3]


class Trusting(TextClassification):
    """Takes anything for a text."""

    def from_json(self, value):
        return str(value)


class Gambling(TextClassification):
    """Draws from a generator of its own."""

    def vary(self, example, rng):
        return Example({**example.inputs, "noise": np.random.random()}, example.targets)


class Averaging(TextClassification):
    """Takes the mean of the batch."""

    def loss(self, outputs, batch):
        loss = super().loss(outputs, batch)
        return loss.mean().expand_as(loss)


class Lopsided(TextClassification):
    """Its distance has a unit."""

    def distance(self, a, b):
        return 100 * super().distance(a, b)


class Mislabelled(TextClassification):
    """Its schema is of something else."""

    def answer_schema(self):
        return {"type": "integer"}


class Clairvoyant(TextClassification):
    """Reads the answer off the input, so that nothing need be learnt."""

    def decode(self, x, examples, outputs, processor):
        return next(self.gold(row) for row in self.sample(100) if self.ask(row) == x)


# ---- backbones -------------------------------------------------------------------------------------------------------


class Whimsical(Bag):
    """Draws its weights from elsewhere."""

    def start(self, head, processor):
        module, fresh = super().start(head, processor)
        with torch.no_grad():
            module.head.bias += torch.from_numpy(np.random.default_rng(time.time_ns()).random(head.size))
        return module, fresh


class Lossy(GramProcessor):
    """Does not keep all it learnt."""

    @classmethod
    def load(cls, folder):
        loaded = GramProcessor.load(folder)
        return cls(loaded.names[::-1], loaded.idf)


class Losing(Bag):
    """Its processor forgets on the disk."""

    processor_class: ClassVar[type[Any]] = Lossy


class Entangled(Bag):
    """Its processor's class lies in a module that imports torch."""

    processor_class: ClassVar[type[Any]] = SelfTaught


class _Changed(nn.Module):
    """A module, with a change to what goes in or comes out."""

    def __init__(self, inner, inputs=None, outputs=None):
        super().__init__()
        self.inner, self.inputs, self.outputs = inner, inputs, outputs

    def forward(self, **given):
        given = self.inputs(given) if self.inputs else given
        found = self.inner(**given)
        return {"logits": self.outputs(found["logits"])} if self.outputs else found


class Unmasked(Bag):
    """Padding has a weight."""

    def build(self, head, processor, folder):
        return _Changed(
            super().build(head, processor, folder), inputs=lambda given: given | {"weights": given["weights"] + 0.1}
        )

    def start(self, head, processor):
        return self.build(head, processor, None), []


class Contagious(Unmasked):
    """One row without a known word moves the whole batch."""

    def build(self, head, processor, folder):
        def spread(given):
            empty = (given["weights"].abs().sum(1) == 0).any()
            return given | {"weights": given["weights"] + 5 * empty}

        return _Changed(Bag.build(self, head, processor, folder), inputs=spread)


class Deaf(Unmasked):
    """Learns how often a label is right, and nothing of the text."""

    def build(self, head, processor, folder):
        return _Changed(
            Bag.build(self, head, processor, folder), inputs=lambda given: given | {"weights": 0 * given["weights"]}
        )


# ---- methods ---------------------------------------------------------------------------------------------------------


class Meddling(Method):
    """Changes weights while it wraps."""

    def wrap(self, model):
        with torch.no_grad():
            model.head.weight *= 0.5
        return model


class Timid(Method):
    """Trains next to nothing."""

    def wrap(self, model):
        for name, weight in model.named_parameters():
            weight.requires_grad = name == "head.bias"
        return model


class Dropping(LoRA):
    """Merges without adding what was learnt."""

    def merge(self, model):
        merged = super().merge(model)
        with torch.no_grad():
            merged.head.weight *= -1
        return merged


class Drifting(LoRA):
    """Its reference is the model that is trained."""

    def without(self, model):
        return lambda **inputs: {name: value.detach() for name, value in model(**inputs).items()}


# ---- compressors -----------------------------------------------------------------------------------------------------


class Idle(Compressor):
    """Works on nothing."""


class Pretending(Int8):
    """Hands a module, and an export, on as they were."""

    def wrap(self, model):
        return model

    def compress(self, model, batches):
        return model

    def compress_form(self, folder, calls, out):
        for path in folder.iterdir():
            (out / path.name).write_bytes(path.read_bytes())


class PerBatch(Int8):
    """The usual dynamic int8: activations share one scale, so that an answer depends on its batch."""

    tolerance: ClassVar[float] = 1.0

    def compress_form(self, folder, calls, out):
        quantize_dynamic(folder / "model.onnx", out / "model.onnx", weight_type=QuantType.QInt8)
        (out / "graphs.json").write_bytes((folder / "graphs.json").read_bytes())


# ---- runtimes --------------------------------------------------------------------------------------------------------


class Frozen(Onnx):
    """Listens to the first call only, so that every length is fixed."""

    def export(self, module, calls, folder):
        super().export(module, calls[:1], folder)


class Stamped(Onnx):
    """Writes the time beside the graph."""

    def export(self, module, calls, folder):
        super().export(module, calls, folder)
        (folder / "when.txt").write_text(str(time.time_ns()))


class _Form:
    """A form that is empty."""

    module = None


class Blind(Onnx):
    """Loads whatever there is."""

    def load(self, folder, torch_module):
        return _Form()


# ---- metrics ---------------------------------------------------------------------------------------------------------


class Inverted(Accuracy):
    """Calls its best number its worst."""

    better: ClassVar[str] = "lower"


class Unweighted(Accuracy):
    """Ignores the weights."""

    def value(self, read, weights):
        return float(read.mean())


class Impatient(Accuracy):
    """Looks at the first half of the rows."""

    def read(self, answers, gold):
        return super().read(answers, gold) * (np.arange(len(gold)) < len(gold) / 2)


class Nameless(Size):
    """Measures no `value`."""

    def measure(self, ask, inputs, folder):
        return {"megabytes": 1.0}


# ---- trackers, stages, techniques ------------------------------------------------------------------------------------


class Picky(Tracker):
    """Wants a text in every event."""

    def on(self, event):
        event.data["text"].upper()


class Scribbling(Tracker):
    """Writes into what it hears."""

    def on(self, event):
        event.data["heard"] = True


class Vague(Stage):
    """Its needs are a list."""

    needs: ClassVar[Any] = ["dataset"]
    makes: ClassVar[str] = "model"

    def run(self, inputs, out, events):
        raise NotImplementedError


class Asleep(Technique):
    """Does nothing."""


class Hoarding(Technique):
    """Counts its steps on itself, where a checkpoint does not find them."""

    seen: ClassVar[dict[int, int]] = {}

    def loss(self, loss, run):
        steps = self.seen[id(run)] = self.seen.get(id(run), 0) + 1
        return loss * (1 + steps)


BROKEN: dict[str, tuple[Any, str]] = {
    "check_it_is_documented": (Silent, "the option size has no docstring"),
    "check_settings_survive_a_recipe": (Rounding, "choose.plain.*is another plug-in"),
    "check_settings_are_strict": (Lenient, "accepts an option that it does not have"),
    "check_the_index_tells_the_truth": (Ticking, "the default of seed is not"),
    "check_the_main_field_exists": (Headless, "main is 'size', which is no option"),
    "check_facts_are_known_words": (Misspelt, "wants modality = txt, which no plug-in gives"),
    "check_it_imports_no_torch": (heavy, "imports torch"),
    "check_rows_are_the_same_every_time": (Restless, "the rows are others the second time"),
    "check_every_split_has_the_same_columns": (Uneven, "its split 'test' has another schema"),
    "check_an_unknown_split_is_refused": (Obliging, "a split that it does not have is accepted"),
    "check_a_changed_file_is_noticed": (unpointed, "a change of the file path is not noticed"),
    "check_counts_add_up": (Stealthy, "rows are new or changed, 0 are counted"),
    "check_an_operator_does_the_same_every_time": (Shuffled, "comes out differently the second time"),
    "check_no_column_is_lost": (Careless, "the columns were"),
    "check_an_empty_table_is_no_accident": (Hasty, "a table without rows raises IndexError"),
    "check_the_sample_is_what_it_says": (Greedy, r"sample\(1\) gives 2 rows"),
    "check_a_row_and_its_answer_are_inverse": (Chatty, r"ask\(row\(x, answer\)\) is another input"),
    "check_a_request_survives_json": (Forgetful, "an input changes on its way through JSON"),
    "check_what_is_no_input_is_refused": (Trusting, "the request None is accepted"),
    "check_examples_are_not_random": (Gambling, r"vary\(\) draws from another generator"),
    "check_the_loss_is_one_sum_per_example": (Averaging, "the loss of an example is another in a batch"),
    "check_answers_can_be_compared": (Lopsided, "a distance is .* at most 1"),
    "check_answers_match_their_schema": (Mislabelled, "is not what its schema says"),
    "check_the_sample_can_be_learnt": (Clairvoyant, "an untrained model gets 100% of the sample right"),
    "check_the_structure_is_no_accident": (Whimsical, "head.bias is drawn from elsewhere"),
    "check_the_processor_survives_the_disk": (Losing, "the processor gives other arrays"),
    "check_the_processor_needs_no_torch": (Entangled, "imports torch"),
    "check_alone_is_as_in_a_batch": (Unmasked, "is padding masked"),
    "check_odd_inputs_hurt_nobody": (Contagious, "moves its neighbour's answer"),
    "check_every_task_that_fits_can_be_learnt": (Deaf, "it learns 50% of the sample"),
    "check_wrap_changes_structure_only": (Meddling, r"wrap\(\) changes the weight head.weight"),
    "check_a_method_learns_and_freezes": (Timid, "it learns .*% of the sample"),
    "check_merging_keeps_the_answers": (Dropping, "merging moves answers by"),
    "check_the_reference_stays": (Drifting, "the reference moved by"),
    "check_it_works_on_something": (Idle, r"neither compress\(\) nor compress_form"),
    "check_a_module_gets_smaller": (Pretending, "bytes of weights, now it has"),
    "check_an_exported_form_gets_smaller": (PerBatch, "alone and in a batch differ"),
    "check_doing_nothing_is_an_error": (Pretending, "a module with nothing to compress is accepted"),
    "check_it_agrees_on_lengths_not_heard": (Frozen, "does not answer what it never heard"),
    "check_an_export_can_be_repeated": (Stamped, "when.txt is another at the second export"),
    "check_a_strange_folder_is_refused": (Blind, "a folder that holds no export is accepted"),
    "check_a_form_has_gradients_or_says_so": (Blind, "form.module is a NoneType"),
    "check_perfect_answers_are_best": (Inverted, "perfect answers score 1, worse ones 0"),
    "check_a_weight_is_a_repetition": (Unweighted, "weights give"),
    "check_the_order_of_rows_does_not_matter": (Impatient, "in another order the same rows score"),
    "check_a_form_is_measured_from_outside": (Nameless, "no `value`"),
    "check_a_tracker_survives_odd_events": (Picky, "raises KeyError"),
    "check_a_tracker_changes_nothing": (Scribbling, "changes the data of an event"),
    "check_needs_and_makes_are_data": (Vague, r"needs is \['dataset'\]"),
    "check_it_changes_the_training": (Asleep, "the weights are the same as without it"),
    "check_a_killed_training_goes_on": (Hoarding, r"keep what must survive in run.kept"),
}
