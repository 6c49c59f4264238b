"""Our own techniques and methods, trained by several ranks; the weights each comes to, or why it is refused.

As a program it is one rank: python plugin_ranks.py FOLDER techniques/ema methods/lora …
"""

import hashlib
import json
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))

from conformance.suite import options
from danlu.core import plugin
from danlu.core.errors import DanluError
from danlu.core.launch import Place
from danlu.plugins.backbones.cnn import Cnn
from danlu.plugins.backbones.pretrained import Pretrained
from danlu.plugins.tasks.image_classification import ImageClassification
from danlu.plugins.tasks.text_classification import TextClassification
from danlu.testing import partners
from danlu.testing.bag import Bag
from danlu.training.ranks import joined, present
from technique_toys import Frames, Tones


def trial(case, folder):
    """The model that a case is tried with, its techniques and its options; `lora quantized=int8` sets one of them."""
    (family, name), (option, _, value) = case.split(" ")[0].split("/"), case.partition(" ")[2].partition("=")
    if family == "optimizers":
        return partners.Trial.of(TextClassification(), Bag()), (), {"optimizer": name}
    chosen = plugin.load(family, name)(**options(family, name, folder), **({option: value} if option else {}))
    if family == "methods":
        told = Pretrained(model=str(folder / ("filler" if name == "verbalizer" else "bert")), dropout=0.0)
        return partners.Trial.of(TextClassification(), told, chosen), (), {}
    own = {"spec_augment": (Tones(), Frames()), "cutmix": (ImageClassification(), Cnn(size="tiny"))}
    return partners.Trial.of(*own.get(name, (TextClassification(), Bag(dropout=0.1)))), (chosen,), {}


def come_to(case, folder):
    """The digest of the weights after two steps, or the refusal."""
    try:
        begun, techniques, more = trial(case, folder)
        begun.fit(techniques, steps=2, **more)
    except DanluError as fault:
        return {"error": str(fault)}
    digest = hashlib.sha256()
    for tensor in begun.module.state_dict().values():
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return {"sha256": digest.hexdigest()}


if __name__ == "__main__":
    here = Place.here()
    assert here is not None
    with joined(here):
        partners.Job = partial(partners.Job, ranks=present())
        found = {case: come_to(case, Path(sys.argv[1])) for case in sys.argv[2:]}
        sys.stdout.write(json.dumps(found))
