"""Disk images by the real qemu-img."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from provisioner.errors import DeviceError, NotFoundError, RefusedError
from provisioner.providers.qemu.disks import prepare
from provisioner.providers.qemu.options import Disk

pytestmark = pytest.mark.tool
MIB = 1 << 20


def test_a_disk_is_created_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.img"
    assert prepare(Disk(path, 4 * MIB), 0, tmp_path) == Disk(path, 4 * MIB, "qcow2")
    before = path.read_bytes()
    assert before[:4] == b"QFI\xfb"
    assert prepare(Disk(path, 8 * MIB), 0, tmp_path) == Disk(path, 8 * MIB, "qcow2")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["a.img"]


def test_a_disk_without_a_path_lives_in_the_state_directory(tmp_path: Path) -> None:
    disk = prepare(Disk(None, MIB, "raw"), 3, tmp_path)
    assert disk.path == tmp_path / "disk3.img"
    assert disk.path.stat().st_size == MIB


def test_a_missing_disk_without_a_size(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no disk image"):
        prepare(Disk(tmp_path / "none"), 0, tmp_path)


def test_another_format_than_asked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raw.img"
    path.write_bytes(bytes(MIB))
    assert prepare(Disk(path), 0, tmp_path).format == "raw"
    with pytest.raises(RefusedError, match="is raw, not qcow2"):
        prepare(Disk(path, format="qcow2"), 0, tmp_path)


def test_a_backing_file_that_nobody_named_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(MIB))
    path = tmp_path / "guest.img"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", tmp_path / "secret", path],
                   check=True)
    with pytest.raises(RefusedError, match="secret"):
        prepare(Disk(path), 0, tmp_path)
    assert prepare(Disk(path, format="qcow2"), 0, tmp_path).format == "qcow2"


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DeviceError, match="cannot create the disk"):
        prepare(Disk(tmp_path / "file" / "a.img", MIB), 0, tmp_path)
