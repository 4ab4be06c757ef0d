"""Compression: what others write is read, what we write others and the kernel read, and bombs stop early."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import subprocess
import zlib

import pytest
import zstandard

from provisioner.archive import compress
from provisioner.archive.compress import METHODS, Decompressed, Writer, compressor
from provisioner.archive.stream import Limits
from provisioner.errors import InputError, RefusedError

DATA = random.Random(1).randbytes(300_000) + b"text " * 200_000
TOOLS = {"gzip": ["gzip", "-dc"], "zstd": ["zstd", "-dc"], "xz": ["xz", "-dc"]}


def packed(method: str, data: bytes, step: int = 0) -> bytes:
    out = io.BytesIO()
    writer = Writer(compressor(method), out.write)
    for at in range(0, len(data), step or len(data) or 1):
        writer.write(data[at:at + (step or len(data))])
    writer.close()
    return out.getvalue()


def unpacked(data: bytes, limits: Limits | None = None, step: int = 10_000) -> bytes:
    stream = Decompressed(io.BytesIO(data), "layer", limits=limits or Limits())
    return b"".join(iter(lambda: stream.read(step), b""))


@pytest.mark.parametrize("method", METHODS)
def test_what_is_written_is_read_back(method: str) -> None:
    assert unpacked(packed(method, DATA)) == DATA + bytes(-len(DATA) % 4 if method == "none" else 0)


@pytest.mark.tool
@pytest.mark.parametrize("method", TOOLS)
def test_other_tools_read_what_is_written(method: str) -> None:
    done = subprocess.run(TOOLS[method], input=packed(method, DATA), capture_output=True, check=True)
    assert done.stdout == DATA


@pytest.mark.parametrize("method", METHODS)
def test_bytes_do_not_depend_on_the_size_of_writes(method: str) -> None:
    assert packed(method, DATA) == packed(method, DATA, 777) == packed(method, DATA, 300_001)


def test_gzip_header_is_bare() -> None:
    # Linux skips ten bytes and a file name, no other header field (lib/decompress_inflate.c).
    assert packed("gzip", b"x")[:10] == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def test_xz_uses_the_check_that_the_kernel_has() -> None:
    assert packed("xz", b"x")[6:8] == b"\x00\x01"  # stream flags: CRC32


def test_zstd_frame_has_a_window_that_the_kernel_takes_and_a_checksum() -> None:
    frame = zstandard.get_frame_parameters(packed("zstd", DATA))
    assert frame.window_size <= 8 << 20
    assert frame.has_checksum
    assert frame.content_size == zstandard.CONTENTSIZE_UNKNOWN


def test_plain_output_ends_at_a_multiple_of_four() -> None:
    assert packed("none", b"12345") == b"12345\0\0\0"


def test_empty_input_is_still_a_member() -> None:
    assert gzip.decompress(packed("gzip", b"")) == b""


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(InputError, match="no compression method 'lz4'") as caught:
        compressor("lz4")
    assert "gzip, zstd, xz, none" in caught.value.hint


def test_the_fingerprint_names_level_and_library() -> None:
    assert compress.fingerprint("gzip") == f"gzip 8 {zlib.ZLIB_RUNTIME_VERSION}"
    assert len({compress.fingerprint(method) for method in METHODS}) == len(METHODS)
    assert compress.fingerprint("zstd", 3) != compress.fingerprint("zstd", 4)


@pytest.mark.parametrize("data", [
    gzip.compress(DATA[:5]) + gzip.compress(DATA[5:]) + bytes(512),
    zstandard.compress(DATA[:5]) + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.compress(DATA[5:]),
    lzma.compress(DATA[:5]) + bytes(8) + lzma.compress(DATA[5:]),
    DATA,
], ids=["gzip", "zstd", "xz", "plain"])
def test_several_members_are_one_stream(data: bytes) -> None:
    assert unpacked(data) == DATA
    assert unpacked(data, step=1 << 20) == DATA


@pytest.mark.parametrize("data", [gzip.compress(DATA), zstandard.compress(DATA), lzma.compress(DATA)],
                         ids=["gzip", "zstd", "xz"])
def test_corrupt_and_cut_off_data_is_named(data: bytes) -> None:
    broken = bytearray(data)
    broken[len(broken) // 2] ^= 0xFF
    with pytest.raises(InputError, match="layer: corrupt"):
        unpacked(bytes(broken[:-1]))
    with pytest.raises(InputError, match="it ends too early"):
        unpacked(data[:-6])
    with pytest.raises(InputError, match="other data follows"):
        unpacked(data + b"garbage")


def test_what_is_no_known_compression_comes_as_it_is() -> None:
    data = bz2.compress(b"hello")
    assert unpacked(data) == data


@pytest.mark.parametrize("data", [gzip.compress(bytes(50 << 20)), zstandard.compress(bytes(50 << 20)),
                                  lzma.compress(bytes(50 << 20))], ids=["gzip", "zstd", "xz"])
def test_a_bomb_stops_at_the_ratio(data: bytes) -> None:
    stream = Decompressed(io.BytesIO(data), "layer", limits=Limits(free=1 << 20))
    with pytest.raises(RefusedError, match="compressed bytes have become more than"):
        while stream.read(1 << 20):
            pass
    assert stream.count_out < len(data) * 200 + (70 << 20)


def test_a_zstd_window_beyond_the_limit_is_refused() -> None:
    # Frame header: magic, descriptor without single segment, window of 2 GiB; then an empty last block.
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + b"\x01\x00\x00"
    with pytest.raises(InputError, match="corrupt zstd"):
        unpacked(frame)


def test_single_gives_back_what_follows() -> None:
    first, second = gzip.compress(b"first"), b"070701rest"
    stream = Decompressed(io.BytesIO(first + second), "initrd", single=True)
    assert stream.read(100) == b"first"
    assert stream.read(100) == b""
    assert stream.rest == second
