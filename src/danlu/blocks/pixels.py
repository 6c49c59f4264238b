"""Pictures to arrays: what is taken for a picture, how it is opened, and the scaling a model was trained with.

Only Pillow and numpy. A picture comes as a path, bytes (PNG, JPEG, WebP, BMP, GIF, TIFF), a Pillow image, an array
[h, w] or [h, w, 3] of uint8, or a table's cell `{"bytes": ..., "path": ...}`.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image, ImageOps

from danlu.blocks.portable import Piece, piece
from danlu.core.errors import DataError
from danlu.core.files import write_atomic

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MOST_PIXELS = 50_000_000
"""A larger picture is refused before it is unpacked: a small file can hold a picture that fills the memory."""
REQUEST: Mapping[str, Any] = {
    "anyOf": [
        _TEXT := {"type": "string", "contentEncoding": "base64"},
        {"type": "object", "properties": {"base64": _TEXT}, "required": ["base64"], "additionalProperties": False},
    ]
}
"""JSON Schema of a picture in a request."""
_FILE = "pixels.json"
_ACROSS = 8
"""Squares along the longer side of a picture, where no backbone says how large they are."""
_DO = f"give a picture in one of the formats {', '.join(FORMATS)}"


def open_picture(x: Any) -> Image.Image:
    """The picture, upright and unpacked; grey (mode L) or in colour (mode RGB), with white behind what is transparent.

    Raises DataError, naming the picture, when it is none, is broken, or has more than 50 million pixels.
    """
    if isinstance(x, Mapping):
        x = x["bytes"] if x.get("bytes") is not None else x.get("path")
    if isinstance(x, np.ndarray):
        x = _from_array(x)
    if isinstance(x, Image.Image):
        return _plain(_measured(x, "the picture"))
    name = str(x) if isinstance(x, str | Path) else "the picture"
    try:
        with Image.open(_source(x), formats=FORMATS) as picture:
            return _plain(_measured(picture, name))
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("there is no such picture", where=name) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"the picture is too large: {error}", where=name) from error
    except Exception as error:  # a broken picture makes Pillow raise almost anything
        raise DataError(f"is not a picture that can be read ({_first_line(error)})", where=name, do=_DO) from error


def _first_line(error: Exception) -> str:
    told = str(error).splitlines()
    return f"{type(error).__name__}: {told[0]}" if told and "BytesIO" not in told[0] else type(error).__name__


def _source(x: Any) -> Any:
    if isinstance(x, bytes | bytearray | memoryview):
        return io.BytesIO(x)
    if isinstance(x, str | Path):
        if not str(x).strip():
            raise DataError("names no picture: it is empty", do="remove it, or write the path of a picture")
        if Path(x).exists() and not Path(x).is_file():  # opening a pipe would wait for ever
            raise DataError("is no file, and a picture is one", where=str(x), do=_DO)
        return Path(x)
    raise DataError(f"a picture is a path, bytes, a Pillow image or an array, not {type(x).__name__}")


def _measured(picture: Image.Image, name: str) -> Image.Image:
    width, height = picture.size
    if width * height > MOST_PIXELS:
        what = f"the picture is too large: {width} × {height} pixels, at most {MOST_PIXELS:,} are taken"
        raise DataError(what, where=name, do="scale it down")
    if not width * height:
        raise DataError("the picture is empty", where=name)
    return picture


def _from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3))):
        what = f"an array of {array.dtype} with shape {array.shape} is not a picture"
        raise DataError(what, do="give uint8 values from 0 to 255 with the shape [h, w] or [h, w, 3]")
    return Image.fromarray(array.squeeze(2) if array.ndim == 3 and array.shape[2] == 1 else array)


def _plain(picture: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits, as medical pictures have
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))
    if picture.has_transparency_data:
        behind = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(behind, picture.convert("RGBA")).convert("RGB")
    if picture.mode in ("1", "L"):
        return picture.convert("L")
    return picture.convert("RGB")


def encode_picture(x: Any) -> bytes:
    """The picture as a file's bytes: those given, those of the path, or a new PNG."""
    if isinstance(x, bytes):
        return x
    if isinstance(x, str | Path):
        open_picture(x)
        return Path(x).read_bytes()
    out = io.BytesIO()
    open_picture(x).save(out, "PNG")
    return out.getvalue()


def to_base64(x: Any) -> str:
    """The picture's file as base64 (RFC 4648)."""
    return base64.b64encode(encode_picture(x)).decode()


