"""kernel+initrd: LinuxKit's file names and contents, read by other tools."""

from __future__ import annotations

import hashlib
import subprocess
import zlib
from pathlib import Path

import pytest

from provisioner.archive.output import Outputs
from provisioner.formats import kernel_initrd
from provisioner.model.artifact import Artifact
from provisioner.model.tree import Entry, Kind
from tests.formats.made import Place, Source, sources, tree


def write(place: Place, parts: list[Source] | None = None, cmdline: str = "console=ttyS0",
          compress: str = "gzip") -> list[Artifact]:
    with Outputs() as outputs:
        made = kernel_initrd.write(tree(parts, cmdline), place.target, place.options(outputs, compress=compress))
        outputs.commit()
    return made


def test_files_and_artifacts(tmp_path: Path) -> None:
    place = Place(tmp_path)
    made = write(place)
    assert place.names == ["image-cmdline", "image-initrd.img", "image-kernel"]
    assert [(one.path.name, one.role) for one in made] == [
        ("image-kernel", "kernel"), ("image-initrd.img", "initrd"), ("image-cmdline", "cmdline")]
    for one in made:
        data = one.path.read_bytes()
        assert one.digest == "sha256:" + hashlib.sha256(data).hexdigest()
        assert one.size == len(data)
    assert (tmp_path / "out" / "image-kernel").read_bytes() == b"KERNEL"
    assert (tmp_path / "out" / "image-cmdline").read_bytes() == b"console=ttyS0"


def test_empty_parts_are_not_written(tmp_path: Path) -> None:
    place = Place(tmp_path)
    write(place, [Source("files[0]", ("a", b"x"))], cmdline="")
    assert place.names == ["image-initrd.img"]
    other = Place(tmp_path / "other")
    (tmp_path / "other" / "out").mkdir(parents=True)
    assert write(other, [], cmdline="") == []
    assert other.names == []


def members(data: bytes) -> list[bytes]:
    found = []
    while data:
        member = zlib.decompressobj(31)
        found.append(member.decompress(data) + member.flush())
        data = member.unused_data
    return found


@pytest.mark.tool
def test_gzip_and_gnu_cpio_read_every_segment(tmp_path: Path) -> None:
    write(Place(tmp_path), sources()[1:])
    path = tmp_path / "out" / "image-initrd.img"
    subprocess.run(["gzip", "-t"], input=path.read_bytes(), check=True, capture_output=True)
    listed = b""
    for archive in members(path.read_bytes()):
        done = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True)
        assert done.stderr == b""
        listed += done.stdout
    assert listed.split() == [b"bin", b"etc", b"bin/sh", b"containers", b"containers/onboot",
                              b"containers/onboot/000-a", b"containers/onboot/000-a/config.json",
                              b"etc/motd", b"etc/issue"]


@pytest.mark.tool
@pytest.mark.parametrize(("method", "command"), [("zstd", ["zstd", "-dc"]), ("xz", ["xz", "-dc"])])
def test_other_tools_read_other_compressions(tmp_path: Path, method: str, command: list[str]) -> None:
    write(Place(tmp_path), sources()[1:2], compress=method)
    data = (tmp_path / "out" / "image-initrd.img").read_bytes()
    archive = subprocess.run(command, input=data, capture_output=True, check=True).stdout
    listed = subprocess.run(["cpio", "-t", "--quiet"], input=archive, capture_output=True, check=True).stdout
    assert listed.split() == [b"bin", b"etc", b"bin/sh"]


def test_golden_bytes(tmp_path: Path) -> None:
    # Uncompressed, so that the version of zlib does not matter.
    made = {one.role: one.digest for one in write(Place(tmp_path), compress="none")}
    assert made["initrd"] == "sha256:c011ac7ec49903efa60b2926f7bdf0517cd81ff0feb234698778dbda66ad2891"


def test_a_hard_link_of_a_part_stays_one(tmp_path: Path) -> None:
    place = Place(tmp_path)
    file = Entry("sh", Kind.FILE, size=1, content=(b"x",), links=2)
    write(place, [Source("init[0]", file, Entry("ash", Kind.HARDLINK, target="sh"), key="k")], compress="none")
    assert b"00000001000081A400000000000000000000000200000000" in (tmp_path / "out" / "image-initrd.img").read_bytes()
