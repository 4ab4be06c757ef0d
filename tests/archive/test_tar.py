"""The tar reader: against the standard library's and GNU tar's archives, and against hostile ones."""

from __future__ import annotations

import io
import subprocess
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.archive import tar
from provisioner.archive.stream import Limits
from provisioner.errors import InputError, ProvisionerError, RefusedError
from provisioner.model.tree import Entry, Kind
from tests.tree.made import member
from tests.tree.made import tar as tar_of

LIMITS = Limits()


def entries(data: bytes, limits: Limits = LIMITS) -> list[tuple[Entry, bytes]]:
    return [(entry, b"".join(entry.content)) for entry in tar.read(io.BytesIO(data), "layer", limits=limits)]


def raw(name: bytes = b"x", *, size: bytes = b"0" * 11, kind: bytes = b"0", body: bytes = b"",
        link: bytes = b"") -> bytes:
    """Return one member with exactly these header fields and a right checksum."""
    head = bytearray(512)
    head[:len(name)] = name
    head[100:136] = b"0000644\x000000000\x000000000\0" + size.ljust(12, b"\0")
    head[136:148] = b"0" * 11 + b"\0"
    head[156:157] = kind
    head[157:157 + len(link)] = link
    head[257:265] = b"ustar\x0000"
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head) + body + bytes(-len(body) % 512)


def pax(**records: str) -> bytes:
    body = b""
    for key, value in records.items():
        rest = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(rest) + 2
        length = len(rest) + len(str(length + (len(str(length)) - 2)))
        body += str(length).encode() + rest
    return raw(b"PaxHeaders/x", kind=b"x", size=b"%011o" % len(body), body=body)


def test_every_kind_of_entry() -> None:
    data = tar_of(member("d/", mode=0o750), member("d/f", b"content", 0o4755, uid=7), member("d/s", link="../x"),
                  member("d/h", kind=tarfile.LNKTYPE, link="d/f"), member("c", kind=tarfile.CHRTYPE),
                  member("b", kind=tarfile.BLKTYPE), member("p", kind=tarfile.FIFOTYPE))
    found = entries(data)
    assert [(entry.path, entry.kind) for entry, _ in found] == [
        ("d", Kind.DIR), ("d/f", Kind.FILE), ("d/s", Kind.SYMLINK), ("d/h", Kind.HARDLINK), ("c", Kind.CHAR),
        ("b", Kind.BLOCK), ("p", Kind.FIFO)]
    file, body = found[1]
    assert (file.mode, file.uid, file.size, file.mtime, file.links, body) == (0o4755, 7, 7, 1500000000, 0, b"content")
    assert found[2][0].target == "../x"
    assert found[3][0].target == "d/f"


def test_paths_come_clean_and_the_root_is_left_out() -> None:
    data = tar_of(member("./"), member("./a//b/./c", b"x"))
    assert [entry.path for entry, _ in entries(data)] == ["a/b/c"]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_long_names_and_big_numbers_in_every_form(form: int) -> None:
    old = form == tarfile.USTAR_FORMAT
    name = "/".join(["folder" * 5] * 5) + "/" + "n" * 80 if old else "p" * 90 + "/" + "n" * 200
    info = tarfile.TarInfo(name)
    info.uid = 2_000_000 if old else 3_000_000_000
    info.mtime = 10
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        archive.addfile(info)
    (entry, _), = entries(out.getvalue())
    assert (entry.path, entry.uid, entry.mtime) == (name, info.uid, 10)


def test_extended_attributes_of_both_spellings() -> None:
    data = tar_of(member("f", pax={"SCHILY.xattr.security.capability": "\x01\x02",
                                   "LIBARCHIVE.xattr.user.a%20b": "aGk"}))
    (entry, _), = entries(data)
    assert entry.xattrs == (("security.capability", b"\x01\x02"), ("user.a b", b"hi"))


def test_pax_times_are_floored() -> None:
    assert entries(pax(mtime="-1.5") + raw())[0][0].mtime == -2


def test_the_observer_sees_the_records() -> None:
    seen = {}
    data = tar_of(member("f", pax={"LINUXKIT.source": "a:1"}), member("g"))
    list(tar.read(io.BytesIO(data), "x", observe=lambda path, records: seen.update({path: dict(records)})))
    assert seen == {"f": {"LINUXKIT.source": "a:1"}, "g": {}}


@pytest.mark.tool
@pytest.mark.parametrize("form", ["gnu", "pax", "ustar", "v7"])
def test_gnu_tar_archives(tmp_path: Path, form: str) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_bytes(b"x" * 5000)
    (tmp_path / "d" / "link").symlink_to("file")
    (tmp_path / "d" / "hard").hardlink_to(tmp_path / "d" / "file")
    (tmp_path / "d" / "naïve").write_text("y")
    data = subprocess.run(["tar", f"--format={form}", "-c", "d"], cwd=tmp_path, capture_output=True,
                          check=True).stdout
    found = {entry.path: (entry.kind, entry.target, body) for entry, body in entries(data)}
    assert found["d/naïve"][2] == b"y"
    assert found["d/link"][:2] == (Kind.SYMLINK, "file")
    assert sorted(kind for kind, _, _ in found.values()) == ["dir", "file", "file", "hardlink", "symlink"]


