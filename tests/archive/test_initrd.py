"""Chains of archives as Linux takes them, ours and others'."""

from __future__ import annotations

import gzip
import io
import lzma
import subprocess

import pytest
import zstandard

from provisioner.archive.cpio import CpioWriter
from provisioner.archive.initrd import Pushback, Segment, segments
from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind


def archive(*names: str, note: bytes = b"") -> bytes:
    out = io.BytesIO()
    writer = CpioWriter(out.write)
    for name in names:
        writer.add(Entry(name, Kind.DIR, 0o755))
    writer.close(note)
    return out.getvalue()


def read(data: bytes) -> list[tuple[Segment, list[str]]]:
    found = []
    for segment, entries in segments(io.BytesIO(data), "initrd"):
        found.append((segment, [entry.path for entry in entries]))
    return found


def test_a_chain_of_every_kind() -> None:
    parts = [archive("plain"), gzip.compress(archive("gz")), zstandard.compress(archive("zst")),
             lzma.compress(archive("xz"), check=lzma.CHECK_CRC32), gzip.compress(archive("a") + archive("b"))]
    found = read(b"".join(parts))
    assert [(segment.method, names) for segment, names in found] == [
        ("none", ["plain"]), ("gzip", ["gz"]), ("zstd", ["zst"]), ("xz", ["xz"]), ("gzip", ["a", "b"])]
    assert [segment.size for segment, _ in found] == [len(part) for part in parts]
    assert [segment.offset for segment, _ in found] == [sum(map(len, parts[:n])) for n in range(len(parts))]
    assert found[1][0].raw == len(archive("gz"))


def test_zeros_between_archives_are_padding() -> None:
    found = read(archive("a") + bytes(512) + gzip.compress(archive("b") + bytes(100)) + bytes(7))
    assert [names for _, names in found] == [["a"], ["b"]]


def test_the_note_of_a_segment() -> None:
    assert read(gzip.compress(archive(note=b"facts")))[0][0].notes == [b"facts"]


def test_unread_segments_are_skipped() -> None:
    data = gzip.compress(archive("a")) + gzip.compress(archive("b"))
    assert [segment.method for segment, _ in segments(io.BytesIO(data), "x")] == ["gzip", "gzip"]


def test_junk_is_named_with_its_offset() -> None:
    good = archive("a")
    with pytest.raises(InputError, match=f"at offset {len(good)}"):
        read(good + b"junk follows")
    with pytest.raises(InputError, match="too early"):
        read(good[:-20])


@pytest.mark.tool
def test_gnu_cpio_reads_each_archive_of_a_chain() -> None:
    data = archive("a") + archive("b", note=b"facts")
    listed = subprocess.run(["sh", "-c", "cpio -t --quiet; cpio -t --quiet"], input=data, capture_output=True,
                            check=False).stdout
    assert listed.split()[0] == b"a"


def test_pushback() -> None:
    stream = Pushback(io.BytesIO(b"abcdef"))
    assert stream.peek(3) == b"abc"
    assert stream.read(2) == b"ab"
    stream.unread(b"b")
    assert (stream.position, stream.read(100), stream.peek(1), stream.skip_zeros()) == (1, b"bcdef", b"", False)
