"""Broken backbones, methods, compressors and runtimes; see `broken`."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import numpy as np
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import nn

from danlu.blocks.grams import GramProcessor
from danlu.blocks.taught import SelfTaught
from danlu.contracts import Compressor, Method
from danlu.plugins.compressors.int8 import Int8
from danlu.plugins.methods.lora import LoRA
from danlu.plugins.runtimes.onnx import Onnx
from danlu.testing.bag import Bag

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

    wants: ClassVar[dict[str, tuple[str, ...]]] = {"modality": ("text",), "head": ("input",), "answer": ("label",)}

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
