"""Layers flattened: order, content, limits, and umoci as the judge of what a stack amounts to."""

from __future__ import annotations

import gzip
import io
import os
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from provisioner.archive.stream import Limits
from provisioner.errors import InputError, RefusedError
from provisioner.model.oci import LAYER_GZIP, Descriptor
from provisioner.model.tree import Entry, Kind
from provisioner.oci.layers import flatten
from tests.fakes.images import Images, digest_of
from tests.tree.made import member, tar

LINK, CHAR = tarfile.LNKTYPE, tarfile.CHRTYPE
LONG = "/".join(["long" * 20] * 4)
STACK = [
    tar(member("./"), member("./usr/"), member("usr/bin/", mode=0o751), member("bin", link="usr/bin"),
        member("usr/bin/a", b"one", 0o755), member("usr/bin/b", kind=LINK, link="usr/bin/a"), member("etc/x", b"x"),
        member("etc/keep/y", b"y", 0o600), member("opt/old/deep/file", b"z"), member("kind", b"file"),
        member("swap/", mode=0o700), member("swap/in", b"in"), member(LONG, b"long"), member("var/", mode=0o1777),
        member("naïve", "ü".encode()), member("lib/", mode=0o755), member("lib64", link="/lib")),
    tar(member("bin/c", b"three", 0o4755), member("usr/bin/.wh.a"), member("usr/d", kind=LINK, link="bin/b"),
        member("etc/.wh..wh..opq"), member("etc/new", b"n"), member("opt/old/", mode=0o711), member("opt/.wh.old"),
        member("kind/", mode=0o755), member("kind/of", b"dir"), member("swap", b"now a file"),
        member("lib64/ld.so", b"elf", 0o755), member("var/", mode=0o755)),
    tar(member("usr/bin/b", b"other", 0o700), member("e", kind=LINK, link="usr/d"), member("etc/.wh.new"),
        member("lib/.wh.ld.so"), member("last", link="nowhere/at/all")),
]


class Blobs:
    """Layers by descriptor; counts how often each is opened."""

    def __init__(self, layers: Sequence[bytes]) -> None:
        packed = [gzip.compress(layer, mtime=0) for layer in layers]
        self.descriptors = [Descriptor(LAYER_GZIP, digest_of(data), len(data)) for data in packed]
        self._data = {one.digest: data for one, data in zip(self.descriptors, packed, strict=True)}
        self.ended: list[str] = []

    @contextmanager
    def open(self, descriptor: Descriptor) -> Iterator[io.BytesIO]:
        stream = io.BytesIO(self._data[descriptor.digest])
        yield stream
        if not stream.read(1):
            self.ended.append(descriptor.digest)


def flat(*layers: bytes, limits: Limits | None = None) -> list[tuple[Entry, bytes]]:
    blobs = Blobs(layers)
    return [(entry, b"".join(entry.content))
            for entry in flatten(blobs.open, blobs.descriptors, limits=limits or Limits())]


def test_every_path_once_parents_first_links_after_their_file() -> None:
    seen: list[str] = []
    files: dict[str, Entry] = {}
    for entry, _ in flat(*STACK):
        assert entry.path not in seen
        parent = entry.path.rpartition("/")[0]
        assert not parent or parent in seen
        if entry.kind is Kind.HARDLINK:
            assert files[entry.target].links == entry.links == 2
        files[entry.path] = entry
        seen.append(entry.path)
    assert files["etc"].mode == 0o755  # declared by no layer
    assert files["usr/bin"].mode == 0o751
    assert files["usr/bin/b"].links == 1


def test_every_layer_is_read_to_its_end_so_that_its_digest_is_checked() -> None:
    blobs = Blobs(STACK)
    for _ in flatten(blobs.open, blobs.descriptors):
        pass
    assert blobs.ended == [one.digest for one in blobs.descriptors] * 2


def test_the_stream_is_the_same_each_time() -> None:
    assert [e.path for e, _ in flat(*STACK)] == [e.path for e, _ in flat(*STACK)]


