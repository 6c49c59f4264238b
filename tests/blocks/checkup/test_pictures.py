import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from danlu.blocks import checkup
from danlu.blocks.checkup import pictures
from danlu.blocks.pictures import PICTURE
from danlu.blocks.sniff import Sniffed
from danlu.contracts import Columns


def picture(seed, size=(48, 48), mode="RGB", form="PNG"):
    blocks = np.random.default_rng(seed).integers(0, 255, (6, 6, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC).convert(mode).save(out, form)
    return out.getvalue()


def checked(cells):
    table = pa.table(
        {
            "image": pa.array([None if cell is None else {"bytes": cell, "path": None} for cell in cells], PICTURE),
            "file": [f"{k}.png" for k in range(len(cells))],
        }
    )
    subject = checkup.Subject(
        table=table, total=len(cells), places=np.arange(len(cells)), columns=Columns(("image",)), sniffed=Sniffed()
    )
    return pictures.check(subject)


USUAL = [picture(seed) for seed in range(10)]


def test_usual_pictures_are_told_by_their_size_alone():
    found = checked(USUAL)
    assert [(one.severity, one.what) for one in found] == [("note", "10 pictures of 1 size, the middle one 48 × 48")]


@pytest.mark.parametrize(("odd", "what", "severity"), [
    (USUAL[0][:90], "1 picture can't be opened", "stop"),
    (b"", "1 picture can't be opened", "stop"),
    (picture(50, (8, 8)), "1 picture is less than 16 pixels wide or high", "warn"),
    (picture(51, (300, 30)), "1 picture is 4 times as long as wide, or more", "warn"),
    (picture(52, mode="L"), "1 picture is of other colours than the rest (RGB)", "warn"),
    (picture(3, form="JPEG"), "1 picture is the same as an earlier one, or nearly", "warn"),
])  # fmt: skip
def test_an_odd_picture_is_found(odd, what, severity):
    found = [one for one in checked([*USUAL, odd]) if one.severity != "note"]
    assert [(one.what, one.severity, one.count) for one in found] == [(what, severity, 1)]
    assert found[0].examples[-1].row == 11
    assert "10.png" in found[0].examples[-1].text


def test_a_missing_picture_is_no_fault_of_pictures():
    assert len(checked([*USUAL, None])) == 1


def test_a_picture_to_look_at_is_inside_the_report():
    found = checked([*USUAL, picture(50, (8, 8))])[1]
    assert found.examples[0].picture.startswith("data:image/png;base64,")


def test_no_pictures():
    table = pa.table({"text": ["a"]})
    subject = checkup.Subject(table=table, total=1, places=np.arange(1), columns=Columns(("text",)), sniffed=Sniffed())
    assert pictures.check(subject) == "there are no pictures"
