"""The tar writer: its bytes, and what the standard library, GNU tar and bsdtar read in them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile

import pytest

from provisioner.archive import tar
from provisioner.archive.tarwrite import TarWriter
from provisioner.errors import InputError
from provisioner.model.tree import Entry, Kind
from tests.archive import made


def written() -> bytes:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    for entry in made.stream():
        writer.add(entry)
    writer.close()
    return out.getvalue()


def test_golden_bytes() -> None:
    assert hashlib.sha256(written()).hexdigest() == \
        "94261b90feef55550178029885832de4e4d380f92f2295f54e4ad46d0aa3aaf3"


def test_a_plain_file_is_plain_ustar() -> None:
    out = io.BytesIO()
    TarWriter(out.write).add(made.filled(Entry("a", Kind.FILE, mtime=1), b"x"))
    assert len(out.getvalue()) == 1024
    assert out.getvalue()[257:265] == b"ustar\x0000"


def test_our_reader_reads_it() -> None:
    for found, (entry, body) in zip(tar.read(io.BytesIO(written()), "x"), made.ENTRIES, strict=True):
        assert b"".join(found.content) == body
        assert (found.path, found.kind, found.mode, found.uid, found.mtime, found.target, found.device,
                found.xattrs) == (entry.path, entry.kind, entry.mode, entry.uid, entry.mtime, entry.target,
                                  entry.device, entry.xattrs)


def test_the_standard_library_reads_it() -> None:
    with tarfile.open(fileobj=io.BytesIO(written())) as archive:
        members = {member.name: member for member in archive}
        assert list(members) == [entry.path for entry, _ in made.ENTRIES]
        assert members["dir/file"].pax_headers == {"SCHILY.xattr.user.a": "\x00b"}
        assert members["dir/again"].linkname == "dir/file"
        assert (members["disk"].devmajor, members["disk"].devminor) == (8, 1)


@pytest.mark.tool
@pytest.mark.parametrize("reader", ["tar", "bsdtar"])
def test_other_tools_read_it(reader: str) -> None:
    done = subprocess.run([reader, "-tvf", "-"], input=written(), capture_output=True, check=True)
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(made.ENTRIES)
    assert "-rws--x--x" in lines[1]
    assert "1000" in lines[1]
    assert done.stderr == b""


def test_further_records_and_numbers_beyond_ustar() -> None:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    entry = Entry("f", Kind.FILE, uid=3_000_000, gid=4_000_000_000, mtime=-5)
    writer.add(entry, {"LINUXKIT.source": "acme/tool:1"})
    writer.close()
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        member = archive.next()
        assert member is not None
        assert (member.uid, member.gid, member.mtime) == (3_000_000, 4_000_000_000, -5)
        assert member.pax_headers["LINUXKIT.source"] == "acme/tool:1"


@pytest.mark.parametrize("length", range(80, 120))
def test_the_length_of_a_record_counts_its_own_digits(length: int) -> None:
    out = io.BytesIO()
    writer = TarWriter(out.write)
    writer.add(Entry("f", Kind.FILE), {"KEY": "v" * length})
    seen: dict[str, str] = {}
    list(tar.read(io.BytesIO(out.getvalue()), "x", observe=lambda _path, records: seen.update(records)))
    assert seen == {"KEY": "v" * length}


def test_names_that_are_no_utf8_keep_their_bytes() -> None:
    out = io.BytesIO()
    TarWriter(out.write).add(Entry(b"caf\xe9".decode("utf-8", "surrogateescape"), Kind.DIR, 0o755))
    (entry,) = tar.read(io.BytesIO(out.getvalue()), "x")
    assert entry.path.encode("utf-8", "surrogateescape") == b"caf\xe9"


@pytest.mark.parametrize("body", [b"abc", b"abcde"])
def test_content_of_another_size_is_an_error(body: bytes) -> None:
    with pytest.raises(InputError, match=r"differs by -?1 bytes from its size of 4"):
        TarWriter(io.BytesIO().write).add(Entry("f", Kind.FILE, size=4, content=(body,)))
