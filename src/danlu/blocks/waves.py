"""Sounds as samples: reading, writing, adding noise, playing faster or higher; and the augmentation of sound columns.

Samples are float64 [frames, channels] from -1 to 1. A sound in a table is a struct of its file's `bytes` and its `rate`
in samples a second.
"""

from __future__ import annotations

import io
import wave
from abc import abstractmethod
from collections.abc import Mapping
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from scipy import signal

from danlu.blocks.augment import Augment, Varied
from danlu.core.errors import DanluError, DataError
from danlu.core.plugin import lazy

_soundfile: Any = lazy("soundfile", extra="audio")
Samples = np.ndarray[Any, np.dtype[np.float64]]
_WINDOW = 1024


class AugmentSound(Augment):
    """Derive from it and write `change`; a changed sound is written into the row as WAV of 16 bits."""

    holds: ClassVar[str] = "sound"

    def takes(self, kind: pa.DataType) -> bool:
        fields = {field.name for field in kind} if pa.types.is_struct(kind) else set()
        return {"bytes", "rate"} <= fields

    @abstractmethod
    def change(self, samples: Samples, rng: np.random.Generator) -> tuple[Samples, str] | None:
        """Other samples at the same rate, and what was done; None when these can't be changed."""

    def vary(self, value: Mapping[str, Any], rng: np.random.Generator) -> Varied | None:
        """Raises DataError for a sound that can't be read."""
        if not value["bytes"]:
            return None
        samples, rate = read(value["bytes"])
        changed = self.change(samples, rng) if len(samples) else None
        return changed and Varied({**value, "bytes": write(changed[0], rate), "rate": rate}, changed[1])


def read(content: bytes) -> tuple[Samples, int]:
    """The samples and their rate. WAV of whole numbers is read here, all else by soundfile (`danlu[audio]`).

    Raises DataError for what is no sound.
    """
    try:
        with wave.open(io.BytesIO(content)) as sound:
            width, channels, rate = sound.getsampwidth(), sound.getnchannels(), sound.getframerate()
            return _numbers(sound.readframes(sound.getnframes()), width).reshape(-1, channels), rate
    except (wave.Error, EOFError, ZeroDivisionError):
        pass  # another format, or floating point samples
    except ValueError as error:
        raise DataError("the sound is cut off", do="remove the row") from error
    try:
        samples, rate = _soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
    except DanluError:
        raise
    except Exception as error:  # libsndfile raises errors of its own
        raise DataError(
            f"it is no sound that can be read: {error}", do="remove the row, or convert it to WAV"
        ) from error
    return samples, int(rate)


def _numbers(raw: bytes, width: int) -> Samples:
    if width == 1:
        return (np.frombuffer(raw, np.uint8).astype(np.float64) - 128) / 128
    bytes_of = np.frombuffer(raw, np.uint8).reshape(-1, width)
    whole = np.zeros((len(bytes_of), 4), np.uint8)
    whole[:, 4 - width :] = bytes_of
    numbers: Samples = whole.view("<i4")[:, 0] / 2.0**31
    return numbers


def write(samples: Samples, rate: int) -> bytes:
    """A WAV file of 16 bits. Samples beyond 1 make the whole softer, so that nothing is clipped."""
    peak = float(np.abs(samples).max(initial=0))
    numbers = np.round(samples / max(peak, 1.0) * 32767).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(samples.shape[1])
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(numbers.tobytes())
    return out.getvalue()


def seconds(content: bytes) -> float:
    """How long a WAV file lasts."""
    with wave.open(io.BytesIO(content)) as sound:
        return float(sound.getnframes() / sound.getframerate())


def add_noise(samples: Samples, decibels: float, rng: np.random.Generator) -> Samples:
    """White noise added at a ratio of the powers of sound and noise, both over the whole length."""
    power = float(np.square(samples).mean())
    noise = rng.standard_normal(samples.shape)
    made: Samples = samples + noise * np.sqrt(power / np.square(noise).mean() / 10 ** (decibels / 10))
    return made


def faster(samples: Samples, factor: float) -> Samples:
    """Played `factor` times as fast, as a tape: shorter and higher; what no sample can hold is filtered out."""
    ratio = Fraction(factor).limit_denominator(200)
    made: Samples = signal.resample_poly(samples, ratio.denominator, ratio.numerator, axis=0)
    return made


def higher(samples: Samples, semitones: float) -> Samples:
    """Another pitch at the same length: stretched by a phase vocoder (Flanagan and Golden, 1966), and played faster."""
    factor = float(Fraction(2 ** (semitones / 12)).limit_denominator(200))
    longer = np.stack([_stretch(channel, factor) for channel in samples.T], 1)
    made = faster(longer, factor)[: len(samples)]
    return np.pad(made, ((0, len(samples) - len(made)), (0, 0)))


def _stretch(samples: Samples, factor: float) -> Samples:
    """`factor` times as long, at the same pitch."""
    window, hop = _WINDOW, _WINDOW // 4
    _, _, bins = signal.stft(samples, nperseg=window, noverlap=window - hop)
    bins = np.pad(bins, ((0, 0), (0, 2)))
    steps = np.arange(0, bins.shape[1] - 2, 1 / factor)
    whole = steps.astype(np.int64)
    part = steps - whole
    loud = (1 - part) * np.abs(bins[:, whole]) + part * np.abs(bins[:, whole + 1])
    expected = 2 * np.pi * hop * np.arange(len(bins))[:, None] / window
    turn = np.angle(bins[:, whole + 1]) - np.angle(bins[:, whole]) - expected
    turn = expected + turn - 2 * np.pi * np.round(turn / (2 * np.pi))
    phase = np.angle(bins[:, :1]) + np.cumsum(np.pad(turn, ((0, 0), (1, 0)))[:, :-1], axis=1)
    _, made = signal.istft(loud * np.exp(1j * phase), nperseg=window, noverlap=window - hop)
    wanted = round(len(samples) * factor)
    return np.pad(made[:wanted], (0, max(wanted - len(made), 0)))
