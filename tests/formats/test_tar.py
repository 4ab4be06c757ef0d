"""tar: the whole tree with LinuxKit's records."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

import pytest

from provisioner.archive.output import Outputs
from provisioner.formats import tar
from tests.formats.made import Place, tree


def write(place: Place, only: Path | None = None) -> Path:
    with Outputs(only) as outputs:
        made, = tar.write(tree(), place.target, place.options(outputs))
        outputs.commit()
    return made.path


def test_the_tree_in_its_order_with_records(tmp_path: Path) -> None:
    with tarfile.open(write(Place(tmp_path))) as archive:
        members = list(archive)
        assert [member.name for member in members] == [
            "boot", "boot/cmdline", "boot/kernel", "boot/ucode.cpio", "lib/modules/6.1/a.ko", "bin", "etc", "bin/sh",
            "containers/onboot/000-a/config.json", "etc/motd", "etc/issue"]
        assert members[0].pax_headers["LINUXKIT.source"] == "acme/kernel:1"
        assert members[5].pax_headers["LINUXKIT.location"] == "init[0]"
        assert members[5].pax_headers["PROVISIONER.digest"].startswith("sha256:")
        assert members[-1].pax_headers == {"LINUXKIT.location": "files[1]"}
        kernel = archive.extractfile("boot/kernel")
        assert kernel is not None
        assert kernel.read() == b"KERNEL"


def test_one_named_file(tmp_path: Path) -> None:
    assert write(Place(tmp_path), tmp_path / "mine.img") == tmp_path / "mine.img"


@pytest.mark.tool
@pytest.mark.parametrize("reader", ["tar", "bsdtar"])
def test_other_tools_list_it(tmp_path: Path, reader: str) -> None:
    path = write(Place(tmp_path))
    done = subprocess.run([reader, "-tf", path], capture_output=True, check=True, text=True)
    assert done.stdout.split()[:3] == ["boot/", "boot/cmdline", "boot/kernel"]


def test_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    assert write(Place(tmp_path / "a")).read_bytes() == write(Place(tmp_path / "b")).read_bytes()
