"""Sounds in folders, one folder a label: `yes/1.wav`, `no/2.flac`; or with a CSV of labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from danlu.blocks.media_source import MediaSource
from danlu.blocks.sounds import SOUND, measure


class AudioFolder(MediaSource):
    """Columns `sound` (the file's bytes and its samples a second), `seconds`, `label` and `file`.

    Labels and splits are found as by `image_folder`. WAV is read by the standard library; FLAC, Ogg and MP3 need
    `danlu[audio]`. A sound that is broken, cut off or lasts no time is an error that names it.
    """

    extra: ClassVar[str] = "audio"
    thing: ClassVar[str] = "sound"
    endings: ClassVar[tuple[str, ...]] = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif")

    def columns(self) -> list[tuple[str, pa.DataType]]:
        return [("sound", SOUND), ("seconds", pa.float64())]

    def cells(self, path: Path) -> tuple[Any, ...]:
        content = path.read_bytes()
        rate, seconds = measure(content)
        return {"bytes": content, "rate": rate}, seconds