@pytest.mark.tool
def test_sparse_files_are_refused_by_name(tmp_path: Path) -> None:
    with (tmp_path / "disk").open("wb") as file:
        file.truncate(10 << 20)
    for form in ("gnu", "pax"):
        data = subprocess.run(["tar", f"--format={form}", "-cS", "disk"], cwd=tmp_path, capture_output=True,
                              check=True).stdout
        with pytest.raises(RefusedError, match="a sparse file"):
            entries(data)


@pytest.mark.parametrize(("name", "words"), [
    (b"../../etc/x", "leads out of the archive"), (b"a/../../b", "leads out"), (b"/etc/x", "is absolute"),
    (b"a/" + b"n" * 90, None)])
def test_hostile_names(name: bytes, words: str | None) -> None:
    if words is None:
        assert entries(raw(name))
        return
    with pytest.raises(RefusedError, match=words) as caught:
        entries(raw(name))
    assert caught.value.message.startswith("layer: ")


@pytest.mark.parametrize(("data", "words"), [
    (pax(path="a\0b") + raw(), "NUL"),
    (pax(path="a/" * 3000) + raw(), "longer than Linux allows"),
    (pax(path="n" * 256) + raw(), "longer than Linux allows"),
    (pax(size="-5") + raw(), "negative size"),
    (raw(size=b"\xff" * 12), "negative size"),
    (pax(GNU__sparse__major="1") + raw(), "sparse"),
    (raw(kind=b"S"), "sparse"),
    (raw(kind=b"M"), "multi-volume"),
    (raw(kind=b"Z"), "unknown type"),
    (raw(kind=b"1", link=b"../../etc/passwd"), "leads out"),
    (raw(kind=b"1", link=b"./"), "hard link to nothing"),
    (raw(kind=b"2"), "empty, overlong or NUL target"),
    (raw(kind=b"x", size=b"77777777777"), "a header of 8589934591 bytes"),
    (raw(kind=b"L", size=b"\x80" + b"\xff" * 11), "a header of"),
    (raw(b"g", kind=b"g", size=b"%011o" % 10, body=b"10 path=x\n") + raw(), "global PAX header sets path"),
])
def test_hostile_members(data: bytes, words: str) -> None:
    with pytest.raises(RefusedError, match=words):
        entries(data)


def test_a_harmless_global_header_passes() -> None:
    body = b"13 comment=a\n"
    assert len(entries(raw(b"g", kind=b"g", size=b"%011o" % len(body), body=body) + raw())) == 1


@pytest.mark.parametrize(("data", "words"), [
    (raw()[:-1] + b"\1", "checksum"),
    (raw(size=b"00000000x00"), "no octal number"),
    (raw(size=b"%011o" % 5000, body=b"short"), "before its content does"),
    (raw()[:300], "too early"),
    (pax(size="many") + raw(), "no number"),
    (pax(mtime="noon") + raw(), "no time"),
    (pax(uid="5000000000") + raw(), "out of range"),
    (pax(path="x"), "before the end"),
    (raw(kind=b"x", size=b"%011o" % 4, body=b"99 x"), "malformed"),
    (pax(LIBARCHIVE__xattr__a="!") + raw(), "no base64"),
])
def test_broken_archives(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        entries(data)


def test_the_number_of_entries_is_bounded() -> None:
    with pytest.raises(RefusedError, match="more than 10 entries"):
        entries(raw() * 11, Limits(entries=10))


def test_a_missing_end_is_no_fault_and_bytes_after_it_are_drained() -> None:
    assert len(entries(raw())) == 1
    stream = io.BytesIO(raw() + bytes(1024) + b"trailing" * 1000)
    list(tar.read(stream, "x"))
    assert stream.read() == b""


def test_unread_content_is_skipped_and_old_content_is_dead() -> None:
    data = tar_of(member("a", b"A" * 10_000), member("b", b"B" * 3))
    reader = tar.read(io.BytesIO(data), "x")
    first = next(reader)
    second = next(reader)
    assert list(first.content) == []
    assert b"".join(second.content) == b"BBB"


def test_memory_does_not_grow_with_content() -> None:
    class Zeros:
        def __init__(self) -> None:
            self.head = raw(b"big", size=b"%011o" % (200 << 20))
            self.left = 200 << 20

        def read(self, size: int, /) -> bytes:
            if self.head:
                data, self.head = self.head[:size], self.head[size:]
                return data
            size = min(size, self.left)
            self.left -= size
            return bytes(size)

    tracemalloc.start()
    for entry in tar.read(Zeros(), "x"):
        for _ in entry.content:
            pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@given(st.lists(st.tuples(st.integers(0, 1023), st.integers(0, 255)), max_size=20))
def test_any_damage_ends_in_one_of_our_errors(damage: list[tuple[int, int]]) -> None:
    data = bytearray(pax(path="some/path", SCHILY__xattr__user__a="v") + raw(size=b"%011o" % 700, body=b"c" * 700))
    for at, value in damage:
        data[at] = value
    swallow(lambda: entries(bytes(data)))


@given(st.binary(max_size=2000))
def test_any_bytes_end_in_one_of_our_errors(data: bytes) -> None:
    swallow(lambda: entries(data))


def swallow(action: Callable[[], object]) -> None:
    try:
        action()
    except ProvisionerError as error:
        assert error.message.startswith("layer: ")
