import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from augmenting import pieces
from danlu.blocks import picture_changes as changes
from danlu.blocks.pictures import PICTURE, picture_column
from danlu.blocks.pixels import open_picture
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.colour import Colour
from danlu.plugins.operators.crop import Crop
from danlu.plugins.operators.erase import Erase
from danlu.plugins.operators.flip import Flip
from danlu.plugins.operators.rand_augment import RandAugment
from danlu.plugins.operators.rotate import Rotate

CONTEXT = Context(Columns(("image",), ("label",)), "train", 3)
ALL = (Flip, Crop, Rotate, Colour, Erase, RandAugment)


def scene(colour=True, side=24):
    """Lighter to the right and the bottom, with a bright patch at the left."""
    down, right = np.mgrid[:side, :side]
    grey = (3 * right + 2 * down + 30).astype(np.uint8)
    grey[8:16, 2:6] = 250
    return np.stack([grey, grey // 2, 255 - grey], -1) if colour else grey


def table(n=6, colour=True):
    pictures = picture_column(np.roll(scene(colour), k, 0) for k in range(n))
    return pa.table({"image": pictures, "label": [str(k % 2) for k in range(n)], "n": list(range(n))})


def changed(operator, pixels):
    cells = pa.table({"image": picture_column([pixels]), "label": ["a"]})
    made, counts = operator.apply(cells, CONTEXT)
    assert counts.changed == 1
    return np.asarray(open_picture(made["image"].to_pylist()[1])).astype(int)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "grey"])
def test_a_copy_has_label_size_and_mode_of_its_row_and_another_content(kind, colour):
    before = table(colour=colour)
    after, counts = kind().apply(before, CONTEXT)
    assert (after.num_rows, counts.changed, after.schema) == (12, 6, before.schema)
    assert after["n"].to_pylist() == [n for n in range(6) for _ in range(2)]
    assert after["label"].to_pylist() == [str(n % 2) for n in range(6) for _ in range(2)]
    old, new = after["image"].to_pylist()[::2], after["image"].to_pylist()[1::2]
    assert old == before["image"].to_pylist()
    for one, other in zip(old, new, strict=True):
        a, b = open_picture(one), open_picture(other)
        assert (a.size, a.mode) == (b.size, b.mode)
        assert not np.array_equal(np.asarray(a), np.asarray(b))
    assert pieces(kind(), before, 4, CONTEXT).equals(after.combine_chunks())


def test_flip_is_exact():
    pixels = scene()
    assert np.array_equal(changed(Flip(), pixels), pixels[:, ::-1])
    assert np.array_equal(changed(Flip(axis="down"), pixels), pixels[::-1])


def test_crop_keeps_values_from_within():
    pixels = scene(colour=False)
    half = np.asarray(changes.crop(Image.fromarray(pixels), 0.25, 0.0, 0.0)).astype(int)
    assert abs(half.mean() - pixels[:12, :12].mean()) < 3
    assert np.array_equal(np.asarray(changes.crop(Image.fromarray(pixels), 1.0, 0.5, 0.5)), pixels)


def test_a_quarter_turn_and_the_drawn_angle():
    pixels = scene()
    assert np.array_equal(np.asarray(changes.rotate(Image.fromarray(pixels), 90)), np.rot90(pixels))
    small = np.abs(changed(Rotate(degrees=1), pixels) - pixels).mean()
    assert small < np.abs(changed(Rotate(degrees=180), pixels) - pixels).mean()


def test_light_changes_by_the_factor_and_hue_turns():
    grey = Image.new("L", (8, 8), 100)
    assert np.asarray(changes.brighten(grey, 1.3)).mean() == 130
    red = Image.new("RGB", (4, 4), (200, 0, 0))
    assert np.asarray(changes.turn_hue(red, 1 / 3))[0, 0].argmax() == 1
    pixels = scene()
    drawn = changed(Colour(contrast=0, saturation=0, hue=0, brightness=0.3), pixels) / np.maximum(pixels, 1)
    factor = np.median(drawn)
    assert 0.7 <= factor <= 1.3
    assert abs(factor - 1) > 0.001


def test_an_erased_rectangle_has_the_area_asked_for():
    pixels = np.full((40, 40), 128, np.uint8)
    hidden = (changed(Erase(least=0.25, most=0.25), pixels) != 128).mean()
    assert 0.22 < hidden < 0.28
    with pytest.raises(ValueError, match="more than most"):
        Erase(least=0.5, most=0.1)


@pytest.mark.parametrize("name", changes.RAND_AUGMENT)
def test_every_change_of_rand_augment_changes_more_with_more_strength(name):
    rng = np.random.default_rng(0)
    picture = Image.fromarray(scene())
    pixels = scene().astype(int)
    weak, strong = (np.asarray(changes.RAND_AUGMENT[name](picture, m, rng)).astype(int) for m in (0.1, 1.0))
    assert np.abs(strong - pixels).mean() > 1
    assert np.abs(strong - pixels).mean() >= np.abs(weak - pixels).mean() or name in ("autocontrast", "equalize")


def test_missing_and_broken_pictures():
    cells = pa.array([None, {"bytes": None, "path": None}], PICTURE)
    after, counts = Flip().apply(pa.table({"image": cells, "label": ["a", "b"]}), CONTEXT)
    assert (after.num_rows, counts.changed) == (2, 0)
    broken = pa.array([{"bytes": b"no picture", "path": None}], PICTURE)
    with pytest.raises(DataError, match="not a picture"):
        Flip().apply(pa.table({"image": broken, "label": ["a"]}), CONTEXT)


def test_a_column_of_paths_is_left_alone():
    paths = pa.table({"image": ["/nowhere.png"], "label": ["a"]})
    after, counts = Flip().apply(paths, CONTEXT)
    assert after.equals(paths)
    assert counts.notes == ["the column image holds no picture and was left alone"]
