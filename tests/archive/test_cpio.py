"""The cpio writer and reader: golden bytes, GNU cpio, bsdtar and busybox as other readers, and hostile input."""

from __future__ import annotations

import hashlib
import io
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.archive.cpio import CpioReader, CpioWriter
from provisioner.archive.stream import Limits
from provisioner.errors import InputError, ProvisionerError, RefusedError
from provisioner.model.tree import Entry, Kind
from tests.archive import made

READERS = {"cpio": ["cpio", "-idm", "--quiet"], "bsdtar": ["bsdtar", "-xf", "-"],
           "busybox": ["busybox", "cpio", "-idm"]}


def written(note: bytes = b"") -> bytes:
    out = io.BytesIO()
    writer = CpioWriter(out.write)
    for entry in made.stream():
        writer.add(entry)
    writer.close(note)
    return out.getvalue()


def entries(data: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    return [(entry, b"".join(entry.content))
            for entry in CpioReader(io.BytesIO(data), "initrd", limits=limits or Limits())]


def test_golden_bytes() -> None:
    assert hashlib.sha256(written()).hexdigest() == \
        "2aed72d6b4d21bebd37a7bce881cf068ea8c5fa090785571cab3a779ffb76032"


def test_the_first_header_field_by_field() -> None:
    assert written()[:120] == (b"070701" b"00000001" b"000041ED" b"00000000" b"00000000" b"00000002" b"00000001"
                               b"00000000" b"00000000" b"00000000" b"00000000" b"00000000" b"00000004" b"00000000"
                               b"dir\0" b"\0\0" b"0707")


def test_our_reader_reads_it() -> None:
    for (found, content), (entry, body) in zip(entries(written()), made.ENTRIES, strict=True):
        assert content == body
        assert (found.path, found.kind, found.mode, found.uid, found.gid, found.mtime, found.target,
                found.device) == (entry.path, entry.kind, entry.mode, entry.uid, entry.gid, entry.mtime,
                                  entry.target, entry.device)


@pytest.mark.tool
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("note", [b"", b'{"a":1}'], ids=["plain", "note"])
def test_other_tools_unpack_it(tmp_path: Path, reader: str, note: bytes) -> None:
    out = io.BytesIO()
    writer = CpioWriter(out.write)
    for entry in made.stream():
        if entry.kind not in (Kind.CHAR, Kind.BLOCK):
            writer.add(entry)
    writer.close(note)
    subprocess.run(READERS[reader], input=out.getvalue(), cwd=tmp_path, check=True)
    assert (tmp_path / "dir/file").read_bytes() == b"hello"
    assert (tmp_path / "dir/again").stat().st_ino == (tmp_path / "dir/file").stat().st_ino
    assert stat.S_IMODE((tmp_path / "dir/file").stat().st_mode) & 0o777 == 0o711
    assert (tmp_path / "link").readlink() == Path("/dir/file")
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    assert (tmp_path / ("naïve-" + "n" * 120)).read_text() == "long\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dir", "link", "naïve-" + "n" * 120, "pipe"]


@pytest.mark.tool
def test_what_gnu_cpio_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    (tmp_path / "c").symlink_to("a")
    done = subprocess.run(["cpio", "-o", "-H", "newc", "--quiet"], input=b".\na\nb\nc\n", cwd=tmp_path,
                          capture_output=True, check=True)
    # GNU cpio puts a linked file's content at its last name.
    assert [(entry.path, entry.kind, body) for entry, body in entries(done.stdout)] == [
        ("a", Kind.FILE, b""), ("b", Kind.FILE, b"content"), ("c", Kind.SYMLINK, b"")]


def test_links_unknown_before_count_as_two() -> None:
    out = io.BytesIO()
    writer = CpioWriter(out.write)
    writer.add(made.filled(Entry("a", Kind.FILE, 0o755, links=0), b"x"))
    writer.add(Entry("b", Kind.HARDLINK, target="a"))
    writer.close()
    first, second = entries(out.getvalue())
    assert (first[0].links, second[0].kind, second[0].target, second[0].mode) == (2, Kind.HARDLINK, "a", 0o755)


