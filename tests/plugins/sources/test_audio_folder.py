import io
import wave

import numpy as np
import pyarrow as pa
import pytest

from danlu.blocks import sounds
from danlu.core.errors import DataError, MachineError
from danlu.core.plugin import lazy
from danlu.plugins.sources.audio_folder import AudioFolder

RATE = 8000


def wav(frames, channels=1):
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(np.arange(frames * channels, dtype="<i2").tobytes())
    return out.getvalue()


def conforming(folder):
    fill(folder / "sounds")
    return {"audio_folder": {"path": str(folder / "sounds")}}


def fill(folder):
    for name, frames in {"yes/a.wav": 4000, "no/b.wav": 800}.items():
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_bytes(wav(frames))
    return AudioFolder(path=str(folder))


def rows(source):
    return pa.Table.from_batches(source.rows()).to_pylist()


def test_rows_labels_and_lengths(tmp_path):
    read = rows(fill(tmp_path))
    assert [(row["label"], row["file"], row["seconds"], row["sound"]["rate"]) for row in read] == [
        ("no", "no/b.wav", 0.1, RATE),
        ("yes", "yes/a.wav", 0.5, RATE),
    ]
    assert read[1]["sound"]["bytes"] == wav(4000)


@pytest.mark.parametrize("ending", ["flac", "ogg"])
def test_what_needs_soundfile(tmp_path, ending, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    fill(tmp_path)
    soundfile.write(tmp_path / "no" / f"c.{ending}", np.zeros((1600, 2)), 16000)
    assert rows(AudioFolder(path=str(tmp_path)))[1]["seconds"] == 0.1
    monkeypatch.setattr(sounds, "_soundfile", lazy("no_such_soundfile", extra="audio"))
    with pytest.raises(MachineError, match=r"not installed\n.*danlu\[audio\]"):
        rows(AudioFolder(path=str(tmp_path)))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (wav(0), "the sound lasts no time"),
        (wav(4000)[:1000], "the sound is cut off"),
        (wav(4000)[:20], "it is no sound|the sound is cut off"),
        (b"", "it is no sound that can be read"),
        (b"not a sound", "it is no sound that can be read"),
    ],
)
def test_a_broken_sound_stops_or_is_skipped(tmp_path, content, told):
    source = fill(tmp_path)
    (tmp_path / "no" / "c.wav").write_bytes(content)
    with pytest.raises(DataError, match=rf"no/c\.wav: ({told})"):
        rows(source)
    table = pa.Table.from_batches(AudioFolder(path=str(tmp_path), on_error="skip", most_skipped=0.4).rows())
    assert table.column("file").to_pylist() == ["no/b.wav", "yes/a.wav"]
    assert b"1 of 3 rows can't be read" in table.schema.metadata[b"danlu.notes"]


def test_labels_of_a_table(tmp_path):
    fill(tmp_path / "sounds")
    (tmp_path / "labels.csv").write_text("file,label\nno/b.wav,loud\n")
    source = AudioFolder(path=str(tmp_path / "sounds"), labels=str(tmp_path / "labels.csv"))
    assert [(row["file"], row["label"]) for row in rows(source)] == [("no/b.wav", "loud")]
