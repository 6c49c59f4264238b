"""What SpecAugment hides of a spectrogram, on arrays."""

import numpy as np
import pytest
import torch

from danlu.contracts import Batch
from danlu.core.errors import RecipeError
from danlu.plugins.techniques.spec_augment import SpecAugment
from technique_toys import Flat, numbers, trained


def conforming(folder):
    return {"spec_augment": {"longest": 3, "widest_band": 2}}


def hidden(technique, shape=(5, 60, 40), seed=0):
    batch = Batch({"x": torch.ones(shape), "rate": torch.ones(shape[0])}, {}, torch.ones(shape[0]))
    changed = technique.vary(batch, None, np.random.default_rng(seed))
    assert torch.equal(changed.inputs["rate"], batch.inputs["rate"])
    assert torch.equal(batch.inputs["x"], torch.ones(shape))
    return changed.inputs["x"] == 0


def runs(flags):
    """The lengths of what is hidden one after the other."""
    edges = torch.diff(torch.cat([torch.zeros(1), flags.float(), torch.zeros(1)]))
    return (torch.where(edges < 0)[0] - torch.where(edges > 0)[0]).tolist()


@pytest.mark.parametrize("layout", ["frames_bands", "bands_frames"])
def test_whole_frames_and_whole_bands_are_hidden_each_example_its_own(layout):
    widths, drawn = [], set()
    for seed in range(20):
        found = hidden(SpecAugment(bands=1, widest_band=6, stretches=1, longest=11, layout=layout), seed=seed)
        found = found if layout == "frames_bands" else found.transpose(1, 2)
        for one in found:
            frames, bands = one.all(1), one.all(0)
            assert torch.equal(one, frames[:, None] | bands[None])
            longest = (11, 6)
            assert all(
                length <= most for flags, most in ((frames, longest[0]), (bands, longest[1])) for length in runs(flags)
            )
            widths += runs(bands)
            drawn.add(tuple(frames.tolist()))
    assert set(widths) == {1, 2, 3, 4, 5, 6}
    assert len(drawn) > 60


def test_as_many_as_asked_and_never_more_than_the_share():
    assert max(len(runs(one.all(1))) for one in hidden(SpecAugment(bands=0, stretches=4, longest=3))) > 2
    assert hidden(SpecAugment(bands=0, stretches=1, longest=500, most=0.2)).all(2).sum(1).max() <= 12


def test_the_same_generator_hides_the_same():
    assert torch.equal(hidden(SpecAugment()), hidden(SpecAugment()))
    assert not torch.equal(hidden(SpecAugment()), hidden(SpecAugment(), seed=1))


def test_what_is_no_spectrogram_is_refused():
    with pytest.raises(RecipeError, match="no spectrogram"):
        trained(Flat(4), numbers((4,)), (SpecAugment(),))
    with pytest.raises(RecipeError, match="neither bands nor stretches"):
        trained(Flat(40), numbers((8, 5)), (SpecAugment(bands=0, stretches=0),))
