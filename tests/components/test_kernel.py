"""Kernel packages: the module set, its closure, its indexes, and the same from kmod's depmod."""

from __future__ import annotations

import lzma
import subprocess
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from provisioner.components import kernel
from provisioner.components.apt import Package
from provisioner.components.pool import Pool
from provisioner.components.recipe import Kernel
from provisioner.errors import InputError, NotFoundError
from tests.fakes.debian import Content, deb, module

ROOT = "usr/lib/modules/6.1-test"


def packed(**info: str | list[str]) -> bytes:
    return lzma.compress(module(license="GPL", **info), check=lzma.CHECK_CRC32)


FILES: dict[str, Content] = {
    "boot/vmlinuz-6.1-test": b"bzImage" * 100,
    f"{ROOT}/kernel/fs/ext4/ext4.ko.xz": packed(
        depends="jbd2,crc-tab", alias=["fs-ext4", "ext3"], softdep="pre: crc32c"),
    f"{ROOT}/kernel/fs/jbd2/jbd2.ko.xz": packed(depends="crc-tab"),
    f"{ROOT}/kernel/lib/crc-tab.ko.xz": packed(depends=""),
    f"{ROOT}/kernel/lib/crc32c.ko.xz": packed(depends=""),
    f"{ROOT}/kernel/drivers/virtio/virtio_ring.ko.xz": packed(depends=""),
    f"{ROOT}/kernel/drivers/virtio/virtio_pci.ko.xz": packed(depends="virtio_ring", alias=["pci:v00001AF4d*sv*sd*"]),
    f"{ROOT}/kernel/drivers/snd/snd-big.ko.xz": packed(depends=""),
    f"{ROOT}/modules.order": b"kernel/drivers/virtio/virtio_ring.ko\nkernel/fs/ext4/ext4.ko\n",
    f"{ROOT}/modules.builtin": b"kernel/fs/fuse/fuse.ko\n",
}


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    path = tmp_path / "linux.deb"
    path.write_bytes(deb("linux", FILES))
    with Pool(tmp_path / "scratch") as made:
        made.add(Package("linux", "6.1", "debian/linux.deb", 1, "0" * 64), path)
        yield made


def tree(pool: Pool, *modules: str, without: tuple[str, ...] = (), unpack: bool = False) -> dict[str, bytes]:
    wanted = Kernel(image="boot/vmlinuz-*", modules=list(modules), without=list(without), unpack=unpack)
    entries = kernel.kernel_entries(wanted, pool)
    assert [entry.path for entry in entries] == ["kernel", "kernel.tar"]
    with tarfile.open(fileobj=BytesIO(b"".join(entries[1].content))) as archive:
        found = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name.removeprefix("lib/modules/6.1-test/"): stream.read() for name, stream in found.items() if stream}


def names(files: dict[str, bytes]) -> set[str]:
    return {kernel.module_name(path) for path in files if ".ko" in path}


def test_closes_the_set_over_what_modules_need_and_wish_for(pool: Pool) -> None:
    assert names(tree(pool, "ext4")) == {"ext4", "jbd2", "crc_tab", "crc32c"}


def test_patterns_match_names_or_paths(pool: Pool) -> None:
    assert names(tree(pool, "virtio-*")) == {"virtio_ring", "virtio_pci"}
    assert names(tree(pool, "drivers/*/*", without=("snd_*",))) == {"virtio_ring", "virtio_pci"}
    assert names(tree(pool, "nothing_like_it")) == set()


def test_keeps_modules_as_packaged_or_unpacks_them(pool: Pool) -> None:
    assert tree(pool, "crc32c")["kernel/lib/crc32c.ko.xz"] == FILES[f"{ROOT}/kernel/lib/crc32c.ko.xz"]
    assert tree(pool, "crc32c", unpack=True)["kernel/lib/crc32c.ko"] == module(license="GPL", depends="")


def test_indexes_say_what_to_load_first_last(pool: Pool) -> None:
    files = tree(pool, "ext4", "virtio_pci")
    lines = files["modules.dep"].decode().splitlines()
    assert lines[0] == "kernel/drivers/virtio/virtio_ring.ko.xz:", "the kernel's link order comes first"
    assert "kernel/fs/ext4/ext4.ko.xz: kernel/fs/jbd2/jbd2.ko.xz kernel/lib/crc-tab.ko.xz" in lines
    assert b"alias fs-ext4 ext4\nalias ext3 ext4\n" in files["modules.alias"]
    assert files["modules.softdep"] == b"softdep ext4 pre: crc32c\n"
    assert files["modules.builtin"] == b"kernel/fs/fuse/fuse.ko\n"


def test_the_image_is_the_kernels_own(pool: Pool) -> None:
    entries = kernel.kernel_entries(Kernel(image="boot/vmlinuz-*", modules=[]), pool)
    assert b"".join(entries[0].content) == FILES["boot/vmlinuz-6.1-test"]


@pytest.mark.tool
def test_agrees_with_depmod(pool: Pool, tmp_path: Path) -> None:
    # depmod reads symbols, not depends=; modules without symbols get no dependencies from it, but aliases and
    # soft dependencies must be those we wrote.
    files = tree(pool, "ext4", "virtio_pci", unpack=True)
    for name, data in files.items():
        path = tmp_path / "lib/modules/6.1-test" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    subprocess.run(["/sbin/depmod", "-b", tmp_path, "6.1-test"], check=True, capture_output=True)
    made = tmp_path / "lib/modules/6.1-test"
    for index in ("modules.alias", "modules.softdep"):
        theirs = {line for line in (made / index).read_text().splitlines() if not line.startswith("#")}
        assert {line for line in files[index].decode().splitlines() if not line.startswith("#")} == theirs
    assert ({line.partition(":")[0] for line in (made / "modules.dep").read_text().splitlines()}
            == {line.partition(":")[0] for line in files["modules.dep"].decode().splitlines()})


def test_names_what_is_wrong(pool: Pool, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="names 0 files"):
        kernel.kernel_entries(Kernel(image="boot/Image-*", modules=[]), pool)
    path = tmp_path / "more.deb"
    path.write_bytes(deb("more", {f"{ROOT}/kernel/bad.ko.xz": packed(depends="gone"),
                                  f"{ROOT}/kernel/text.ko": b"hello"}))
    pool.add(Package("more", "6.1", "debian/more.deb", 1, "0" * 64), path)
    with pytest.raises(NotFoundError, match="module bad needs gone"):
        tree(pool, "bad")
    with pytest.raises(InputError, match=r"text\.ko is a broken module"):
        tree(pool, "text")
    path.write_bytes(deb("second", {"usr/lib/modules/6.2/modules.order": b""}))
    pool.add(Package("second", "6.2", "debian/second.deb", 1, "0" * 64), path)
    with pytest.raises(InputError, match="hold 2 kernels"):
        tree(pool, "ext4")
