import io
import wave

import numpy as np
import pyarrow as pa
import pytest

from augmenting import pieces
from danlu.blocks import waves
from danlu.contracts import Columns, Context
from danlu.core.errors import DataError
from danlu.plugins.operators.noise import Noise
from danlu.plugins.operators.pitch import Pitch
from danlu.plugins.operators.speed import Speed

CONTEXT = Context(Columns(("sound",), ("label",)), "train", 3)
SOUND = pa.struct([("bytes", pa.binary()), ("rate", pa.int32())])
RATE = 8000
ALL = (Noise, Speed, Pitch)


def tone(hertz=440.0, seconds=1.0, channels=1):
    at = np.arange(round(RATE * seconds)) / RATE
    return np.stack([0.4 * np.sin(2 * np.pi * hertz * (k + 1) * at) for k in range(channels)], 1)


def table(*sounds):
    cells = [{"bytes": waves.write(s, RATE), "rate": RATE} for s in sounds]
    lasts = [len(s) / RATE for s in sounds]
    labels = [str(k) for k in range(len(sounds))]
    return pa.table({"sound": pa.array(cells, SOUND), "seconds": lasts, "label": labels})


def changed(operator, samples):
    made, counts = operator.apply(table(samples), CONTEXT)
    assert counts.changed == 1
    cell = made["sound"].to_pylist()[1]
    after, rate = waves.read(cell["bytes"])
    assert rate == cell["rate"] == RATE
    return after, made


def loudest(samples):
    """The loudest frequency of the first channel."""
    power = np.abs(np.fft.rfft(samples[:, 0] * np.hanning(len(samples))))
    return np.fft.rfftfreq(len(samples), 1 / RATE)[power.argmax()]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_copies_carry_the_row_and_come_out_alike_in_pieces(kind):
    before = table(*(tone(300 + 50 * k) for k in range(5)))
    after, counts = kind().apply(before, CONTEXT)
    assert (after.num_rows, counts.changed, after.schema) == (10, 5, before.schema)
    assert after["label"].to_pylist() == [str(k) for k in range(5) for _ in range(2)]
    assert after["sound"].to_pylist()[::2] == before["sound"].to_pylist()
    assert pieces(kind(), before, 2, CONTEXT).equals(after.combine_chunks())


@pytest.mark.parametrize("decibels", [0.0, 10.0, 30.0])
def test_noise_has_the_power_asked_for(decibels):
    before = tone()
    after, _ = changed(Noise(least=decibels, most=decibels), before)
    scale = float((after * before).sum() / (before * before).sum())  # the whole is softer where noise would clip
    noise = after / scale - before
    assert 10 * np.log10(np.square(before).mean() / np.square(noise).mean()) == pytest.approx(decibels, abs=0.2)
    assert np.abs(after).max() <= 1


def test_speed_changes_length_and_pitch_by_one_factor_and_the_seconds_with_them():
    after, made = changed(Speed(by=0.3), tone())
    factor = RATE / len(after)
    assert 0.7 <= factor <= 1.3
    assert abs(factor - 1) > 0.01
    assert loudest(after) == pytest.approx(440 * factor, rel=0.01)
    assert made["seconds"].to_pylist() == [1.0, pytest.approx(1 / factor)]


def test_a_tone_too_high_for_the_new_speed_is_filtered_out():
    assert np.abs(waves.faster(tone(3000), 2.0)[200:-200]).max() < 0.02


@pytest.mark.parametrize("semitones", [-5.0, 3.0, 12.0])
def test_pitch_changes_by_semitones_at_the_same_length(semitones):
    before = tone(440, 1.5, channels=2)
    after = waves.higher(before, semitones)
    assert after.shape == before.shape
    assert loudest(after) == pytest.approx(440 * 2 ** (semitones / 12), rel=0.01)
    assert loudest(after[:, 1:]) == pytest.approx(880 * 2 ** (semitones / 12), rel=0.01)
    assert np.abs(after[2000:-2000]).max() == pytest.approx(0.4, abs=0.08)


def test_what_cannot_be_changed():
    silent = table(np.zeros((4000, 1)))
    assert Noise().apply(silent, CONTEXT)[1].changed == 0
    assert Pitch().apply(table(tone(seconds=0.1)), CONTEXT)[1].changed == 0
    empty = pa.table({"sound": pa.array([None, {"bytes": b"", "rate": 1}], SOUND), "label": ["a", "b"]})
    assert Speed().apply(empty, CONTEXT)[0].num_rows == 2
    with pytest.raises(ValueError, match="more than most"):
        Noise(least=20, most=10)
    texts = pa.table({"sound": ["a"], "label": ["a"]})
    assert Noise().apply(texts, CONTEXT)[1].notes == ["the column sound holds no sound and was left alone"]


def test_what_is_no_sound_is_told():
    cells = pa.array([{"bytes": b"no sound at all", "rate": 8000}], SOUND)
    pytest.importorskip("soundfile")
    with pytest.raises(DataError, match="no sound that can be read"):
        Noise().apply(pa.table({"sound": cells, "label": ["a"]}), CONTEXT)


@pytest.mark.parametrize("width", [1, 2, 3, 4])
def test_samples_of_every_width_are_read(width):
    numbers = np.round(tone()[:, 0] * (2 ** (8 * width - 1) - 1)).astype(np.int64)
    raw = (
        (numbers + 128).astype(np.uint8)
        if width == 1
        else numbers.astype("<i8").view(np.uint8).reshape(-1, 8)[:, :width]
    )
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setparams((1, width, RATE, 0, "NONE", ""))
        sound.writeframes(raw.tobytes())
    samples, rate = waves.read(out.getvalue())
    assert rate == RATE
    assert np.abs(samples - tone()).max() < 2.0 ** (1 - 8 * width) + 1e-4
