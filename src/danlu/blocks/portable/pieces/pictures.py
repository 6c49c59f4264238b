"""A picture to numbers: what `blocks.pixels.ImageProcessor` does, for an exported script."""

import io

import numpy as np
from PIL import Image, ImageOps

MOST_PIXELS = 50_000_000


class Inputs:
    """The scaled values of a picture, [channels, height, width]."""

    def __init__(self, folder, settings):
        self.size = settings["width"], settings["height"]
        self.mean, self.std = (np.array(settings[name], np.float32) for name in ("mean", "std"))

    def __call__(self, x, limit):
        picture = plain(x).convert("L" if len(self.mean) == 1 else "RGB")
        if picture.size != self.size:
            picture = picture.resize(self.size, Image.Resampling.BILINEAR)
        values = np.asarray(picture, dtype=np.float32).reshape(*self.size[::-1], len(self.mean)) / 255
        return {"pixel_values": np.ascontiguousarray(((values - self.mean) / self.std).transpose(2, 0, 1))}


def plain(x):
    """The picture of a path or of bytes, upright, with white behind what is transparent."""
    with Image.open(io.BytesIO(x) if isinstance(x, bytes) else x) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise ValueError(f"the picture has more than {MOST_PIXELS:,} pixels")
        picture = ImageOps.exif_transpose(opened)
    if picture.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(picture).clip(0, 65535) // 256).astype(np.uint8))
    if picture.has_transparency_data:
        behind = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(behind, picture.convert("RGBA")).convert("RGB")
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