def test_a_link_to_what_is_not_there_is_an_error() -> None:
    writer = CpioWriter(io.BytesIO().write)
    with pytest.raises(InputError, match="b: is a hard link to a"):
        writer.add(Entry("b", Kind.HARDLINK, target="a"))


def test_directories_that_are_needed_before_they_come() -> None:
    writer = CpioWriter(io.BytesIO().write)
    for entry in (Entry("a/b/c", Kind.DIR), Entry("a/b/c/d", Kind.SYMLINK, target="x"), Entry("a", Kind.DIR),
                  Entry("e", Kind.SYMLINK, target="x"), Entry("f/g", Kind.SYMLINK, target="x")):
        writer.add(entry)
    assert list(writer.missing) == ["a", "a/b", "f"]
    assert writer.directories == {"a", "a/b/c"}
    assert writer.entries == 5


def test_what_the_format_cannot_hold() -> None:
    writer = CpioWriter(io.BytesIO().write)
    with pytest.raises(InputError, match="below 4 GiB only"):
        writer.add(Entry("big", Kind.FILE, size=1 << 32))
    writer.add(Entry("capable", Kind.FILE, xattrs=(("security.capability", b"x"),)))
    assert writer.xattrs == 1
    with pytest.raises(InputError, match="differs by"):
        writer.add(Entry("f", Kind.FILE, size=4, content=(b"abc",)))


def test_times_outside_the_format_are_clamped() -> None:
    out = io.BytesIO()
    writer = CpioWriter(out.write)
    for number, mtime in enumerate((-1, 1 << 33)):
        writer.add(Entry(str(number), Kind.FILE, mtime=mtime))
    writer.close()
    assert [entry.mtime for entry, _ in entries(out.getvalue())] == [0, (1 << 32) - 1]


def test_the_note_is_read_after_the_entries() -> None:
    data = written(b"facts")
    reader = CpioReader(io.BytesIO(data), "x")
    assert len(list(reader)) == len(made.ENTRIES)
    assert reader.note == b"facts"
    assert reader.raw == len(data)


def header(path: bytes, *, size: int = 0, mode: int = 0o100644, length: int | None = None) -> bytes:
    fields = (1, mode, 0, 0, 1, 0, size, 0, 0, 0, 0, len(path) + 1 if length is None else length, 0)
    data = b"070701" + b"".join(b"%08X" % field for field in fields) + path + b"\0"
    return data + bytes(-len(data) % 4)


@pytest.mark.parametrize(("data", "words"), [
    (header(b"../x"), "leads out"), (header(b"a" * 300), "longer than Linux allows"),
    (header(b"x", length=0), "a name of"), (header(b"x", length=1 << 31), "a name of"),
    (header(b"x", mode=0o030000), "unknown type"),
    (header(b"x", mode=0o120777, size=1 << 30), "a symbolic link's target"),
])
def test_hostile_entries(data: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        entries(data)


@pytest.mark.parametrize(("data", "words"), [
    (b"070707" + bytes(200), "no cpio header"), (b"070701" + b"zz" * 104, "no hexadecimal"),
    (header(b"x")[:60], "too early"), (header(b"x"), "too early"), (header(b"x", size=100) + b"short", "too early")])
def test_broken_archives(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        entries(data)


def test_absolute_names_are_inside_the_root() -> None:
    assert entries(header(b"/init") + header(b"TRAILER!!!"))[0][0].path == "init"


def test_the_number_of_entries_is_bounded() -> None:
    with pytest.raises(RefusedError, match="more than 3 entries"):
        entries(header(b"x") * 4, Limits(entries=3))


@given(st.lists(st.tuples(st.integers(0, 600), st.integers(0, 255)), max_size=10))
def test_any_damage_ends_in_one_of_our_errors(damage: list[tuple[int, int]]) -> None:
    data = bytearray(written())
    for at, value in damage:
        data[at] = value
    try:
        entries(bytes(data))
    except ProvisionerError as error:
        assert error.message.startswith("initrd")