def test_hard_links_to_devices_and_symlinks_become_copies() -> None:
    found = flat(tar(member("null", kind=CHAR), member("zero", kind=LINK, link="null"), member("s", link="x"),
                     member("t", kind=LINK, link="s")))
    assert [(entry.path, entry.kind, entry.target) for entry, _ in found] == [
        ("null", Kind.CHAR, ""), ("zero", Kind.CHAR, ""), ("s", Kind.SYMLINK, "x"), ("t", Kind.SYMLINK, "x")]


def test_special_files_and_attributes_are_data_only() -> None:
    (entry, _), = flat(tar(member("ping", b"x", 0o6755, pax={"SCHILY.xattr.security.capability": "cap"})))
    assert (entry.mode, entry.xattrs) == (0o6755, (("security.capability", b"cap"),))


def test_no_layers_and_empty_layers() -> None:
    assert flat() == flat(tar()) == []


def test_errors_name_the_layer() -> None:
    hostile = tar(member("../../etc/x", b"x"))
    digest = digest_of(gzip.compress(hostile, mtime=0))
    with pytest.raises(RefusedError, match=digest):
        flat(hostile)
    with pytest.raises(InputError, match="not a sound tar"):
        flat(b"x" * 1024)


def test_limits_hold_over_all_layers() -> None:
    layers = [tar(*(member(f"{layer}-{number}") for number in range(6))) for layer in range(2)]
    with pytest.raises(RefusedError, match="more than 10 entries"):
        flat(*layers, limits=Limits(entries=10))


def test_many_tiny_entries_stop_at_the_limit_in_bounded_memory() -> None:
    # Ten million headers from a few kilobytes: only the limit ends it.
    class Endless:
        def __init__(self) -> None:
            self.block = tar(member("x"))[:512]

        def read(self, size: int, /) -> bytes:
            return self.block * max(1, size // 512)

    @contextmanager
    def opened(_descriptor: Descriptor) -> Iterator[Endless]:
        yield Endless()

    with pytest.raises(RefusedError, match="more than 2000 entries"):
        list(flatten(opened, [Descriptor("", "sha256:x", 1)], limits=Limits(entries=2000)))


def found_on_disk(root: Path) -> dict[str, tuple[object, ...]]:
    """Describe a directory's files: type, mode, content or target, and the names that are one file."""
    same: dict[int, list[str]] = {}
    found: dict[str, tuple[object, ...]] = {}
    for folder, folders, files in os.walk(root):
        for name in sorted([*folders, *files]):
            path = Path(folder) / name
            state = path.lstat()
            relative = str(path.relative_to(root))
            body: object = None
            if stat.S_ISLNK(state.st_mode):
                found[relative] = ("symlink", str(path.readlink()))
                continue
            if stat.S_ISREG(state.st_mode):
                body = path.read_bytes()
                same.setdefault(state.st_ino, []).append(relative)
            found[relative] = ("dir" if body is None else "file", stat.S_IMODE(state.st_mode), body)
    for names in same.values():
        for name in names:
            found[name] += (sorted(names),)
    return found


def found_in_stream(layers: Sequence[bytes]) -> dict[str, tuple[object, ...]]:
    same: dict[str, list[str]] = {}
    found: dict[str, tuple[object, ...]] = {}
    for entry, body in flat(*layers):
        if entry.kind is Kind.SYMLINK:
            found[entry.path] = ("symlink", entry.target)
        elif entry.kind is Kind.HARDLINK:
            same[entry.target].append(entry.path)
            found[entry.path] = found[entry.target]
        else:
            found[entry.path] = (str(entry.kind), entry.mode, body if entry.kind is Kind.FILE else None)
            if entry.kind is Kind.FILE:
                same[entry.path] = [entry.path]
    for names in same.values():
        for name in names:
            found[name] += (sorted(names),)
    return found


@pytest.mark.tool
@pytest.mark.parametrize("height", [1, 2, 3])
def test_umoci_unpacks_the_same(tmp_path: Path, height: int) -> None:
    images = Images()
    images.name(images.manifest(layers=STACK[:height]), "x", containerd=False)
    images.write(tmp_path / "layout")
    subprocess.run(["umoci", "unpack", "--rootless", "--image", f"{tmp_path}/layout:x", tmp_path / "bundle"],
                   check=True, capture_output=True, umask=0o022)
    assert found_in_stream(STACK[:height]) == found_on_disk(tmp_path / "bundle" / "rootfs")
