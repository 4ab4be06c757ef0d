"""The store of segments: made once, complete or absent, checked when used."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisioner.archive.cpio import CpioReader
from provisioner.archive.segments import Segment, SegmentStore
from provisioner.errors import InputError, RefusedError
from provisioner.model.tree import Entry, Kind
from tests.archive.made import filled


def entries(body: bytes = b"content") -> Iterator[Entry]:
    yield Entry("boot", Kind.DIR, 0o755)
    yield filled(Entry("boot/kernel", Kind.FILE), b"KERNEL")
    yield filled(Entry("usr/bin/tool", Kind.FILE, xattrs=(("user.a", b"x"),)), body)


def take(entry: Entry) -> bool:
    return entry.path == "boot/kernel"


def names(segment: Segment) -> list[str]:
    return [entry.path for entry in CpioReader(io.BytesIO(gzip.decompress(segment.path.read_bytes())), "x")]


def test_a_segment_is_made_and_found(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path / "segments", "gzip")
    assert store.find("key") is None
    made = store.build("key", entries(), take=take)
    assert store.find("key") == made
    assert names(made) == ["boot", "usr/bin/tool"]
    assert made.digest == "sha256:" + hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.size == made.path.stat().st_size
    assert made.raw == len(gzip.decompress(made.path.read_bytes()))
    assert (made.entries, made.xattrs, made.missing, made.directories) == (2, 1, ("usr", "usr/bin"), ("boot",))
    assert made.taken_path("boot/kernel").read_bytes() == b"KERNEL"
    assert made.taken["boot/kernel"].size == 6


def test_other_keys_and_other_compression_are_other_segments(tmp_path: Path) -> None:
    SegmentStore(tmp_path, "gzip").build("key", entries(), take=take)
    assert SegmentStore(tmp_path, "gzip").find("other") is None
    assert SegmentStore(tmp_path, "gzip", 9).find("key") is None
    assert SegmentStore(tmp_path, "zstd").find("key") is None


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[Entry]:
        yield from entries()
        raise InputError("the layer is broken")

    store = SegmentStore(tmp_path, "gzip")
    with pytest.raises(InputError):
        store.build("key", broken(), take=take)
    assert list(tmp_path.iterdir()) == []


def test_the_check_can_stop_the_work(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        SegmentStore(tmp_path, "gzip").build("key", entries(bytes(1 << 20)), take=take, check=stop)
    assert list(tmp_path.iterdir()) == []


def test_the_check_does_not_wait_for_output(tmp_path: Path) -> None:
    read: list[int] = []

    def content() -> Iterator[bytes]:
        for number in range(64):
            read.append(number)
            yield bytes(1 << 16)

    def stop() -> None:
        if len(read) == 3:
            raise InterruptedError

    huge = Entry("zeros", Kind.FILE, size=64 << 16, content=content())
    with pytest.raises(InterruptedError):
        SegmentStore(tmp_path, "xz").build("key", [huge], take=take, check=stop)
    assert read == [0, 1, 2]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["meta", "size", "gone", "taken"])
def test_a_damaged_folder_is_not_found_and_replaced(tmp_path: Path, damage: str) -> None:
    store = SegmentStore(tmp_path, "gzip")
    made = store.build("key", entries(), take=take)
    if damage == "meta":
        (made.folder / "meta.json").write_text('{"digest": 1}')
    elif damage == "size":
        made.path.write_bytes(b"short")
    elif damage == "gone":
        made.path.unlink()
    else:
        made.taken_path("boot/kernel").unlink()
    assert store.find("key") is None
    again = store.build("key", entries(), take=take)
    assert again == made
    assert store.find("key") == made


def test_forgetting(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, "gzip")
    store.build("key", entries(), take=take)
    store.forget("key")
    store.forget("key")
    assert store.find("key") is None


def test_two_at_once_agree(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, "gzip")
    gate = threading.Barrier(2)
    made: list[Segment] = []

    def slow() -> Iterator[Entry]:
        yield from entries()
        gate.wait(30)

    workers = [threading.Thread(target=lambda: made.append(store.build("key", slow(), take=take))) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert made[0] == made[1] == store.find("key")
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(RefusedError, match="may be written by others"):
        SegmentStore(tmp_path / "open", "gzip")


def test_the_note_of_a_segment_without_entries(tmp_path: Path) -> None:
    segment = SegmentStore(tmp_path / "s", "none").write(tmp_path, [], take=take, note=b"facts")
    reader = CpioReader(io.BytesIO(segment.path.read_bytes()), "x")
    assert list(reader) == []
    assert reader.note == b"facts"
