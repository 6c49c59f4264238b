import bz2
import gzip
import lzma

import pyarrow as pa
import pytest

from danlu.blocks import unpack as block
from danlu.blocks.unpack import Limits, unpack
from danlu.core.errors import DataError

PLENTY = Limits(10**9, 1000)
PACKERS = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
CONTENT = "".join(f"row {k}\n" for k in range(300_000)).encode()


def unpacked(tmp_path, ending, packed, limits=PLENTY):
    path, target = tmp_path / f"rows.csv{ending}", tmp_path / "rows.csv"
    path.write_bytes(packed)
    unpack(path, target, limits, path.name)
    return target.read_bytes()


@pytest.mark.parametrize("ending", PACKERS)
def test_what_was_packed_comes_out_and_so_do_several_one_after_another(tmp_path, ending):
    pack = PACKERS[ending]
    assert unpacked(tmp_path, ending, pack(CONTENT)) == CONTENT
    assert unpacked(tmp_path, ending, pack(b"one\n") + pack(b"two\n")) == b"one\ntwo\n"


@pytest.mark.parametrize("ending", PACKERS)
def test_a_file_that_is_cut_off_or_is_none(tmp_path, ending):
    packed = PACKERS[ending](CONTENT)
    with pytest.raises(DataError, match=rf"rows\.csv{ending}: it can't be unpacked"):
        unpacked(tmp_path, ending, packed[: len(packed) // 2])
    with pytest.raises(DataError, match="it can't be unpacked"):
        unpacked(tmp_path, ending, b"text,label\nfine,1\n")


@pytest.mark.parametrize("ending", PACKERS)
def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path, ending):
    bomb = PACKERS[ending](bytes(80 << 20))
    with pytest.raises(DataError, match=r"more than 100 times its size(.|\n)*unpacked_ratio"):
        unpacked(tmp_path, ending, bomb, Limits(10**9, 100))
    assert (tmp_path / "rows.csv").stat().st_size <= 65 << 20
    with pytest.raises(DataError, match=r"more than 0\.001 GB(.|\n)*unpacked_gb"):
        unpacked(tmp_path, ending, bomb, Limits(10**6, 100))


def test_an_xz_file_that_asks_for_gigabytes_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(block, "_XZ_MEMORY", 1 << 20)
    with pytest.raises(DataError, match="it can't be unpacked: Memory usage limit"):
        unpacked(tmp_path, ".xz", lzma.compress(CONTENT))
