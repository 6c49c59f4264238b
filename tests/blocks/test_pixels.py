"""What is taken for a picture, and what is refused; the scale is that of the training pictures."""

from __future__ import annotations

import base64
import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from danlu.blocks.pixels import ImageProcessor, encode_picture, from_base64, open_picture, to_base64
from danlu.core.errors import DataError

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], 2)


def file_of(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


@pytest.mark.parametrize("array", [GREY, COLOUR])
def test_every_way_to_give_a_picture_is_the_same(array, tmp_path: Path) -> None:
    data = file_of(Image.fromarray(array))
    path = tmp_path / "a.png"
    path.write_bytes(data)
    cells = [
        {"bytes": data, "path": None},
        {"bytes": None, "path": str(path)},
        {"bytes": data, "path": "elsewhere.png"},
    ]
    given_as = [data, bytearray(data), path, str(path), Image.open(path), array, *cells, from_base64(to_base64(path))]
    for x in given_as:
        assert np.array_equal(np.asarray(open_picture(x)), array)


def test_kinds_of_pictures() -> None:
    grey16 = Image.fromarray(GREY.astype(np.uint16) * 256)
    assert np.array_equal(np.asarray(open_picture(file_of(grey16))), GREY)
    assert open_picture(Image.fromarray(GREY > 100)).mode == "L"
    assert open_picture(Image.fromarray(COLOUR).convert("P")).mode == "RGB"
    assert open_picture(Image.fromarray(COLOUR).convert("CMYK")).mode == "RGB"
    for kind in ("JPEG", "WEBP", "BMP", "GIF", "TIFF"):
        assert open_picture(file_of(Image.fromarray(COLOUR), kind)).size == (8, 6)
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert np.asarray(open_picture(clear)).min() == 255
    turned = Image.Exif()
    turned[0x0112] = 6
    assert open_picture(file_of(Image.fromarray(COLOUR), "JPEG", exif=turned)).size == (6, 8)


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    for name, data in {
        "text.png": b"hello",
        "empty.png": b"",
        "vector.svg": b"<svg/>",
        "cut.png": file_of(Image.fromarray(COLOUR))[:60],
    }.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match=f"{name}: is not a picture that can be read"):
            open_picture(tmp_path / name)
    with pytest.raises(DataError, match="the picture: is not a picture that can be read"):
        open_picture(b"hello")
    with pytest.raises(DataError, match=r"no\.png: there is no such picture"):
        open_picture("no.png")
    for nothing in (None, 5, {"bytes": None, "path": None}):
        with pytest.raises(DataError, match="a picture is a path, bytes"):
            open_picture(nothing)
    for array in (GREY / 255, COLOUR[..., :2], np.zeros((2, 2, 2, 2), np.uint8)):
        with pytest.raises(DataError, match=r"an array of .* is not a picture"):
            open_picture(array)


@settings(max_examples=100, deadline=None)
@given(place=st.integers(0, 80), value=st.integers(0, 255))
def test_a_damaged_file_is_a_picture_or_a_data_error(place: int, value: int) -> None:
    data = bytearray(file_of(Image.fromarray(COLOUR)))
    data[place % len(data)] = value
    with contextlib.suppress(DataError):
        open_picture(bytes(data))


@pytest.mark.parametrize("side", [7100, 14000])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_small_file_with_a_huge_picture_is_refused(side: int) -> None:
    bomb = file_of(Image.new("1", (side, side)))
    assert len(bomb) < 40_000
    with pytest.raises(DataError, match="the picture is too large"):
        open_picture(bomb)


def test_base64() -> None:
    data = file_of(Image.fromarray(GREY))
    text = base64.b64encode(data).decode()
    assert from_base64(text) == from_base64({"base64": text}) == from_base64(f"data:image/png;base64,{text}") == data
    for wrong in ("not base64!", "YQ", "é"):
        with pytest.raises(DataError, match="is not base64"):
            from_base64(wrong)
    for wrong in (5, None, [text], {"path": "/etc/passwd"}):
        with pytest.raises(DataError, match="a picture in a request is base64 text"):
            from_base64(wrong)
    assert open_picture(encode_picture(GREY)).size == (8, 6)


def test_grey_if_all_are_the_median_size_and_a_scale_of_mean_0_and_deviation_1(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = [rng.integers(0, 200, (h, 10), dtype=np.uint8) for h in (8, 9, 30)]
    learnt = ImageProcessor.learn(grey)
    assert (learnt.height, learnt.width, learnt.channels) == (9, 10, 1)
    values = learnt.inputs(grey[1])["pixel_values"]
    assert values.shape == (1, 9, 10)
    assert values.dtype == np.float32
    assert abs(values.mean()) < 0.2
    assert abs(values.std() - 1) < 0.2
    assert ImageProcessor.learn([*grey, COLOUR]).channels == 3
    assert ImageProcessor.learn([np.zeros((300, 200), np.uint8)]).height == 64
    assert ImageProcessor.learn([np.zeros((300, 200), np.uint8)], 96).inputs(GREY)["pixel_values"].shape == (1, 96, 96)
    learnt.save(tmp_path)
    assert ImageProcessor.load(tmp_path) == learnt
    assert np.array_equal(
        ImageProcessor.load(tmp_path).inputs(COLOUR)["pixel_values"], learnt.inputs(COLOUR)["pixel_values"]
    )


def test_a_training_picture_that_is_none_is_named() -> None:
    with pytest.raises(DataError, match="training picture 2, the picture: is not a picture"):
        ImageProcessor.learn([GREY, b"hello"])
    with pytest.raises(DataError, match="no picture to learn the scale from"):
        ImageProcessor.learn([])


def test_settings_that_can_not_be_read(tmp_path: Path) -> None:
    for text in (
        "{",
        "[]",
        '{"mean": [0], "std": [1]}',
        '{"mean": [0], "std": [1], "height": 1, "width": 1, "hook": 1}',
    ):
        (tmp_path / "pixels.json").write_text(text)
        with pytest.raises(DataError, match="settings of the pictures can't be read"):
            ImageProcessor.load(tmp_path)


def test_a_pipe_or_a_folder_is_no_picture_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(DataError, match="is no file, and a picture is one"):
            open_picture(str(place))
