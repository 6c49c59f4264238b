"""How a sound lies in a table: an Arrow struct of its file's bytes and its samples a second; and how long it lasts."""

from __future__ import annotations

import io
import wave
from typing import Any, NamedTuple

import pyarrow as pa

from danlu.core.errors import DanluError, DataError
from danlu.core.plugin import lazy

_soundfile: Any = lazy("soundfile", extra="audio")

SOUND = pa.struct([("bytes", pa.binary()), ("rate", pa.int32())])
_CHUNK = 1 << 16  # frames


class Measured(NamedTuple):
    """Samples a second, and how long it lasts."""

    rate: int
    seconds: float


def measure(content: bytes) -> Measured:
    """Look through a sound: WAV of plain samples by the standard library, all else by soundfile.

    Raises DataError for one that is none, is cut off, or lasts no time; MachineError when soundfile is needed and not
    installed.
    """
    rate, frames = _of_wave(content) or _of_any(content)
    if not frames:
        raise DataError("the sound lasts no time")
    return Measured(rate, frames / rate)


def _of_wave(content: bytes) -> tuple[int, int] | None:
    if content[:4] != b"RIFF":
        return None
    try:
        with wave.open(io.BytesIO(content)) as sound:
            rate, frames = sound.getframerate(), sound.getnframes()
            size = sound.getnchannels() * sound.getsampwidth()
            there = len(sound.readframes(frames)) // size
    except EOFError as fault:
        raise DataError("the sound is cut off") from fault
    except (wave.Error, ZeroDivisionError):  # other than plain samples: a case for soundfile
        return None
    if there < frames:
        raise DataError(f"the sound is cut off: it has {there} of {frames} frames")
    if rate <= 0:
        raise DataError("the sound has no sample rate")
    return rate, frames


def _of_any(content: bytes) -> tuple[int, int]:
    try:
        with _soundfile.SoundFile(io.BytesIO(content)) as sound:
            there = sum(len(block) for block in sound.blocks(_CHUNK, dtype="float32"))
            return sound.samplerate, there
    except DanluError:
        raise
    except Exception as fault:  # a broken file makes libsndfile raise its own errors, and Python's
        raise DataError(f"it is no sound that can be read: {str(fault).splitlines()[0][:100]}") from fault