def data_url(x: Any) -> str:
    """The picture as a PNG in a URL that a browser shows (RFC 2397)."""
    out = io.BytesIO()
    open_picture(x).save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def from_base64(value: Any) -> bytes:
    """The bytes in a request: base64 text, or `{"base64": text}`, also as a data URL. Raises DataError."""
    text = value.get("base64") if isinstance(value, Mapping) else value
    if not isinstance(text, str):
        raise DataError(f"a picture in a request is base64 text, not {type(text).__name__}")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"the picture is not base64: {error}", do="encode the file's bytes as RFC 4648 says") from error


@dataclass(frozen=True)
class ImageProcessor:
    """Scales a picture to one size and its values to mean 0 and deviation 1, both learnt from training pictures.

    `inputs` gives `pixel_values`, float32 [channels, height, width]; `mean` and `std` are per channel, of values 0…1.
    """

    height: int
    width: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    patch: int = 0
    """Pixels along the side of a square that a backbone takes as one; 0: it has no such squares."""
    pad: Mapping[str, float] = field(default_factory=dict, repr=False, compare=False)

    most: ClassVar[int] = 64
    """The longest side it chooses by itself; a longer one must be asked for."""

    @property
    def channels(self) -> int:
        """1 for grey pictures, 3 for colour."""
        return len(self.mean)

    @property
    def square(self) -> int:
        """Pixels along the side of what is hidden at once; an eighth of the picture if no patch is set."""
        return self.patch or max(2, -(-max(self.height, self.width) // _ACROSS))

    @classmethod
    def learn(cls, pictures: Iterable[Any], side: int | None = None) -> Self:
        """From training pictures: grey if all are, the median size (at most 64 × 64, or `side` × `side`), the scale."""
        sizes, moments, grey = [], [], True
        for number, x in enumerate(pictures, 1):
            picture = _named(x, number)
            grey = grey and picture.mode == "L"
            values = np.asarray(picture.convert("RGB"), dtype=np.float64).reshape(-1, 3) / 255
            sizes.append((picture.height, picture.width))
            moments.append((values.mean(0), (values**2).mean(0)))
        if not sizes:
            raise DataError("there is no picture to learn the scale from")
        height, width = (int(side or min(length, cls.most)) for length in np.median(sizes, axis=0))
        mean, square = np.mean(moments, axis=0)
        std = np.sqrt(np.maximum(square - mean**2, 0)).clip(min=1e-3)
        keep = slice(1 if grey else 3)
        return cls(height, width, tuple(mean[keep].tolist()), tuple(std[keep].tolist()))

    def inputs(self, x: Any, limit: int | None = None) -> dict[str, Any]:
        """`pixel_values` of a picture; `limit` means nothing here."""
        picture = open_picture(x).convert("L" if self.channels == 1 else "RGB")
        if picture.size != (self.width, self.height):
            picture = picture.resize((self.width, self.height), Image.Resampling.BILINEAR)
        values = np.asarray(picture, dtype=np.float32).reshape(self.height, self.width, self.channels) / 255
        scaled = (values - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return {"pixel_values": np.ascontiguousarray(scaled.transpose(2, 0, 1), dtype=np.float32)}

    def picture(self, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The picture, uint8 [h, w] or [h, w, 3], whose `pixel_values` these are: the inverse of `inputs`."""
        plain = values.transpose(1, 2, 0) * np.array(self.std) + np.array(self.mean)
        drawn: np.ndarray[Any, Any] = np.rint(plain.clip(0, 1) * 255).astype(np.uint8)
        return drawn[:, :, 0] if self.channels == 1 else drawn

    def portable(self) -> Piece:
        """How an exported script scales a picture to the same values."""
        settings = {"height": self.height, "width": self.width, "mean": self.mean, "std": self.std}
        return Piece((piece("pictures"),), settings, needs=("pillow",))

    def save(self, folder: Path) -> None:
        settings = {name: value for name, value in asdict(self).items() if name != "pad"}
        write_atomic(folder / _FILE, json.dumps(settings, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Raises DataError when the folder has no such settings, or they can't be used."""
        path = folder / _FILE
        try:
            settings = json.loads(path.read_text("utf-8"))
            settings["mean"], settings["std"] = tuple(settings["mean"]), tuple(settings["std"])
            return cls(**settings)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"the settings of the pictures can't be read: {error}", where=str(path)) from error


def _named(x: Any, number: int) -> Image.Image:
    try:
        return open_picture(x)
    except DataError as error:
        raise DataError(error.what, where=f"training picture {number}, {error.where}", do=error.do) from error
